"""The figures of an evaluation as functions of the videos' weights (`evaluation.bootstrap`), under their flat names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from echoviewclip.evaluation.bootstrap import Groups, Statistic, figures
from echoviewclip.evaluation.calibration import at_temperature, calibration_statistic, joint_statistic, risk_statistic
from echoviewclip.evaluation.classification import classification_statistic
from echoviewclip.evaluation.ood import ood_statistic
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.quality import THERE, defect_statistic, quality_statistic

Part = tuple[str, np.ndarray, Statistic, Groups | None]
"""Prefix of the names of figures, indices of the videos `[n]`, what to compute of them, the groups it rests on."""


def deciding_parts(p: Predictions, score: str, tau: float | None, temperature: float) -> Iterator[Part]:
    """`parts_of` without those of scores that decide nothing."""
    for part in parts_of(p, score, tau, temperature):
        kind, *rest = part[0].split("/")
        if kind not in ("near", "far", "ood") or rest[0] == score:
            yield part


def join_parts(
    parts: Sequence[Part], found: Sequence[dict[str, float]]
) -> Iterator[tuple[np.ndarray, Statistic, Groups]]:
    """Parts of the same videos as one, whose figures have their whole names: what is drawn is drawn once for all.

    `found` are the figures of each part.
    """
    together: dict[bytes, list[tuple[Part, dict[str, float]]]] = {}
    for part, values in zip(parts, found, strict=True):
        together.setdefault(part[1].tobytes(), []).append((part, values))
    for same in together.values():
        groups = {part[0] + name: (part[3], name) for part, values in same for name in values}
        yield same[0][0][1], partial(_all_figures, [part for part, _ in same]), partial(_groups_of, groups)


def _all_figures(parts: Sequence[Part], weights: np.ndarray) -> dict[str, np.ndarray]:
    return {prefix + name: value for prefix, _, part, _ in parts for name, value in part(weights).items()}


def _groups_of(groups: dict[str, tuple[Groups | None, str]], figure: str) -> Sequence[np.ndarray]:
    """The groups of a figure by its whole name; of a part that names none, all videos."""
    rests_on, name = groups[figure]
    return rests_on(name) if rests_on else [np.array(True)]


class Selected(NamedTuple):
    """Some figures of some of N videos.

    Attributes:
        statistic: the figures as functions of the weights `[B, N]` of all videos.
        rests_on: the groups of videos, each bool `[N]`, that a figure is of.
    """

    statistic: Statistic
    rests_on: Groups


def select_figures(
    p: Predictions,
    rows: np.ndarray,
    names: Mapping[str, str],
    score: str,
    tau: float | None,
    temperature: float,
) -> tuple[Selected, dict[str, float]]:
    """The figures of the videos `rows`, int `[n]`, of which none failed, and their values.

    `names` maps the names of those that are wanted to what they are called in the answer.
    """
    parts: list[tuple[str, np.ndarray, Statistic]] = []
    groups: dict[str, list[np.ndarray]] = {}
    values: dict[str, float] = {}
    for prefix, own, statistic, rests_on in deciding_parts(p.where(rows), score, tau, temperature):
        found = {name: value for name, value in figures(statistic, len(own)).items() if prefix + name in names}
        if not found:
            continue
        parts.append((prefix, rows[own], statistic))
        for name, value in found.items():
            masks = rests_on(name) if rests_on else [np.ones(len(own), bool)]
            groups[names[prefix + name]] = [_mask(len(p), rows[own][mask]) for mask in masks]
            values[names[prefix + name]] = value

    def together(weights: np.ndarray) -> dict[str, np.ndarray]:
        drawn: dict[str, np.ndarray] = {}
        for prefix, own, statistic in parts:
            drawn |= {
                names[prefix + name]: of_draws
                for name, of_draws in statistic(weights.take(own, axis=1)).items()
                if prefix + name in names
            }
        return drawn

    return Selected(together, groups.__getitem__), values


def _mask(count: int, rows: np.ndarray) -> np.ndarray:
    mask = np.zeros(count, bool)
    mask[rows] = True
    return mask


def parts_of(p: Predictions, score: str, tau: float | None, temperature: float) -> Iterator[Part]:
    """All figures of a summary; `p` holds no videos that failed."""
    rows = np.flatnonzero(p.labelled)
    if len(rows):
        label, right = p.label[rows], (p.label == p.prediction)[rows]
        yield "", rows, classification_statistic(p.probabilities[rows], label), None
        scaled = at_temperature(p.probabilities[rows], temperature)
        yield "", rows, calibration_statistic(scaled.max(axis=1), right), None
        yield "unscaled/", rows, calibration_statistic(p.probability[rows], right), None
        if p.negative.shape[1]:
            yield "negative/", rows, classification_statistic(p.negative[rows], label), None
    outside = p.set != "in"
    for kind in ("near", "far", "ood"):
        rows = np.flatnonzero(~outside | (outside if kind == "ood" else p.set == kind))
        if outside[rows].any():
            for name, values in p.scores.items():
                scored = rows[np.isfinite(values[rows])]
                inside = ~outside[scored]
                yield f"{kind}/{name}/", scored, ood_statistic(values[scored], inside), _both_sides(inside)
    if tau is not None and score in p.scores:
        yield from _decision(p, np.flatnonzero((p.labelled | outside) & np.isfinite(p.scores[score])), score, tau)
    rows = np.flatnonzero(p.graded)
    if len(rows):
        yield "quality/", rows, quality_statistic(*quality_of(p.where(rows))), None
    for name, severity in p.defect_targets.items():
        rows = np.flatnonzero(np.isfinite(severity) & np.isfinite(p.defects[name]))
        if len(rows):
            statistic = defect_statistic(p.defects[name][rows], severity[rows])
            yield f"defect/{name}/", rows, statistic, _either_side(severity[rows] > THERE)


def _decision(
    p: Predictions, rows: np.ndarray, score: str, tau: float
) -> Iterator[tuple[str, np.ndarray, Statistic, Groups]]:
    """As `parts_of`, of views and "unknown" at τ; without insiders or without outsiders there is no joint figure."""
    inside, values = (p.set == "in")[rows], p.scores[score][rows]
    label, both = np.where(inside, p.label[rows], -1), _both_sides(inside)
    groups = {"accepted": [inside], "rejected": [~inside]}
    if len(rows):
        yield (
            "",
            rows,
            joint_statistic(p.prediction[rows], label, values, tau),
            lambda name: groups.get(name, both(name)),
        )
    if inside.any() and not inside.all():
        yield "joint_", rows, risk_statistic(values, p.prediction[rows] == label), both


def _both_sides(inside: np.ndarray) -> Groups:
    return lambda name: [inside, ~inside]


def _either_side(there: np.ndarray) -> Groups:
    """Of the figures of a defect: the area is of those with it and those without, the correlation of all."""
    sides, every = {"auroc": [there, ~there]}, [np.ones(len(there), bool)]
    return lambda name: sides.get(name, every)


def quality_of(p: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `quality_statistic` takes of graded videos."""
    return p.grade_probabilities, p.target_grade, p.score_prediction, p.target
