"""Where training features lie, whatever they are: a finite score, or words that say what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import LinAlgError
from sklearn.covariance import ledoit_wolf

from echoviewclip.evaluation import feature_statistics
from echoviewclip.evaluation.feature_statistics import BLOCK, FeatureStatistics
from echoviewclip.inference.collect import distance_features
from echoviewclip.trainers.evaluate import Evaluator
from echoviewclip.utils.config.choices import FITTED_SCORES
from echoviewclip.utils.errors import UserError
from tests.tiny_data import tiny, train


def unit_features(count: int, size: int, seed: int) -> np.ndarray:
    """float32 [count, size] of unit length."""
    features = np.random.default_rng(seed).normal(size=(count, size))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


# On these, LAPACK's default driver for symmetric matrices gives up (scipy 1.17).
@pytest.mark.parametrize("size, seed", [(192, 40), (192, 95), (192, 236), (320, 11), (320, 17), (320, 25)])
def test_nearly_equal_eigenvalues_are_no_obstacle(size, seed):
    features = unit_features(9, size, seed)
    found = FeatureStatistics.fit(features, np.zeros(9, int)).scores(features)
    assert all(np.isfinite(values).all() for values in found.values())


@pytest.mark.parametrize("shape", [(9, 30), (29, 30), (30, 30), (90, 30)])
def test_whitening_is_the_root_of_the_inverse_whatever_the_number_of_videos(shape):
    residuals = np.random.default_rng(0).normal(size=shape) * np.linspace(0.5, 3, shape[1])
    whitening = feature_statistics._whitening(residuals)
    np.testing.assert_allclose(whitening, whitening.T, atol=1e-12)
    covariance = ledoit_wolf(residuals, assume_centered=True)[0]
    np.testing.assert_allclose(whitening @ whitening @ covariance, np.eye(shape[1]), atol=1e-10)


def test_where_the_first_decomposition_fails_the_second_says_the_same(monkeypatch):
    features, labels = np.random.default_rng(0).normal(size=(40, 6)), np.arange(40) % 3
    expected = FeatureStatistics.fit(features, labels).scores(features)

    def fail(*_, **__):
        raise LinAlgError("did not converge")

    monkeypatch.setattr(feature_statistics, "eigh", fail)
    for name, values in FeatureStatistics.fit(features, labels).scores(features).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-6)


def test_the_distance_of_four_points_by_hand():
    # Residuals (±1, 0), (0, ±1) around one mean (2, 0): the covariance is half the identity, shrunk or not.
    features = np.array([[3.0, 0], [1, 0], [2, 1], [2, -1]])
    found = FeatureStatistics.fit(features, np.zeros(4, int)).scores(np.array([[2.0, 0], [2, 3], [5, 4]]))
    np.testing.assert_allclose(found["mahalanobis"], [0, -18, -50], atol=1e-5)
    np.testing.assert_allclose(found["relative_mahalanobis"], 0, atol=1e-5)


@given(
    count=st.integers(0, 70),
    size=st.integers(0, 40),
    classes=st.integers(1, 4),
    distinct=st.integers(1, 70),
    constant=st.floats(0, 1),
    centre=st.sampled_from([0, 1, 1e30, 3e38]),
    scale=st.sampled_from([0, 1e-300, 1e-160, 1e-45, 1e-38, 1e-20, 1e-8, 1, 1e8, 1e37, 1e39, np.inf, np.nan]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_scores_are_finite_or_the_fault_is_said(count, size, classes, distinct, constant, centre, scale, seed):
    random = np.random.default_rng(seed)
    with np.errstate(invalid="ignore"):  # 0 · inf of the strategy's own
        spread = scale * random.normal(size=(distinct, size)) * (random.random(size) >= constant)
    features = (centre + spread)[random.integers(0, distinct, count)]
    labels = random.integers(0, classes, count)
    usable = count >= 2 and size >= 1 and (np.abs(features) <= np.finfo(np.float32).max).all()
    if not usable:
        with pytest.raises(ValueError, match=r"expected features|not finite in float32"):
            FeatureStatistics.fit(features, labels)
        return
    fitted = FeatureStatistics.fit(features, labels, neighbour=3)
    assert all(np.isfinite(array).all() for array in fitted.state().values())
    for queries in (features, np.zeros((2, size)), random.normal(size=(3, size))):
        assert all(np.isfinite(values).all() for values in fitted.scores(queries).values())


def by_definition(fitted: FeatureStatistics, features: np.ndarray) -> dict[str, np.ndarray]:
    """The scores of all videos at once, difference by difference."""
    x = features.astype(np.float64)

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return ((a[:, None] - b.astype(np.float64)) ** 2).sum(axis=2)

    near = distances(x @ fitted.whitening, fitted.means.astype(np.float64) @ fitted.whitening).min(axis=1)
    far = distances(x @ fitted.background_whitening, (fitted.background_mean @ fitted.background_whitening)[None])
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    kth = np.sort(distances(unit, fitted.bank), axis=1)[:, fitted.neighbour - 1]
    return {"mahalanobis": -near, "relative_mahalanobis": far[:, 0] - near, "knn": -np.sqrt(kth)}


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_videos_that_come_in_parts_have_the_scores_of_all_at_once(count):
    random = np.random.default_rng(count)
    fitted = FeatureStatistics.fit(random.normal(size=(90, 24)), np.arange(90) % 5, neighbour=7)
    features = random.normal(size=(count, 24)).astype(np.float32)
    whole = fitted.scores(features)
    for size in (1, 2, 7, BLOCK, 2 * BLOCK + 3):
        stream = fitted.stream()
        for start in range(0, count, size):
            stream.add(features[start : start + size])
        for name, values in stream.result()._asdict().items():
            np.testing.assert_array_equal(values, whole[name])
    for name, values in by_definition(fitted, features).items():
        np.testing.assert_allclose(whole[name], values, rtol=1e-6, atol=1e-6)


def test_a_video_s_scores_do_not_depend_on_the_others():
    random = np.random.default_rng(0)
    fitted = FeatureStatistics.fit(random.normal(size=(40, 16)), np.arange(40) % 3)
    features = random.normal(size=(BLOCK + 9, 16))
    whole = fitted.scores(features)
    for i in (0, 1, BLOCK - 1, BLOCK, BLOCK + 8):
        for name, values in fitted.scores(features[i : i + 1]).items():
            np.testing.assert_array_equal(values, whole[name][i : i + 1])


def test_features_that_are_all_zero_stay_zero():
    parts = [torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[5.0], [0.0]])]
    np.testing.assert_allclose(distance_features(parts), [[0, 0, 1], [0.6, 0.8, 0]], rtol=1e-6)


@pytest.fixture
def one_video(tiny_folder):
    """A training list of a single video."""
    first = (tiny_folder / "train.txt").read_text(encoding="utf-8").splitlines()[0]
    path = tiny_folder / "train_one.txt"
    path.write_text(f"{first}\n", encoding="utf-8")
    yield path
    path.unlink()


def test_a_list_too_short_to_fit_is_refused_before_anything_is_trained(tiny_folder, tiny_runs, tmp_path, one_video):
    resume = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth"), "DATA__TRAIN_FILE": one_video.name}
    for stage, changes in (("negation", resume), ("view", {"DATA__TRAIN_FILE": one_video.name})):
        config = tiny(tiny_folder, tmp_path / stage, stage, **changes, TEST__FIT_FEATURES=True)
        with pytest.raises(
            UserError, match=r"train_one.txt: 1 labelled videos, .* at least 2: .*set TEST.SCORE msp"
        ) as caught:
            train(config)
        assert "\n" not in str(caught.value)
        assert not list((tmp_path / stage).glob("**/*.pth"))


def test_with_too_few_readable_videos_a_run_goes_on_without_the_scores(tiny_folder, tiny_runs, tmp_path, monkeypatch):
    """The features of every training video but one are not finite."""
    answers = Evaluator._answers

    def damaged(self, model, part, *args, **kwargs):
        found = answers(self, model, part, *args, **kwargs)
        if part.kind == "train":
            found.intermediates[1:] = np.nan
        return found

    monkeypatch.setattr(Evaluator, "_answers", damaged)
    resume = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth")}
    run = train(tiny(tiny_folder, tmp_path, "negation", **resume))
    header = (run / "predictions.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert "s_msp" in header and not {f"s_{name}" for name in FITTED_SCORES} & set(header)
    assert "train.txt: 1 labelled videos with finite features, at least 2 are needed" in (run / "log.txt").read_text()
