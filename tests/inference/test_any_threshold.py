"""TEST.SCORE and TEST.ACCEPT_RATE after training: τ as the training would have found it, or the setting is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from echoviewclip.evaluation.calibration import kept_scores, threshold
from echoviewclip.inference.calibration import Calibration
from echoviewclip.inference.predictor import load_predictor
from echoviewclip.predict import main
from echoviewclip.utils.checkpoint import load_checkpoint, save_checkpoint
from echoviewclip.utils.errors import UserError
from tests.tiny_data import VALIDATION, configure, metrics, tiny, train

WANTED = ("msp", 0.5), ("agreeing_to_differ", 0.3), ("knn", 1.0)


def only_test(run: Path, output: Path, checkpoint: Path | None = None, **changes) -> dict:
    """metrics.json of `--only_test` on a run's own lists with changed TEST settings."""
    given = {"OUTPUT": str(output), "TEST.ONLY_TEST": True, "MODEL.RESUME": str(checkpoint or run / "last.pth")}
    given |= {f"TEST.{key}": value for key, value in changes.items()}
    return metrics(train(configure(str(run / "config.yaml"), list(given.items()))))


def inside(run: Path, score: str) -> np.ndarray:
    """The validation videos' values of a score, as the training's evaluation wrote them."""
    with (run / "predictions.csv").open(newline="") as lines:
        return np.array([float(row[f"s_{score}"]) for row in csv.DictReader(lines) if row["set"] == "in"])


@pytest.mark.parametrize(
    "stage, score, rate", [("negation", *WANTED[0]), ("negation", *WANTED[2]), ("quality", *WANTED[1])]
)
def test_only_test_accepts_by_the_score_and_rate_that_are_asked_for(tiny_runs, tmp_path, stage, score, rate):
    found = only_test(tiny_runs[stage], tmp_path, SCORE=score, ACCEPT_RATE=rate)
    values = inside(tiny_runs["negation"], score)
    assert (found["score"], found["tau"]) == (score, threshold(values, rate))
    if stage == "negation":
        assert found["metrics"]["accepted"] == np.ceil(rate * VALIDATION) / VALIDATION


def test_predict_accepts_by_them_too(tiny_runs, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_folder / "videos")
    given = ["clip 9.avi", "--resume", str(tiny_runs["quality"] / "last.pth"), "--device", "cpu"]
    for score, rate in WANTED:
        opts = ["--opts", "TEST.SCORE", score, "TEST.ACCEPT_RATE", str(rate)]
        assert main([*given, "--output", str(tmp_path), *opts]) == 0
        (row,) = csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines())
        tau = threshold(inside(tiny_runs["negation"], score), rate)
        assert (row["score_name"], float(row["tau"])) == (score, tau)
        assert row["decision"] == ("accepted" if float(row["score"]) >= tau else "rejected")


def test_a_training_with_the_settings_finds_the_same(tiny_folder, tiny_runs, tmp_path):
    options = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth"), "TRAIN__EPOCHS": 2}
    changes = {"TEST__SCORE": "knn", "TEST__ACCEPT_RATE": 0.6}
    trained = train(tiny(tiny_folder, tmp_path / "run", "negation", **options, **changes))
    calibration = load_checkpoint(trained / "last.pth")["calibration"]
    asked = only_test(tiny_runs["negation"], tmp_path / "test", SCORE="knn", ACCEPT_RATE=0.6)
    assert (asked["score"], asked["tau"]) == (calibration["score"], calibration["tau"])


def test_stage_quality_keeps_what_its_own_settings_ask_for(tiny_folder, tiny_runs, tmp_path):
    before = str(tiny_runs["negation"] / "last.pth")
    run = train(tiny(tiny_folder, tmp_path, "quality", MODEL__RESUME=before, TEST__SCORE="msp", TEST__ACCEPT_RATE=0.4))
    calibration = load_checkpoint(run / "last.pth")["calibration"]
    assert calibration["tau"] == threshold(inside(tiny_runs["negation"], "msp"), 0.4)
    assert load_predictor(run / "last.pth").calibration.score == "msp"


def test_what_the_checkpoint_cannot_know_is_refused_with_what_to_do(tiny_runs, tmp_path):
    run = tiny_runs["view"]
    with pytest.raises(
        UserError, match=r"TEST.SCORE negation has no τ: it needs the negative branch, which stage nega"
    ):
        only_test(run, tmp_path, SCORE="negation")
    with pytest.raises(UserError, match=r"TEST.SCORE knn has no τ: it needs to know where training features lie"):
        only_test(run, tmp_path, SCORE="knn")
    with pytest.raises(UserError, match=r"TEST.SCORE knn has no τ: the checkpoint keeps none of its values on"):
        only_test(run, tmp_path, SCORE="knn", FIT_FEATURES=True)
    for score in ("negation", "knn"):
        with pytest.raises(UserError, match=rf"TEST.SCORE {score} has no τ"):
            load_predictor(run / "last.pth", changes=[("TEST.SCORE", score)])
    # The setting of the training itself was not asked for anew: there is no τ, and the log says so.
    assert only_test(run, tmp_path)["tau"] is None
    said = (tmp_path / "evaluation" / "val" / "log.txt").read_text()
    assert "TEST.SCORE relative_mahalanobis has no τ: it needs to know" in said


def test_stage_quality_refuses_a_score_that_it_was_given_nothing_for(tiny_folder, tiny_runs, tmp_path):
    options = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth"), "TEST__SCORE": "msp"}
    run = train(tiny(tiny_folder, tmp_path / "negation", "negation", **options))
    again = {"MODEL__RESUME": str(run / "last.pth")}
    with pytest.raises(UserError, match=r"TEST.SCORE relative_mahalanobis has no τ: it needs to know where"):
        train(tiny(tiny_folder, tmp_path / "quality", "quality", **again))
    with pytest.raises(UserError, match=r"TEST.FIT_FEATURES needs views to fit features to"):
        train(tiny(tiny_folder, tmp_path / "quality", "quality", **again, TEST__FIT_FEATURES=True))


def test_a_checkpoint_of_an_earlier_version_knows_its_own_settings_alone(tiny_runs, tmp_path):
    content = load_checkpoint(tiny_runs["negation"] / "last.pth")
    content["calibration"] = {n: content["calibration"][n] for n in ("temperature", "score", "accept_rate", "tau")}
    save_checkpoint(tmp_path / "earlier.pth", content)
    run, earlier = tiny_runs["negation"], tmp_path / "earlier.pth"
    assert only_test(run, tmp_path / "same", earlier)["tau"] == metrics(run)["tau"]
    for changes in ({"SCORE": "msp"}, {"ACCEPT_RATE": 0.5}):
        with pytest.raises(
            UserError, match=r"an earlier version wrote the checkpoint, which knows τ for TEST.SCORE rel"
        ):
            only_test(run, tmp_path / "other", earlier, **changes)
        with pytest.raises(UserError, match=r"an earlier version wrote the checkpoint"):
            load_predictor(earlier, changes=[(f"TEST.{key}", value) for key, value in changes.items()])


def test_weights_that_were_not_evaluated_have_no_threshold_to_ask_for(tiny_runs, tmp_path, caplog):
    content = load_checkpoint(tiny_runs["negation"] / "last.pth")
    save_checkpoint(tmp_path / "a.pth", content | {"calibration": {}})
    assert load_predictor(tmp_path / "a.pth").calibration == Calibration()
    for change in (("TEST.ACCEPT_RATE", 0.5), ("TEST.SCORE", "msp")):
        with pytest.raises(
            UserError, match=r"since its weights were not evaluated \(EVAL_FREQ\); take another TEST.SC"
        ):
            load_predictor(tmp_path / "a.pth", changes=[change])


def test_other_views_a_video_than_those_of_the_calibration_are_said(tiny_runs, caplog):
    with caplog.at_level("WARNING"):
        load_predictor(tiny_runs["negation"] / "last.pth", changes=[("TEST.NUM_CLIP", 4), ("TEST.NUM_CROP", 3)])
    assert "τ and temperature were found with 1 clips × 1 crops a video, not 4 × 3" in caplog.text


@pytest.mark.parametrize("key", ["ONLY_TEST", "FIT_FEATURES"])
def test_settings_that_predict_cannot_follow_are_refused(tiny_runs, key):
    with pytest.raises(UserError, match=rf"TEST.{key} changes nothing in predict.py"):
        load_predictor(tiny_runs["view"] / "last.pth", changes=[(f"TEST.{key}", True)])


@pytest.mark.parametrize("rate", [0, -0.5, 1.01])
def test_a_rate_of_acceptance_that_no_threshold_has_is_refused(rate):
    with pytest.raises(UserError, match=r"TEST.ACCEPT_RATE must lie above 0 and up to 1; found"):
        configure("configs/phantom/view.yaml", [("TEST.ACCEPT_RATE", rate)])


@given(st.integers(2, 400), st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_thresholds_of_kept_scores_are_off_by_little(count, seed, rate):
    values = np.random.default_rng(seed).normal(size=count).round(1)
    kept = kept_scores(values, most=50)
    assert len(kept) == min(count, 50) and (kept[0], kept[-1]) == (values.min(), values.max())
    tau, exact = threshold(kept, rate), threshold(values, rate)
    if count <= 50:
        assert tau == exact
    else:
        distinct = np.random.default_rng(seed).permutation(count).astype(float)
        accepted = (distinct >= threshold(kept_scores(distinct, most=50), rate)).mean()
        assert abs(accepted - rate) < 2 / 50


def test_scores_that_are_not_finite_are_not_kept():
    assert kept_scores(np.array([2.0, np.nan, 1.0, -np.inf])).tolist() == [1, 2]
    assert torch.from_numpy(kept_scores(np.array([1.0]))).dtype == torch.float64
