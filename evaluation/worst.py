"""The videos an evaluation went most wrong on, with their frames, where the model looked and why it decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath
from types import MappingProxyType

import numpy as np
from markupsafe import Markup

from echoviewclip.evaluation.figures import film, strip
from echoviewclip.evaluation.overlays import Why, lay_over
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.summary import Summary

FramesOf = Callable[[str, np.ndarray], "np.ndarray | None"]
"""(path as in the list, frame indices int64 `[n]`) → uint8 `[n, H, W, 3]`, or None where the video cannot be read."""

UNEXPLAINED: Mapping[str, Why] = MappingProxyType({})
MOST = 6  # videos of a kind of error
FRAMES, MAPS = 8, 4  # pictures of a video, and of them with a map


@dataclass(frozen=True)
class Kind:
    """A kind of error: the `rows` of its worst videos, worst first, and what happened in one of them.

    `of_views` says whether the view that the model named is what the error is about.
    """

    title: str
    rows: list[int]
    fact: Callable[[int], str]
    of_views: bool = True


@dataclass(frozen=True)
class Video:
    """What the page says of one video.

    Attributes:
        name: as in the list.
        fact: what happened.
        films: its frames; none without a reader of them.
        maps: what spoke for and against the view, by the side of `SCALES`: words and pictures; none where it is not
            explained.
    """

    name: str
    fact: str
    films: list[Markup]
    maps: dict[str, tuple[str, Markup]]


def worst_videos(
    p: Predictions, summary: Summary, frames: FramesOf | None = None, why: Mapping[str, Why] = UNEXPLAINED
) -> dict[str, list[Video]]:
    """The worst videos of each kind of error by its heading; `why` by path as in the list, as far as it is known."""
    view = _namer(summary.classes)

    def video(kind: Kind, row: int) -> Video:
        known = why.get(str(p.path[row])) if kind.of_views else None
        maps = _maps(known, p, row, view(p.prediction[row])) if known else {}
        return Video(shown_name(p.path[row]), kind.fact(row), _films(p, row, frames), maps)

    return {kind.title: [video(kind, row) for row in kind.rows] for kind in worst_kinds(p, summary)}


def telling_videos(p: Predictions, summary: Summary) -> list[str]:
    """The paths of those videos of `worst_videos` that a named view was wrong for, each once."""
    rows = [row for kind in worst_kinds(p, summary) if kind.of_views for row in kind.rows]
    return list(dict.fromkeys(str(p.path[row]) for row in rows))


def worst_kinds(p: Predictions, summary: Summary) -> list[Kind]:
    """The kinds of error that occur, each with at most MOST videos."""
    return [kind for kind in (*_of_views(p, summary), _of_quality(p, summary)) if kind.rows]


def _of_views(p: Predictions, summary: Summary) -> Iterator[Kind]:
    view, guess, counted = _namer(summary.classes), p.prediction, p.labelled
    if counted.any():
        of_label = np.where(
            counted, np.take_along_axis(p.probabilities, np.maximum(p.label, 0)[:, None], axis=1)[:, 0], 1
        )
        yield Kind(
            "Misclassified views",
            _worst(counted & (guess != p.label), -of_label),
            lambda i: f"{view(p.label[i])} ({of_label[i]:.2f}) predicted as {view(guess[i])} ({p.probability[i]:.2f})",
        )
    tau, values = summary.tau, p.scores.get(summary.score)
    if tau is not None and values is not None:
        yield Kind(
            "Accepted outsiders",
            _worst((p.set != "in") & ~p.failed & (values >= tau), values),
            lambda i: f"{p.set[i]} outsider accepted as {view(guess[i])}, score {values[i]:.4g}",
        )
        yield Kind(
            "Rejected known views",
            _worst(counted & (values < tau), -values),
            lambda i: f"{view(p.label[i])}, score {values[i]:.4g}",
        )


def _of_quality(p: Predictions, summary: Summary) -> Kind:
    grade, off = _namer(summary.grades), np.abs(p.score_prediction - p.target)
    return Kind(
        "Quality furthest off",
        _worst(p.graded & (p.target_grade != p.grade_prediction), off),
        lambda i: (
            f"{grade(p.target_grade[i])} graded {grade(p.grade_prediction[i])}, score {p.score_prediction[i]:.2f} "
            f"for {p.target[i]:.2f}"
        ),
        of_views=False,
    )


def _worst(mask: np.ndarray, badness: np.ndarray) -> list[int]:
    """Rows of `mask` bool `[N]`, at most MOST, by `badness` `[N]`; of equals the first."""
    return sorted(np.flatnonzero(mask).tolist(), key=lambda i: -badness[i])[:MOST]


def shown_name(path: str) -> str:
    """A video's name as in the list; of an absolute path only the last part, since folders may name a patient."""
    anchored = PureWindowsPath(path)  # knows both kinds of slash
    return anchored.name if anchored.anchor or path.startswith("~") else path


def _namer(names: Sequence[str] | None) -> Callable[[int], str]:
    return lambda i: names[i] if names and 0 <= i < len(names) else f"class {i}"


def _films(p: Predictions, row: int, frames: FramesOf | None) -> list[Markup]:
    """Up to FRAMES frames, in two halves that a narrow page stacks: of each share of the clip the most attended."""
    weights, indices = p.attention[row], p.frames[row]
    if frames is None or not len(weights) or weights.shape != indices.shape or not np.isfinite(weights).all():
        return []
    groups, chosen = _most_attended(weights, FRAMES)
    shown = frames(str(p.path[row]), indices[chosen])
    if shown is None:
        return []
    relative, half = weights / max(weights.max(), 1e-12), (len(groups) + 1) // 2
    return [
        film(shown[part], [relative[group] for group in groups[part]], int(groups[part][0][0]), int(weights.argmax()))
        for part in (slice(0, half), slice(half, None))
        if groups[part]
    ]


def _maps(why: Why, p: Predictions, row: int, view: str) -> dict[str, tuple[str, Markup]]:
    """Up to MAPS of the explained frames under each map: of each share of them the most attended."""
    weights = np.array([p.attention[row][p.frames[row] == frame].sum() for frame in why.frames])
    chosen = _most_attended(weights, MAPS)[1]
    words = {"for": f"What spoke for {view}", "against": f"What spoke against {view}"}
    return {
        side: (words[side], strip(lay_over(why.pictures[chosen], maps[chosen], side), words[side]))
        for side, maps in why.sides.items()
    }


def _most_attended(weights: np.ndarray, most: int) -> tuple[list[np.ndarray], list[int]]:
    """Places of `weights` `[T]` in up to `most` shares, one after the other, and the place of the largest in each."""
    shares = np.array_split(np.arange(len(weights)), min(most, len(weights)))
    return shares, [int(share[weights[share].argmax()]) for share in shares]
