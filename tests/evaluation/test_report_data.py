"""predictions.csv there and back, and metrics.json from it: every figure that of its own module."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from echoviewclip.evaluation.calibration import at_temperature, calibration_metrics
from echoviewclip.evaluation.classification import classification_metrics
from echoviewclip.evaluation.ood import ood_metrics
from echoviewclip.evaluation.prediction_files import read_predictions, write_predictions
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.quality import quality_metrics
from echoviewclip.evaluation.summary import read_summary, summarise, write_metrics
from echoviewclip.utils.errors import UserError
from tests.synthetic_run import GRADES, VIEWS, make_predictions


@pytest.fixture(scope="module")
def predictions():
    return make_predictions()


@pytest.fixture(scope="module")
def summary(predictions):
    return summarise(predictions, stage="negation", tau=0.8, temperature=1.5, classes=VIEWS, grades=GRADES, draws=100)


def test_every_number_survives_the_file(predictions, tmp_path):
    write_predictions(tmp_path / "predictions.csv", predictions)
    again = read_predictions(tmp_path / "predictions.csv")
    assert list(again.scores) == list(predictions.scores)
    for name, values in vars(predictions).items():
        if name == "scores":
            for score in values:
                np.testing.assert_array_equal(again.scores[score], values[score])
        elif name in ("grade", "frames"):  # whole numbers: unknown stays unknown
            np.testing.assert_array_equal(getattr(again, name), values)
        else:
            np.testing.assert_array_equal(getattr(again, name), values, err_msg=name)


def test_a_stage_may_leave_out_what_it_does_not_answer(tmp_path):
    few = Predictions(path=["a, b.mp4", 'c"\n.mp4'], label=[3, -1])
    write_predictions(tmp_path / "p.csv", few)
    again = read_predictions(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == "path,patient,set,label,failed"
    assert again.path.tolist() == ["a, b.mp4", 'c"\n.mp4']
    assert again.label.tolist() == [3, -1]
    assert again.prediction.tolist() == again.grade_prediction.tolist() == [-1, -1]
    assert np.isnan(again.probability).all()


def test_an_evaluation_of_nothing_survives_the_file(predictions, tmp_path):
    write_predictions(tmp_path / "p.csv", predictions.where(np.zeros(len(predictions), bool)))
    assert len(read_predictions(tmp_path / "p.csv")) == 0


def test_people_find_the_prediction_beside_the_probabilities(tmp_path):
    write_predictions(tmp_path / "p.csv", Predictions(path=["a"], set=["near"], probabilities=[[0.25, 0.75]]))
    header, row = (tmp_path / "p.csv").read_text().splitlines()
    assert header == "path,patient,set,label,prediction,probability,failed,p_0,p_1"
    assert row == "a,,near,,1,0.75,0,0.25,0.75"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\n3\n", "line 1 has no column 'path'"),
        ("path,label\na\n", "line 2 has 1 cells, not 2"),
        ("path,label\na,1\nb,one\n", "line 3, column label: cannot read 'one'"),
        ("path,set\na,outer\n", "set must be one of in, near, far, ood, got outer"),
        ("path,attention\na,0.5 0.5\nb,1\n", "evaluate again"),
        ("", "line 1 has no column 'path'"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(text, message, tmp_path):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_predictions(tmp_path / "p.csv")


def test_arrays_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="label has 2 entries for 1 videos"):
        Predictions(path=["a"], label=[1, 2])


def test_figures_are_those_of_their_modules(predictions, summary):
    p, metrics = predictions, summary.metrics
    ins, near = (p.set == "in") & ~p.failed, (p.set == "near") & ~p.failed
    for prefix, probabilities in (("", p.probabilities), ("negative/", p.negative)):
        for name, value in classification_metrics(probabilities[ins], p.label[ins]).items():
            assert metrics[prefix + name] == value
    for name, value in ood_metrics(p.scores["msp"][ins], p.scores["msp"][near]).items():
        assert metrics[f"near/msp/{name}"] == value
    scaled = at_temperature(p.probabilities[ins], 1.5)
    expected = calibration_metrics(scaled.max(1), scaled.argmax(1) == p.label[ins])
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    ok = ~p.failed
    for name, value in quality_metrics(p.grade_probabilities[ok], p.grade[ok], p.score_prediction[ok]).items():
        assert metrics[f"quality/{name}"] == pytest.approx(value)
    right = np.where(
        p.set == "in", (p.scores["negation"] >= 0.8) & (p.prediction == p.label), p.scores["negation"] < 0.8
    )
    assert metrics["joint_accuracy"] == pytest.approx(right[ok].mean())


def test_failed_videos_are_counted_and_change_nothing_else(predictions, summary):
    assert summary.counts == {
        "videos": 360,
        "patients": 72,
        "failed": 2,
        "unanswered": 0,
        "in": 240,
        "near": 60,
        "far": 60,
        "ood": 0,
    }
    without = summarise(
        predictions.where(~predictions.failed),
        stage="negation",
        tau=0.8,
        temperature=1.5,
        classes=VIEWS,
        grades=GRADES,
        draws=100,
    )
    assert without.metrics == summary.metrics
    assert without.intervals == summary.intervals


def test_answers_that_are_not_finite_are_counted_and_crash_nothing(predictions, tmp_path):
    p = predictions.where(np.arange(len(predictions)))
    p.probabilities[3], p.scores["msp"][3] = np.nan, np.nan
    result = summarise(p, stage="negation", tau=0.8, draws=0)
    assert result.counts["unanswered"] == 1
    assert sum(row["support"] for row in result.per_class) == 239
    assert np.isfinite(result.metrics["near/msp/auroc"])


def test_intervals_surround_their_figures(summary):
    assert set(summary.intervals) == set(summary.metrics)
    for name in ("top1", "near/negation/auroc", "far/msp/fpr95", "joint_accuracy", "quality/quadratic_kappa"):
        low, high = summary.intervals[name]
        assert low < summary.metrics[name] < high
        assert high - low < 0.35


def test_scores_as_targets_take_the_place_of_grades_and_give_them(predictions):
    p = predictions.where(~predictions.failed)
    by_grade = summarise(p, stage="quality", draws=0).metrics
    scored = replace(p, grade=None, score_target=np.clip(p.grade / 2 + 0.1, 0, 1))  # the nearest grades are the same
    by_score = summarise(scored, stage="quality", draws=0).metrics
    assert by_score["quality/quadratic_kappa"] == by_grade["quality/quadratic_kappa"]
    assert by_score["quality/bias"] == pytest.approx((p.score_prediction - scored.score_target).mean())


def test_graded_videos_without_a_view_have_no_joint_figures(predictions):
    graded = replace(predictions.where(predictions.set == "in"), label=None)
    metrics = summarise(graded, stage="quality", score="negation", tau=0.8, draws=0).metrics
    assert metrics and all(name.startswith("quality/") for name in metrics)


def test_one_patient_gives_figures_without_intervals(predictions):
    one = replace(predictions, patient=["the only one"] * len(predictions))
    result = summarise(one, stage="negation", tau=0.8)
    assert set(result.intervals.values()) == {None}
    assert result.per_class[0]["recall_interval"] is None
    assert 0 < result.metrics["top1"] < 1


def test_nothing_read_gives_counts_and_no_figures():
    result = summarise(Predictions(path=["a"], failed=[True], label=[1]), stage="view")
    assert result.counts["failed"] == 1
    assert result.metrics == {}
    assert result.per_class == []


def test_the_file_is_strict_json(summary, tmp_path):
    write_metrics(tmp_path / "metrics.json", summary)
    again = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert again["metrics"]["top1"] == summary.metrics["top1"]
    assert (
        again["per_class"][-1] | {"class": 6, "name": "<i>X</i>", "support": 0, "recall": None}
        == again["per_class"][-1]
    )
    assert "python" in again["environment"]


@pytest.mark.parametrize(
    "text",
    ["[]", "7", "{}", '{"stage": "view", "metrics": []}', '{"stage": "view", "metrics": {"top1": "high"}}'],
)
def test_what_no_evaluation_wrote_is_named(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(UserError, match=r"metrics\.json: not what an evaluation writes; evaluate again"):
        read_summary(tmp_path / "metrics.json")


def test_a_summary_written_by_hand_is_read(tmp_path):
    (tmp_path / "metrics.json").write_text('{"stage": "view", "metrics": {"top1": 0.5, "ece": null}, "more": 1}')
    summary = read_summary(tmp_path / "metrics.json")
    assert summary.defined == {"top1": 0.5} and np.isnan(summary.metrics["ece"])
    assert (summary.temperature, summary.classes, summary.intervals) == (1.0, [], {})
