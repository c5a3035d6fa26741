"""Quality figures against hand-computed numbers, scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from echoviewclip.evaluation.quality import per_view, quality_metrics, quality_statistic, to_grades, to_scores


def drawn(seed, videos, grades=4):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(grades), videos), rng.integers(0, grades, videos), rng.integers(0, 7, videos) / 3


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_agrees_with_scikit_learn_and_scipy(seed, videos):
    probabilities, grades, scores = drawn(seed, videos)
    ours, predictions = quality_metrics(probabilities, grades, scores), probabilities.argmax(1)
    assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(grades, predictions))
    assert ours["top2"] == pytest.approx(metrics.top_k_accuracy_score(grades, probabilities, k=2, labels=range(4)))
    assert ours["mae"] == pytest.approx(metrics.mean_absolute_error(grades / 3, scores))
    present = np.unique(grades)
    expected = metrics.f1_score(grades, predictions, labels=present, average="macro", zero_division=0)
    assert ours["macro_f1"] == pytest.approx(expected)
    if len(present) > 1 and np.ptp(scores) > 0:
        kappa = metrics.cohen_kappa_score(grades, predictions, labels=range(4), weights="quadratic")
        assert ours["quadratic_kappa"] == pytest.approx(kappa, abs=1e-9)
        assert ours["spearman"] == pytest.approx(stats.spearmanr(scores, grades).statistic, abs=1e-9)
        assert ours["pearson"] == pytest.approx(stats.pearsonr(scores, grades).statistic, abs=1e-9)


def test_weights_mean_repeated_videos():
    probabilities, grades, scores = drawn(5, 30)
    times = np.random.default_rng(6).integers(0, 4, 30)
    repeated = np.repeat(np.arange(30), times)
    weighted = quality_statistic(probabilities, grades, scores)(times[None].astype(float))
    plain = quality_metrics(probabilities[repeated], grades[repeated], scores[repeated])
    assert {name: value[0] for name, value in weighted.items()} == pytest.approx(plain)


def test_bland_altman_by_hand():
    figures = quality_metrics(np.eye(3), np.arange(3), np.array([0.1, 0.5, 1.2]))  # off by 0.1, 0, 0.2
    assert figures["bias"] == pytest.approx(0.1)
    assert (figures["limit_low"], figures["limit_high"]) == pytest.approx((0.1 - 0.196, 0.1 + 0.196))  # ddof 1


def test_kappa_by_hand():
    # grades 0 1 2 2 against 0 1 2 0: mean square 4/4; by chance E g² 9/4 + E p² 5/4 − 2 · 5/4 · 3/4 = 13/8.
    figures = quality_metrics(np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 2, 2]), np.zeros(4))
    assert figures["quadratic_kappa"] == pytest.approx(1 - 8 / 13)


def test_equal_values_have_neither_correlation_nor_kappa():
    figures = quality_metrics(np.tile([0.1, 0.7, 0.2], (5, 1)), np.ones(5, int), np.full(5, 0.1))
    assert figures["accuracy"] == figures["top2"] == figures["macro_f1"] == 1
    assert np.isnan([figures[name] for name in ("quadratic_kappa", "spearman", "pearson")]).all()


def test_scores_as_targets_are_compared_unbinned_and_graded_binned():
    targets, predicted = np.array([0.1, 0.35, 0.6, 0.95]), np.array([0.2, 0.2, 0.7, 0.95])
    grades, guesses = to_grades(targets, 3), to_grades(predicted, 3)
    assert grades.tolist() == [0, 1, 1, 2]
    figures = quality_metrics(np.eye(3)[guesses], grades, predicted, targets)
    assert figures["accuracy"] == 0.75
    assert figures["mae"] == pytest.approx(0.35 / 4)
    assert figures["bias"] == pytest.approx(0.05 / 4)


def test_grades_stand_evenly_on_scores():
    assert to_scores(np.arange(5), 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert to_grades(np.array([-1, 0, 0.24, 0.25, 0.74, 0.75, 1, 2]), 3).tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    for count in (1, 2, 3, 7):
        assert to_grades(to_scores(np.arange(count), count), count).tolist() == list(range(count))


def test_per_view_rows_are_the_figures_of_their_videos():
    probabilities, grades, scores = drawn(9, 30)
    views = np.arange(30) % 3 * 2
    rows = per_view(views, probabilities, grades, scores, names=list("abcde"))
    assert [(row["view"], row["name"], row["support"]) for row in rows] == [(0, "a", 10), (2, "c", 10), (4, "e", 10)]
    of = views == 2
    assert rows[1]["mae"] == quality_metrics(probabilities[of], grades[of], scores[of])["mae"]


def test_empty_and_single_sets_are_undefined_rather_than_wrong():
    empty = quality_metrics(np.zeros((0, 3)), np.zeros(0, int), np.zeros(0))
    assert all(np.isnan(value) for value in empty.values())
    single = quality_metrics(np.eye(3)[:1], np.zeros(1, int), np.ones(1))
    assert single["accuracy"] == 1
    assert np.isnan([single["limit_low"], single["spearman"], single["quadratic_kappa"]]).all()


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="one finite score"):
        quality_metrics(np.eye(3)[:1], np.zeros(1, int), np.array([np.inf]))
