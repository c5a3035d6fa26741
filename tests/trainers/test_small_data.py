"""False certainty on small data: few videos fit no sharp temperature, and no figure says more than they can tell."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from echoviewclip.evaluation.bootstrap import LEAST_PATIENTS, intervals, ratio
from echoviewclip.evaluation.calibration import TEMPERATURES, fit_temperature
from echoviewclip.evaluation.classification import per_class
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.report import write_report
from echoviewclip.evaluation.summary import FITTED, summarise, write_metrics
from echoviewclip.tools.results import lines
from tests.synthetic_run import make_predictions, make_run
from tests.tiny_data import metrics


def sure(count: int, confidence: float, classes: int = 38) -> tuple[np.ndarray, np.ndarray]:
    """Logits of videos that are all right, each with this probability."""
    logits = np.zeros((count, classes))
    logits[:, 0] = np.log(confidence / (1 - confidence) * (classes - 1))
    return logits, np.zeros(count, int)


@pytest.mark.parametrize("confidence", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("count", [1, 3, 10, 30])
def test_a_few_videos_that_are_all_right_prove_no_certainty(count, confidence):
    logits, labels = sure(count, confidence)
    temperature = fit_temperature(logits, labels)
    assert TEMPERATURES[0] < temperature < 1
    said = softmax(logits / temperature, axis=1)[0, 0]
    assert said == pytest.approx((count + 10 * confidence) / (count + 10), abs=1e-3)


@pytest.mark.parametrize("truth", [0.5, 1, 2])
def test_many_videos_have_the_temperature_that_they_had_without_a_prior(truth):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 38)) * 2
    labels = (softmax(logits, axis=1).cumsum(1) > rng.random((20000, 1))).argmax(1)

    def loss(log_temperature):
        return -np.take_along_axis(log_softmax(logits * truth / np.exp(log_temperature), 1), labels[:, None], 1).mean()

    alone = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
    assert fit_temperature(logits * truth, labels) == pytest.approx(alone, rel=1e-3)


def mean_of(values):
    return lambda weights: {"mean": ratio(weights @ values, weights.sum(1))}


@pytest.mark.parametrize("count", range(1, 12))
def test_an_interval_needs_enough_patients(count):
    values, patients = np.random.default_rng(count).random(3 * count), np.arange(3 * count) // 3
    assert (intervals(mean_of(values), patients)["mean"] is not None) == (count >= LEAST_PATIENTS)


def test_each_group_that_a_figure_rests_on_needs_enough_patients():
    values, patients, group = np.random.default_rng(0).random(40), np.arange(40), np.arange(40) < LEAST_PATIENTS
    for few, given in ((group, True), (group & (np.arange(40) > 0), False)):
        found = intervals(mean_of(values), patients, rests_on=lambda name, few=few: [few, ~few])
        assert (found["mean"] is not None) == given


def test_intervals_of_eight_patients_hold_what_they_promise():
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        low, high = intervals(mean_of(rng.normal(size=8)), np.arange(8), draws=400, seed=int(rng.integers(9999)))[
            "mean"
        ]
        held += low <= 0 <= high
    assert 0.91 <= held / 300 <= 0.98  # the plain percentiles hold 0.89


def test_a_class_of_few_patients_has_no_interval_though_the_set_has():
    labels = np.r_[np.zeros(20, int), np.ones(4, int)]
    probabilities = np.eye(2)[np.where(np.arange(24) % 5 == 0, 1 - labels, labels)]
    common, rare = per_class(probabilities, labels, patients=np.arange(24))
    assert common["recall_interval"] and rare["recall"] == 0.75 and rare["recall_interval"] is None


def test_outsiders_of_two_patients_have_no_interval():
    p = make_predictions()
    outside = p.set != "in"
    p.patient[outside] = np.where(np.arange(outside.sum()) % 2, "A", "B")
    found = summarise(p, stage="negation", score="msp", tau=0.5, draws=50).intervals
    assert found["top1"] and found["accepted"]
    for name in ("near/msp/auroc", "ood/msp/fpr95", "rejected", "joint_accuracy", "joint_aurc"):
        assert found[name] is None


@pytest.mark.parametrize("kept", ["in", "outside"])
def test_without_insiders_or_outsiders_there_is_no_joint_figure(kept, tmp_path):
    p = make_predictions()
    found = summarise(p.where((p.set == "in") == (kept == "in")), stage="negation", score="msp", tau=0.5, draws=0)
    assert "joint_aurc" not in found.metrics and np.isnan(found.metrics["joint_accuracy"])
    assert np.isfinite(found.metrics["accepted" if kept == "in" else "rejected"])
    write_metrics(tmp_path / "metrics.json", found)
    assert "Joint accuracy" not in write_report(tmp_path).read_text()


def test_figures_fitted_on_the_very_videos_are_marked_everywhere(tmp_path):
    p = make_predictions()
    told = {"stage": "negation", "score": "msp", "tau": 0.5, "temperature": 1.2, "draws": 20}
    pages = {}
    for name, here in (("own", True), ("other", False), ("unknown", None)):
        run = make_run(tmp_path / name, p, draws=0)
        write_metrics(run / "metrics.json", summarise(p, fitted_here=here, **told))
        pages[name] = write_report(run).read_text()
    assert json.loads((tmp_path / "own" / "metrics.json").read_text())["fitted"] == list(FITTED)
    assert json.loads((tmp_path / "other" / "metrics.json").read_text())["fitted"] == []
    assert json.loads((tmp_path / "unknown" / "metrics.json").read_text())["fitted"] is None
    shown = [title for title in ("Calibration error", "Joint accuracy", "Known views accepted", "Outsiders rejected")]
    for title in shown:
        tile = pages["own"].split(f"<span>{title}</span>")[1].split("</div>")[0]
        assert "fitted on these videos" in tile
    assert "fitted on these videos" not in pages["own"].split("<span>Top-1 accuracy</span>")[1].split("</div>")[0]
    assert "at temperature 1.2, fitted on these videos" in pages["own"]
    assert "fitted on these" not in pages["other"] + pages["unknown"]
    assert "does not say on which videos" in pages["unknown"] and "does not say" not in pages["other"]
    said = [line for line in lines(tmp_path / "own") if "(fitted on these videos)" in line]
    assert [line.strip().split("  ")[0] for line in said] == [
        "Calibration error",
        "Risk–coverage area",
        "Joint accuracy",
        "Known views accepted",
        "Outsiders rejected",
    ]


def test_the_training_s_own_list_is_known_again(tiny_runs):
    for run in tiny_runs.values():
        found = metrics(run)
        assert found["fitted"] == [name for name in FITTED if found["metrics"].get(name) is not None]
    said = (tiny_runs["negation"] / "log.txt").read_text()
    assert "(fitted on these videos)" in said and "7 videos with a label are few for temperature and τ" in said


def test_a_page_without_patients_says_that_videos_were_resampled(tmp_path):
    p = Predictions(path=list("abcdefghij"), label=[0, 1] * 5, probabilities=np.eye(2)[[0, 1] * 4 + [1, 1]])
    write_metrics(tmp_path / "metrics.json", summarise(p, stage="view", draws=20))
    assert "resampling videos one by one, since the lists name no patients" in write_report(tmp_path).read_text()
