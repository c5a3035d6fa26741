"""Figures of runs on the terminal: one by one with intervals, or their mean over seeds."""

from __future__ import annotations

import json

import pytest

from echoviewclip.tools.results import lines, mean_lines
from echoviewclip.utils.errors import UserError


def write(folder, score="negation", **metrics):
    folder.mkdir()
    summary = {"stage": "negation", "score": score, "metrics": metrics, "intervals": {"top1": [0.4, 0.6]}}
    (folder / "metrics.json").write_text(json.dumps(summary))
    return folder


def test_a_run_s_figures_come_with_their_intervals_and_those_it_lacks_are_left_out(tmp_path):
    run = write(tmp_path / "a", top1=0.5, macro_f1=None, **{"near/negation/auroc": 0.75})
    first, *rest = lines(run)
    assert first == f"negation: {run}/report.html"
    assert rest == [
        "  Top-1 accuracy               0.500  [0.400, 0.600]",
        "  AUROC, near outsiders        0.750",
    ]


def test_the_mean_over_seeds_names_the_least_and_the_most_and_all_scores(tmp_path):
    runs = [
        write(tmp_path / str(k), top1=value, **{"near/negation/auroc": value, "near/msp/auroc": value / 2})
        for k, value in enumerate((0.25, 0.5, 1.0))
    ]
    assert mean_lines(runs) == [
        "negation: 3 runs",
        "  Top-1 accuracy                       0.583  (0.250 to 1.000)",
        "  AUROC, near outsiders                0.583  (0.250 to 1.000)",
        "  near msp auroc                       0.292  (0.125 to 0.500)",
    ]


def test_runs_of_different_kinds_have_no_mean(tmp_path):
    runs = [write(tmp_path / "a", top1=0.5), write(tmp_path / "b", score="msp", top1=0.5)]
    with pytest.raises(UserError, match="--mean takes runs of one stage with one score"):
        mean_lines(runs)


def test_a_run_without_figures_is_named(tmp_path):
    with pytest.raises(UserError, match=r"metrics.json: no such file; evaluate the run first"):
        lines(tmp_path)
