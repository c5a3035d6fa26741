"""Out-of-distribution scores against their formulas written out, and their figures against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn import metrics
from sklearn.covariance import LedoitWolf

from echoviewclip.evaluation.feature_statistics import FeatureStatistics
from echoviewclip.evaluation.ood import ood_metrics, ood_statistic, scores


def test_scores_by_hand_for_two_classes():
    result = scores(np.log([[3.0, 1.0]]), np.log([[1.0, 1.0]]), cosines=np.log([[1.0, 4.0]]))
    assert {name: value[0] for name, value in result.items()} == pytest.approx(
        {
            "msp": 3 / 4,
            "max_logit": np.log(3),
            "energy": np.log(4),
            "negation": 3 / 4 * (1 - 1 / 2) + 1 / 4 * (1 - 1 / 2),
            "competing_to_win": 3 / (3 + 1),
            "agreeing_to_differ": 3 / 4 * 3 / (3 + 1) + 1 / 4 * 1 / (1 + 1),
            "mcm": 4 / 5,
        }
    )


def test_negation_is_the_sum_of_the_paper():
    rng = np.random.default_rng(0)
    logits, logits_no = rng.normal(size=(20, 38)) * 4, rng.normal(size=(20, 38)) * 4
    positive = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    negative = np.exp(logits_no) / np.exp(logits_no).sum(1, keepdims=True)
    np.testing.assert_allclose(scores(logits, logits_no)["negation"], (positive * (1 - negative)).sum(1))


def test_negation_is_high_where_the_negative_branch_denies_every_other_class():
    inside = scores(np.array([[9.0, 0, 0]]), np.array([[0.0, 9, 9]]))
    outside = scores(np.array([[1.0, 0, 0]]), np.array([[9.0, 0, 0]]))
    for name in ("negation", "competing_to_win", "agreeing_to_differ", "msp"):
        assert inside[name] > outside[name]


def test_large_logits_overflow_nowhere():
    result = scores(np.array([[1e4, -1e4]]), np.array([[-1e4, 1e4]]))
    assert all(np.isfinite(value).all() for value in result.values())


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.integers(1, 50))
def test_figures_agree_with_scikit_learn_ties_included(seed, inside, outside, levels):
    rng = np.random.default_rng(seed)
    ins, outs = rng.integers(0, levels, inside) / 7 + 1, rng.integers(0, levels, outside) / 7
    ours = ood_metrics(ins, outs)
    truth, raw = np.r_[np.ones(inside), np.zeros(outside)], np.r_[ins, outs]
    assert ours["auroc"] == pytest.approx(metrics.roc_auc_score(truth, raw))
    assert ours["aupr_in"] == pytest.approx(metrics.average_precision_score(truth, raw))
    assert ours["aupr_out"] == pytest.approx(metrics.average_precision_score(1 - truth, -raw))
    false, true, _ = metrics.roc_curve(truth, raw, drop_intermediate=False)
    assert ours["fpr95"] == pytest.approx(false[true >= 0.95 - 1e-12].min())


def test_weights_mean_what_sample_weights_mean_to_scikit_learn():
    rng = np.random.default_rng(1)
    raw, inside, weights = rng.integers(0, 9, 40) / 3, rng.random(40) < 0.6, rng.integers(0, 4, (3, 40)).astype(float)
    ours = ood_statistic(raw, inside)(weights)
    for row in range(3):
        assert ours["auroc"][row] == pytest.approx(metrics.roc_auc_score(inside, raw, sample_weight=weights[row]))
        assert ours["aupr_out"][row] == pytest.approx(
            metrics.average_precision_score(~inside, -raw, sample_weight=weights[row])
        )


def test_all_equal_scores_tell_nothing():
    assert ood_metrics(np.ones(10), np.ones(5)) == pytest.approx(
        {"auroc": 0.5, "aupr_in": 10 / 15, "aupr_out": 5 / 15, "fpr95": 1.0}
    )


def test_fpr95_by_hand():
    # 20 insiders: 19 of them (95 %) score at least 2, and 2 of 4 outsiders do.
    assert ood_metrics(np.arange(1, 21), np.array([0, 1, 2, 3]))["fpr95"] == 0.5


@pytest.mark.parametrize(("ins", "outs"), [([], [1.0]), ([1.0], []), ([], [])])
def test_one_side_empty_defines_nothing(ins, outs):
    assert all(np.isnan(value) for value in ood_metrics(np.array(ins), np.array(outs)).values())


def test_scores_that_are_nan_are_refused():
    with pytest.raises(ValueError, match="nan"):
        ood_metrics(np.array([np.nan]), np.array([0.0]))


@pytest.fixture
def training():
    rng = np.random.default_rng(2)
    labels = np.repeat([3, 7, 8], 400)
    centres = rng.normal(size=(9, 5)) * 4
    return centres[labels] + rng.normal(size=(1200, 5)) * [1, 2, 0.5, 1, 1], labels, rng.normal(size=(6, 5)) * 4


def test_distances_match_their_formulas(training):
    features, labels, queries = training
    result = FeatureStatistics.fit(features, labels, neighbour=4).scores(queries)
    means = np.stack([features[labels == c].mean(0) for c in (3, 7, 8)])
    residuals = features - means[np.searchsorted([3, 7, 8], labels)]
    shared, background = LedoitWolf(assume_centered=True).fit(residuals), LedoitWolf().fit(features)
    to_class = cdist(queries, means, "mahalanobis", VI=shared.precision_).min(1) ** 2
    np.testing.assert_allclose(result["mahalanobis"], -to_class, rtol=1e-4)
    np.testing.assert_allclose(result["relative_mahalanobis"], background.mahalanobis(queries) - to_class, rtol=1e-3)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, features)]
    np.testing.assert_allclose(result["knn"], -np.sort(cdist(*unit), axis=1)[:, 3], atol=1e-5)


def test_far_features_score_low_and_the_state_survives_a_checkpoint(training):
    features, labels, _ = training
    fitted = FeatureStatistics.fit(features, labels, bank=50)
    again = FeatureStatistics(**fitted.state())
    assert fitted.bank.shape == (50, 5)
    for name, near in again.scores(features[:50]).items():
        far = again.scores(-features[:50] * 3)[name]
        assert ood_metrics(near, far)["auroc"] > 0.95
        np.testing.assert_array_equal(near, fitted.scores(features[:50])[name])


def test_fewer_videos_than_dimensions_and_features_without_spread_stay_finite():
    few = FeatureStatistics.fit(np.random.default_rng(3).normal(size=(6, 40)), np.array([0, 0, 0, 1, 1, 1]))
    flat = FeatureStatistics.fit(np.ones((4, 3)), np.array([0, 0, 1, 1]))
    for fitted, query in ((few, np.ones((2, 40))), (flat, np.ones((2, 3)))):
        assert all(np.isfinite(value).all() for value in fitted.scores(query).values())
