"""The videos an evaluation went most wrong on, with their frames and where the model looked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath

import numpy as np
from markupsafe import Markup

from echoviewclip.evaluation.figures import film
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.summary import Summary

FramesOf = Callable[[str, np.ndarray], "np.ndarray | None"]
"""(path as in the list, frame indices int64 `[n]`) → uint8 `[n, H, W, 3]`, or None where the video cannot be read."""


@dataclass(frozen=True)
class Video:
    """What the page says of one video: its name in the list, what happened, and pictures (none without frames)."""

    name: str
    fact: str
    films: list[Markup]


def worst_videos(
    p: Predictions, summary: Summary, frames: FramesOf | None = None, most: int = 6
) -> dict[str, list[Video]]:
    """The worst `most` videos of each kind of error, by the heading it has on the page; kinds without any absent."""
    view, grade = _namer(summary.classes), _namer(summary.grades)
    rows, guess = np.arange(len(p)), p.prediction
    tau, values = summary.tau, p.scores.get(summary.score)
    found: dict[str, list[Video]] = {}

    def add(title: str, mask: np.ndarray, badness: np.ndarray, fact: Callable[[int], str]) -> None:
        chosen = sorted(rows[mask].tolist(), key=lambda i: -badness[i])[:most]
        if chosen:
            found[title] = [Video(shown_name(p.path[i]), fact(i), _films(p, i, frames)) for i in chosen]

    counted = p.labelled
    if counted.any():
        of_label = np.where(
            counted, np.take_along_axis(p.probabilities, np.maximum(p.label, 0)[:, None], axis=1)[:, 0], 1
        )
        add(
            "Misclassified views",
            counted & (guess != p.label),
            -of_label,
            lambda i: f"{view(p.label[i])} ({of_label[i]:.2f}) predicted as {view(guess[i])} ({p.probability[i]:.2f})",
        )
    if tau is not None and values is not None:
        outside = (p.set != "in") & ~p.failed
        add(
            "Accepted outsiders",
            outside & (values >= tau),
            values,
            lambda i: f"{p.set[i]} outsider accepted as {view(guess[i])}, score {values[i]:.4g}",
        )
        add(
            "Rejected known views",
            counted & (values < tau),
            -values,
            lambda i: f"{view(p.label[i])}, score {values[i]:.4g}",
        )
    off = np.abs(p.score_prediction - p.target)
    add(
        "Quality furthest off",
        p.graded & (p.target_grade != p.grade_prediction),
        off,
        lambda i: (
            f"{grade(p.target_grade[i])} graded {grade(p.grade_prediction[i])}, score {p.score_prediction[i]:.2f} "
            f"for {p.target[i]:.2f}"
        ),
    )
    return found


def shown_name(path: str) -> str:
    """A video's name as in the list; of an absolute path only the last part, since folders may name a patient."""
    anchored = PureWindowsPath(path)  # knows both kinds of slash
    return anchored.name if anchored.anchor or path.startswith("~") else path


def _namer(names: Sequence[str] | None) -> Callable[[int], str]:
    return lambda i: names[i] if names and 0 <= i < len(names) else f"class {i}"


def _films(p: Predictions, row: int, frames: FramesOf | None, pictures: int = 8) -> list[Markup]:
    """Up to `pictures` frames, in two halves that a narrow page stacks: of each share of the clip the most attended."""
    weights, indices = p.attention[row], p.frames[row]
    if frames is None or not len(weights) or weights.shape != indices.shape or not np.isfinite(weights).all():
        return []
    groups = np.array_split(np.arange(len(weights)), min(pictures, len(weights)))
    chosen = [int(group[weights[group].argmax()]) for group in groups]
    shown = frames(str(p.path[row]), indices[chosen])
    if shown is None:
        return []
    relative, half = weights / max(weights.max(), 1e-12), (len(groups) + 1) // 2
    return [
        film(shown[part], [relative[group] for group in groups[part]], int(groups[part][0][0]), int(weights.argmax()))
        for part in (slice(0, half), slice(half, None))
        if groups[part]
    ]
