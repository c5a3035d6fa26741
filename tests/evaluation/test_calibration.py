"""τ, temperature, calibration error, risk–coverage and joint accuracy against hand-computed numbers."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from echoviewclip.evaluation import calibration as c


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.floats(0.01, 1))
def test_threshold_accepts_enough_and_no_level_more(values, rate):
    values = np.array(values, float)
    tau = c.threshold(values, rate)
    assert (values >= tau).mean() >= rate - 1e-9
    assert not (values > values[values >= tau].min()).mean() >= rate + 1e-9


def test_threshold_by_hand():
    assert c.threshold(np.arange(1, 21), 0.95) == 1.5  # 19 of 20
    assert c.threshold(np.arange(1, 22), 0.95) == 1.5  # 20 of 21: 19 would be too few
    assert c.threshold(np.arange(100), 0.07) == 92.5  # 0.07 · 100 is a little over 7 in floating point
    assert c.threshold(np.array([1.0, 3.0]), 1) == 0.998  # below the lowest, by a thousandth of the range
    assert c.threshold(np.ones(4), 0.5) == 1


@pytest.mark.parametrize(("scores", "rate"), [([], 0.95), ([1.0], 0), ([1.0], 1.1), ([np.nan], 0.9)])
def test_threshold_refuses_nonsense(scores, rate):
    with pytest.raises(ValueError, match="τ needs scores"):
        c.threshold(np.array(scores), rate)


def test_temperature_undoes_an_overconfidence_and_lowers_the_loss():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)) * 2
    labels = (softmax(logits, axis=1).cumsum(1) > rng.random((4000, 1))).argmax(1)
    temperature = c.fit_temperature(logits * 3, labels)
    assert temperature == pytest.approx(3, rel=0.1)
    around = [
        log_loss(labels, softmax(logits * 3 / t, axis=1)) for t in (temperature, temperature * 1.01, temperature / 1.01)
    ]
    assert around[0] == min(around)
    before, after = (softmax(logits * 3 / t, axis=1) for t in (1, temperature))
    ece = [c.calibration_metrics(p.max(1), p.argmax(1) == labels)["ece"] for p in (before, after)]
    assert ece[1] < 0.03 < ece[0]


def test_at_temperature_needs_no_logits():
    logits = np.random.default_rng(1).normal(size=(6, 4))
    np.testing.assert_allclose(c.at_temperature(softmax(logits, axis=1), 2.5), softmax(logits / 2.5, axis=1))
    assert np.isfinite(c.at_temperature(np.array([[1.0, 0.0]]), 0.01)).all()


def test_calibration_error_and_its_diagram_by_hand():
    confidence, correct = np.array([0.55, 0.6, 0.9, 1.0]), np.array([True, False, True, True])
    rows = c.reliability(confidence, correct, bins=5)
    assert [(row["low"], row["high"], row["count"]) for row in rows] == [(0.4, 0.6, 2), (0.8, 1.0, 2)]
    assert [row["accuracy"] for row in rows] == [0.5, 1]
    assert c.calibration_metrics(confidence, correct, bins=5)["ece"] == pytest.approx(0.5 * 0.075 + 0.5 * 0.05)


def test_risk_coverage_by_hand():
    confidence, correct = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    coverage, risk = c.risk_coverage(confidence, correct)
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3, 1 / 2])
    assert c.calibration_metrics(confidence, correct)["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_area_with_ties_is_the_mean_over_all_orders(videos):
    confidence, correct = (np.array(column) for column in zip(*videos, strict=True))
    areas = []
    for order in permutations(range(len(videos))):
        if all(confidence[a] >= confidence[b] for a, b in pairwise(order)):
            areas.append(np.mean(np.cumsum(~correct[list(order)]) / np.arange(1, len(videos) + 1)))
    assert c.calibration_metrics(confidence / 2, correct)["aurc"] == pytest.approx(np.mean(areas))


def test_equal_confidences_give_the_error_rate():
    assert c.calibration_metrics(np.full(8, 0.5), np.arange(8) < 6)["aurc"] == pytest.approx(0.25)


def test_joint_figures_by_hand():
    predictions, labels = np.array([0, 1, 2, 0, 1]), np.array([0, 1, 1, -1, -1])
    scores = np.array(
        [0.9, 0.4, 0.8, 0.7, 0.1]
    )  # right, rejected insider, wrong view, accepted outsider, rejected outsider
    figures = c.joint_metrics(predictions, labels, scores, 0.5)
    assert figures == pytest.approx({"joint_accuracy": 2 / 5, "accepted": 2 / 3, "rejected": 1 / 2})
    assert c.joint_metrics(predictions[:1], labels[:1], scores[:1], 0.9)["accepted"] == 1  # a score of τ is accepted
    assert np.isnan(c.joint_metrics(predictions[:1], labels[:1], scores[:1], 0.9)["rejected"])


def test_empty_sets_have_no_figures():
    assert all(np.isnan(value) for value in c.calibration_metrics(np.zeros(0), np.zeros(0, bool)).values())
    with pytest.raises(ValueError, match="no videos"):
        c.fit_temperature(np.zeros((0, 3)), np.zeros(0, int))
