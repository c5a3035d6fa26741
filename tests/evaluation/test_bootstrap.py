"""Bootstrap intervals by patient: what they cover, and when there are none."""

from __future__ import annotations

import numpy as np
import pytest

from echoviewclip.evaluation.bootstrap import Levels, figures, intervals, ratio
from echoviewclip.evaluation.ood import ood_statistic


def mean_of(values):
    return lambda weights: {"mean": ratio(weights @ values, weights.sum(1))}


def test_interval_of_a_mean_matches_theory():
    values = np.random.default_rng(0).normal(size=400)
    low, high = intervals(mean_of(values), np.arange(400), draws=2000)["mean"]
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_the_videos_of_a_patient_are_drawn_together():
    # 20 patients with 50 equal videos each know as much as 20 videos, not as 1000.
    per_patient = np.random.default_rng(1).normal(size=20)
    clustered = intervals(mean_of(np.repeat(per_patient, 50)), np.repeat(np.arange(20), 50))["mean"]
    assert clustered == pytest.approx(intervals(mean_of(per_patient), np.arange(20))["mean"])


def test_the_seed_decides_and_chunks_do_not(monkeypatch):
    values, patients = np.random.default_rng(2).random(60), np.arange(60) // 3
    first = intervals(mean_of(values), patients, seed=5)
    assert first != intervals(mean_of(values), patients, seed=6)
    monkeypatch.setattr("echoviewclip.evaluation.bootstrap._CHUNK", 1)
    assert first["mean"] == pytest.approx(intervals(mean_of(values), patients, seed=5)["mean"])


@pytest.mark.parametrize("patients", [["a"] * 5, []])
def test_one_patient_has_figures_but_no_intervals(patients):
    assert intervals(mean_of(np.arange(len(patients))), patients) == {"mean": None}


def test_a_figure_that_no_draw_moves_has_no_interval():
    assert intervals(mean_of(np.ones(10)), np.arange(10)) == {"mean": None}


def test_draws_without_a_figure_are_left_out_unless_most_are():
    scores, patients = np.r_[np.arange(9.0), 4.5], np.arange(10)
    one_outsider = ood_statistic(scores, np.arange(10) < 9)
    assert np.isfinite(intervals(one_outsider, patients)["auroc"]).all()  # about 35 % of draws lack the outsider
    assert intervals(lambda weights: {"x": np.where(weights[:, 0] > 1, weights[:, 1], np.nan)}, patients) == {"x": None}


def test_figures_are_plain_floats():
    assert figures(mean_of(np.array([1.0, 2.0])), 2) == {"mean": 1.5}
    assert type(figures(mean_of(np.array([1.0])), 1)["mean"]) is float


def test_levels_add_up_the_weights_of_equal_scores_highest_first():
    weights = np.array([[1.0, 2, 3, 4], [0, 1, 0, 1]])
    np.testing.assert_array_equal(Levels(np.array([0.5, 0.9, 0.5, -1.0])).sums(weights), [[2, 4, 4], [1, 0, 1]])
    np.testing.assert_array_equal(Levels(np.array([0.5, 0.9, 0.6, -1.0])).sums(weights), [[2, 3, 1, 4], [1, 0, 0, 1]])


def test_places_of_patients_are_drawn_as_their_names():
    mean_values = np.random.default_rng(2).normal(size=60)
    names = np.array([f"P{number % 17}" for number in range(60)])
    places = np.unique(names, return_inverse=True)[1]
    part = np.flatnonzero(np.arange(60) % 3)  # without some of the patients
    named = intervals(mean_of(mean_values[part]), names[part], seed=4)
    assert named == intervals(mean_of(mean_values[part]), places[part], seed=4)
