"""The same figures for groups of videos: by site, machine or whatever else a column of the lists says (TEST.GROUPS).

A model that is good on average may be poor on one vendor's pictures. So each figure also comes with the largest gap
between two groups. In each draw of patients both groups are measured on what was drawn, so a patient who is in both
counts for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from echoviewclip.evaluation.bootstrap import LEAST_PATIENTS, Interval, intervals, least_patients
from echoviewclip.evaluation.measures import Selected, select_figures
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.utils.errors import printable, shortened

MOST_GROUPS = 50  # of a column; one with more tells videos or patients apart, not groups
SAID = 3  # gaps that the log names; the page shows all
SHOWN = 40  # characters of a value in the log and in drawings
NO_VALUE = "(none)"  # the group of videos of which a column says nothing
FIGURES = (
    "top1",
    "macro_f1",
    "ood/{score}/auroc",
    "ood/{score}/fpr95",
    "accepted",
    "rejected",
    "quality/quadratic_kappa",
    "quality/spearman",
    "quality/mae",
    "quality/accuracy",
)


class Group(TypedDict):
    """One group: its name, how many videos were read and of how many patients, figures by flat name, intervals.

    `rests_on_patients`: by figure, of how many patients it is, on the side (insiders, outsiders) that has fewest.
    """

    name: str
    videos: int
    patients: int
    metrics: dict[str, float]
    intervals: dict[str, Interval | None]
    rests_on_patients: dict[str, int]


class Gap(TypedDict):
    """How far apart a figure is in the two groups that differ most, and the interval of that difference."""

    gap: float
    interval: Interval | None
    highest: str
    lowest: str


class Grouping(TypedDict):
    """The groups of a column by name, videos without a value last, and the largest gap of each figure by flat name."""

    column: str
    groups: list[Group]
    gaps: dict[str, Gap]


def in_words(grouping: Grouping) -> str:
    """The largest gaps in one line, for the log: a few, those whose interval leaves 0 out before others."""
    about = f"by {printable(grouping['column'])}, {len(grouping['groups'])} groups"
    gaps = []
    for name, gap in sorted(grouping["gaps"].items(), key=lambda one: not _is_clear(one[1]))[:SAID]:
        around = f" [{gap['interval'][0]:.4f}, {gap['interval'][1]:.4f}]" if gap["interval"] else ""
        between = " above ".join(printable(shortened(side, SHOWN)) for side in (gap["highest"], gap["lowest"]))
        gaps.append(f"{name} {gap['gap']:.4f}{around} ({between})")
    return f"{about}: " + ("largest gaps " + ", ".join(gaps) if gaps else "no figure is of two of them")


def _is_clear(gap: Gap) -> bool:
    return gap["interval"] is not None and gap["interval"][0] > 0


@dataclass(frozen=True)
class Settings:
    """What decides and how often is drawn: arguments of `evaluation.summary.summarise`."""

    score: str
    tau: float | None
    temperature: float
    draws: int
    seed: int

    @property
    def names(self) -> list[str]:
        """The figures that groups are compared by."""
        return [name.format(score=self.score) for name in FIGURES]

    def select(self, p: Predictions, rows: np.ndarray, names: Sequence[str]) -> tuple[Selected, dict[str, float]]:
        """See `select_figures`."""
        return select_figures(p, rows, {name: name for name in names}, self.score, self.tau, self.temperature)

    def intervals(self, p: Predictions, figures: Selected, level: float = 0.95) -> dict[str, Interval | None]:
        """Of figures of `p`; none where nothing is drawn."""
        if not self.draws:
            return {}
        return intervals(
            figures.statistic,
            p.clusters,
            rests_on=figures.rests_on,
            draws=self.draws,
            level=level,
            seed=self.seed,
        )


def by_groups(p: Predictions, settings: Settings) -> list[Grouping]:
    """The figures by each of the columns that `p.groups` holds."""
    p = _with_settled_targets(p.where(~p.failed))
    return [_by_column(p, column, settings) for column in p.groups]


def _with_settled_targets(p: Predictions) -> Predictions:
    """The same with targets of quality that do not depend on which of the videos are looked at."""
    known = np.isfinite(p.target)
    p.grade, p.score_target = np.where(known, p.target_grade, -1), p.target
    return p


def _by_column(p: Predictions, column: str, settings: Settings) -> Grouping:
    values = np.where(p.groups[column] == "", NO_VALUE, p.groups[column])
    ordered = sorted(np.unique(values).tolist(), key=lambda name: (name == NO_VALUE, name.casefold(), name))
    groups = [_group(name, p.where(values == name), settings) for name in ordered]
    return Grouping(column=column, groups=groups, gaps=_gaps(p, values, groups, settings))


def _group(name: str, p: Predictions, settings: Settings) -> Group:
    figures, metrics = settings.select(p, np.arange(len(p)), settings.names)
    return Group(
        name=name,
        videos=len(p),
        patients=len(np.unique(p.patient[p.patient != ""])),
        metrics=metrics,
        intervals=settings.intervals(p, figures) if metrics else {},
        rests_on_patients=least_patients(p.clusters, figures.rests_on, metrics),
    )


def _gaps(p: Predictions, values: np.ndarray, groups: Sequence[Group], settings: Settings) -> dict[str, Gap]:
    """The largest gap of each figure.

    Its interval is widened after Bonferroni for the number of pairs that it was picked from: some pair always differs.
    """
    gaps: dict[str, Gap] = {}
    for name in settings.names:
        apart = _furthest_apart(groups, name)
        if apart is None:
            continue
        high, low, pairs = apart
        two = p.where((values == high["name"]) | (values == low["name"]))
        own = values[(values == high["name"]) | (values == low["name"])]
        above, below = (settings.select(two, np.flatnonzero(own == one["name"]), [name])[0] for one in (high, low))
        interval = settings.intervals(two, _difference(above, below), level=1 - 0.05 / pairs).get(name)
        gap = high["metrics"][name] - low["metrics"][name]
        gaps[name] = Gap(gap=gap, interval=interval, highest=high["name"], lowest=low["name"])
    return gaps


def _furthest_apart(groups: Sequence[Group], name: str) -> tuple[Group, Group, int] | None:
    """The groups with the highest and the lowest figure, and of how many pairs; None where fewer than two have it.

    Groups of few patients take part only where there are no two of enough: they would always be the furthest apart.
    """
    known = [group for group in groups if np.isfinite(group["metrics"].get(name, np.nan))]
    large = [group for group in known if group["rests_on_patients"][name] >= LEAST_PATIENTS]
    chosen = large if len(large) > 1 else known
    if len(chosen) < 2:
        return None
    ordered = sorted(chosen, key=lambda group: group["metrics"][name])
    return ordered[-1], ordered[0], math.comb(len(chosen), 2)


def _difference(high: Selected, low: Selected) -> Selected:
    """How much higher figures are in one group than in another."""

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        above, below = high.statistic(weights), low.statistic(weights)
        return {name: values - below[name] for name, values in above.items()}

    return Selected(statistic, lambda name: [*high.rests_on(name), *low.rests_on(name)])
