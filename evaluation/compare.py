"""Runs side by side: evaluations of the same videos, their differences with paired intervals, and what sets them apart.

The difference of a figure between two runs is drawn by patient as the figure itself is (`evaluation.bootstrap`), with
the same patients for both runs in each draw: what both find hard or easy cancels out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from echoviewclip.evaluation.bootstrap import Interval, figures, intervals
from echoviewclip.evaluation.measures import Selected, select_figures
from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.summary import Summary, read_summary
from echoviewclip.evaluation.titles import headlines
from echoviewclip.utils.errors import UserError

TARGETS = ("set", "label", "grade", "score_target", "patient")
PLACES = ("OUTPUT", "BASE")  # of a configuration: where a run lies, not what it is


@dataclass(frozen=True)
class Run:
    """One evaluation.

    Attributes:
        name: tells it from the others.
        summary: its metrics.json.
        predictions: its rows, in an order that all runs share.
        settings: of its config.yaml, by dotted key; empty where there is none.
    """

    name: str
    summary: Summary
    predictions: Predictions
    settings: dict[str, Any]

    @property
    def titles(self) -> dict[str, str]:
        """The name of the run's figure by what the report calls it."""
        return {title: name for name, title in headlines(self.summary)}


@dataclass(frozen=True)
class Difference:
    """How much higher a figure is than that of the first run; no interval where the data cannot tell."""

    value: float
    interval: Interval | None

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Reads the runs. Raises UserError where one is no evaluation, or where they are not of the same videos."""
    if len(folders) < 2:
        raise UserError("one run has nothing to be compared with: name at least two")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise UserError(f"{max(names, key=names.count)}: named twice")
    runs = [_read(folder, name) for folder, name in zip(folders, names, strict=True)]
    for folder, run in zip(folders[1:], runs[1:], strict=True):
        _check_same(folders[0], runs[0], folder, run)
    return runs


def _read(folder: Path, name: str) -> Run:
    summary = read_summary(folder / "metrics.json")
    p = read_predictions(folder)
    return Run(name, summary, p.where(np.argsort(p.path, kind="stable")), _settings(folder / "config.yaml"))


def _settings(file: Path) -> dict[str, Any]:
    def flat(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in tree.items():
            found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return found

    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return flat(tree, "") if isinstance(tree, dict) else {}


def _check_same(first_folder: Path, first: Run, folder: Path, run: Run) -> None:
    """Raises UserError where two evaluations are not of the same videos with the same targets."""
    ours, theirs = first.predictions, run.predictions
    places = f"{first_folder} and {folder}"
    if not np.array_equal(ours.path, theirs.path):
        only = len(np.setxor1d(ours.path, theirs.path))
        raise UserError(
            f"{places}: evaluations of other videos ({only} are in one alone): evaluate both on one list "
            "(main.py --only_test --opts DATA.VAL_FILE LIST)"
        )
    for name in TARGETS:
        a, b = getattr(ours, name), getattr(theirs, name)
        other = (a != b) & ~((a != a) & (b != b))  # two unknown scores are the same
        if other.any():
            raise UserError(
                f"{places}: {int(other.sum())} videos have another {name} in each: evaluate both on one list"
            )
    if first.summary.classes != run.summary.classes and (ours.label >= 0).any():
        raise UserError(f"{places}: evaluations with other views, whose figures do not compare")


def differences(first: Run, run: Run, draws: int = 1000, seed: int = 0) -> dict[str, Difference]:
    """By title, how much higher each headline figure of `run` is than the same of `first`, with its 95 % interval.

    Each run's figure is of the videos that it answered itself.
    """
    ours, theirs = _figures_by_title(first), _figures_by_title(run)
    common = [title for title in first.titles if title in run.titles]

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        before, after = ours.statistic(weights), theirs.statistic(weights)
        return {title: after[title] - before[title] for title in common}

    videos = len(first.predictions)
    found = figures(statistic, videos)
    drawn = intervals(
        statistic,
        first.predictions.clusters,
        rests_on=lambda title: [*ours.rests_on(title), *theirs.rests_on(title)],
        draws=draws,
        seed=seed,
    )
    # As for the figure: resampling only adds to a calibration error.
    return {title: Difference(found[title], None if first.titles[title] == "ece" else drawn[title]) for title in common}


def _figures_by_title(run: Run) -> Selected:
    """The run's headline figures, by title."""
    summary, wanted = run.summary, {name: title for title, name in run.titles.items()}
    read = np.flatnonzero(~run.predictions.failed)
    how = (summary.score, summary.tau, summary.temperature)
    return select_figures(run.predictions, read, wanted, *how)[0]


def changed_settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Settings that are not the same in all runs, each run's as text; `–` where a run does not have it."""
    keys = dict.fromkeys(key for run in runs for key in run.settings if key not in PLACES)
    table = {key: [str(run.settings.get(key, "–")) for run in runs] for key in keys}
    return {key: values for key, values in table.items() if len(set(values)) > 1}
