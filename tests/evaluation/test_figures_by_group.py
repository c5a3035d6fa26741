"""Figures by group: those of the group's videos alone, the largest gap between two, and how the page shows them."""

from __future__ import annotations

import html
import json

import numpy as np
import pytest

from echoviewclip.evaluation.bootstrap import intervals
from echoviewclip.evaluation.classification import classification_statistic
from echoviewclip.evaluation.groups import FIGURES, NO_VALUE, in_words
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.report import write_report
from echoviewclip.evaluation.summary import read_summary, summarise, write_metrics
from tests.page_tags import Tags
from tests.synthetic_run import make_predictions

HOW = {"stage": "quality", "tau": 0.5, "temperature": 1.5, "draws": 60}
NAMES = [name.format(score="negation") for name in FIGURES]


@pytest.fixture(scope="module")
def p():
    """Three sites: a patient has videos of one of them alone, and of few the list does not say it."""
    found = make_predictions()
    number = np.array([int(name.removeprefix("patient")) for name in found.patient])
    found.groups["site"] = np.select([number < 3, number % 3 == 0], ["", "North <b>"], "South")
    return found


@pytest.fixture(scope="module")
def summary(p):
    return summarise(p, **HOW)


def test_figures_of_a_group_are_those_of_its_videos_alone(p, summary):
    (site,) = summary.by_group
    assert [group["name"] for group in site["groups"]] == ["North <b>", "South", NO_VALUE]
    for group in site["groups"]:
        own = p.where(p.groups["site"] == group["name"].replace(NO_VALUE, ""))
        alone = summarise(own, **HOW)
        assert list(group["metrics"]) == [name for name in alone.metrics if name in NAMES]
        assert group["metrics"] == {name: alone.metrics[name] for name in group["metrics"]}
        assert group["intervals"] == {name: alone.intervals[name] for name in group["metrics"]}
        assert group["videos"] == (~own.failed).sum()
        assert group["patients"] == len(set(own.patient.tolist()))
    assert set(site["groups"][0]["metrics"]) == set(NAMES)
    assert set(site["groups"][2]["intervals"].values()) == {None}  # three patients tell no interval


def test_a_gap_is_between_groups_of_enough_patients_and_paired_by_patient():
    """A patient who is in both groups is drawn for both, so that what makes them hard cancels out."""
    label = np.zeros(200, np.int64)
    hard = np.repeat(np.arange(20) < 8, 10)  # patients who are always answered wrongly …
    right = ~hard
    right[:4:2] = True  # … but for two videos on machine B
    p = Predictions(
        path=[f"{i}.avi" for i in range(200)],
        patient=np.repeat(np.arange(20).astype(str), 10),
        label=label,
        probabilities=np.where(right[:, None], [0.9, 0.1], [0.1, 0.9]),
        groups={"machine": np.where(np.arange(200) % 2, "A", "B")},
    )
    (machine,) = summarise(p, stage="view", draws=400).by_group
    gap = machine["gaps"]["top1"]
    assert (gap["highest"], gap["lowest"]) == ("B", "A")
    assert gap["gap"] == pytest.approx(0.02)
    own = [classification_statistic(q.probabilities, q.label) for q in (p.where(slice(0, 200, 2)),)]
    alone = intervals(own[0], p.patient[::2], draws=400)["top1"]
    assert gap["interval"][1] - gap["interval"][0] < (alone[1] - alone[0]) / 2
    p.groups["machine"][p.patient == "19"] = "C"  # all right, but of one patient
    gap = summarise(p, stage="view", draws=400).by_group[0]["gaps"]["top1"]
    assert {gap["highest"], gap["lowest"]} == {"A", "B"}


def test_a_gap_of_few_patients_has_no_interval(p):
    few = p.where(np.isin(p.patient, [f"patient{i}" for i in range(6)]))
    (site,) = summarise(few, **HOW).by_group
    assert set(site["gaps"]) >= {"top1", "macro_f1"}
    assert {gap["interval"] for gap in site["gaps"].values()} == {None}


def test_the_interval_of_a_gap_is_wider_where_it_was_picked_from_more_pairs(p):
    def width(names):
        q = p.where(slice(None))
        number = np.array([int(name.removeprefix("patient")) for name in q.patient])
        q.groups["site"] = np.asarray(names)[number % 4]
        gap = summarise(q, stage="view", draws=400).by_group[0]["gaps"]["top1"]
        return gap, np.ptp(gap["interval"])

    gap, of_six = width(["a", "b", "c", "d"])
    two = [name if name in (gap["highest"], gap["lowest"]) else "" for name in "abcd"]
    q = p.where(
        np.isin(np.array([int(n.removeprefix("patient")) for n in p.patient]) % 4, [k for k in range(4) if two[k]])
    )
    number = np.array([int(name.removeprefix("patient")) for name in q.patient])
    q.groups["site"] = np.asarray(list("abcd"))[number % 4]
    only = summarise(q, stage="view", draws=400).by_group[0]["gaps"]["top1"]
    assert only["gap"] == gap["gap"]
    assert np.ptp(only["interval"]) < of_six


def test_targets_of_a_group_are_those_of_all():
    """Where a list gives scores, a group that has none is not graded by its grades instead."""
    p = Predictions(
        path=["a", "b"],
        grade=[0, 1],
        grade_probabilities=[[0.9, 0.1], [0.2, 0.8]],
        score_target=[0.2, np.nan],
        score_prediction=[0.1, 0.8],
        groups={"site": ["x", "y"]},
    )
    x, y = summarise(p, stage="quality").by_group[0]["groups"]
    assert x["metrics"]["quality/mae"] == pytest.approx(0.1)
    assert y["metrics"] == {}


def test_without_a_column_there_are_no_groups(p):
    q = p.where(slice(None))
    q.groups.clear()
    assert summarise(q, **HOW).by_group == []


def test_the_page_shows_groups_and_gaps_and_escapes_what_the_column_says(summary, tmp_path):
    write_metrics(tmp_path / "metrics.json", summary)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    Tags(text)
    assert "<h2>By group</h2>" in text
    assert "North <b>" not in text and "North &lt;b&gt;" in text
    (site,) = read_summary(tmp_path / "metrics.json").by_group
    gap, interval = site["gaps"]["top1"], site["gaps"]["top1"]["interval"]
    shown = f"<b>{gap['gap']:.3f}</b> <small>{interval[0]:.3f} to {interval[1]:.3f}</small>: ".replace("-", "−")
    assert shown + html.escape(f"{gap['highest']} above {gap['lowest']}") in text
    assert json.loads((tmp_path / "metrics.json").read_text())["by_group"][0]["column"] == "site"


def test_the_log_names_the_groups_that_differ_most(summary):
    line = in_words(summary.by_group[0])
    gap = summary.by_group[0]["gaps"]["top1"]
    assert line.startswith("by site, 3 groups: largest gaps ") and "\n" not in line
    assert f"top1 {gap['gap']:.4f} [" in line
    assert f"({gap['highest']} above {gap['lowest']})" in line
