"""`predictions.csv`: what a model answered about every video of an evaluation, row by row; written and read here only.

    path, patient, set, label, prediction, probability, failed,
    s_<name>                     scores, higher = in distribution
    p_0 … p_{K-1}                view probabilities, and n_0 … those of the negative branch
    grade, grade_prediction, score_target, score_prediction, g_0 … g_{G-1}
    attention, frames            T weights and T frame indices, separated by spaces

An empty cell is an unknown (no label, a video that failed). prediction, probability and grade_prediction follow from
the probabilities; they are written for people and not read back.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from echoviewclip.evaluation.quality import to_grades, to_scores
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path

SETS = ("in", "near", "far", "ood")

_VECTORS: dict[str, tuple[type, str | float]] = {  # column: kind, and the value of an empty cell
    "patient": (str, ""),
    "set": (str, "in"),
    "label": (np.int64, -1),
    "failed": (bool, False),
    "grade": (np.int64, -1),
    "score_target": (np.float64, np.nan),
    "score_prediction": (np.float64, np.nan),
}
_MATRICES = {"probabilities": "p_", "negative": "n_", "grade_probabilities": "g_"}  # attribute: columns' prefix
_SEQUENCES: dict[str, tuple[type, float]] = {"attention": (np.float32, np.nan), "frames": (np.int64, -1)}


@dataclass(init=False)
class Predictions:
    """N videos and what was answered about each. What a stage does not answer is left out and filled with unknowns.

    Attributes:
        path: `[N]`, the names as in the list file.
        patient: `[N]`, "" where not known.
        set: `[N]`, one of `SETS`: "in" distribution, outsiders "near" to it and "far" from it, other outsiders "ood".
        label: int64 `[N]`, the view, -1 where there is none.
        failed: bool `[N]`, videos that could not be read; their numbers are nan.
        probabilities: float32 `[N, K]`, of the views.
        negative: float32 `[N, K]`, of the views, by the negative branch.
        scores: float64 `[N]` by name, higher = in distribution.
        grade: int64 `[N]`, -1 where there is none.
        grade_probabilities: float32 `[N, G]`.
        score_target, score_prediction: float64 `[N]`, nan where there is none.
        attention: float32 `[N, T]`, the weight of each frame.
        frames: int64 `[N, T]`, the frames' indices in their video, -1 where there is none.

    Raises:
        ValueError: an array that is not of N videos, a set that is none of `SETS`.
    """

    path: np.ndarray
    patient: np.ndarray
    set: np.ndarray
    label: np.ndarray
    failed: np.ndarray
    probabilities: np.ndarray
    negative: np.ndarray
    scores: dict[str, np.ndarray]
    grade: np.ndarray
    grade_probabilities: np.ndarray
    score_target: np.ndarray
    score_prediction: np.ndarray
    attention: np.ndarray
    frames: np.ndarray

    def __init__(
        self, path: ArrayLike, *, scores: Mapping[str, ArrayLike] | None = None, **answers: ArrayLike | None
    ) -> None:
        """`answers` are the other arrays by name; None is one that is left out."""
        self.path = np.asarray(path, str)
        for name, (kind, missing) in _VECTORS.items():
            self._fill(name, answers.pop(name, None), kind, (missing,) * len(self))
        for name in _MATRICES:
            self._fill(name, answers.pop(name, None), np.float32, np.empty((len(self), 0)))
        for name, (kind, _) in _SEQUENCES.items():
            self._fill(name, answers.pop(name, None), kind, np.empty((len(self), 0)))
        if answers:
            raise TypeError(f"predictions have no {', '.join(answers)}")
        self.scores = {name: np.asarray(values, np.float64) for name, values in (scores or {}).items()}
        for name, values in self.scores.items():
            self._check(f"score {name}", values)
        if unknown := set(self.set.tolist()) - {*SETS}:
            raise ValueError(f"set must be one of {', '.join(SETS)}, got {', '.join(sorted(unknown))}")

    def _fill(self, name: str, given: ArrayLike | None, kind: type, unknowns: ArrayLike) -> None:
        setattr(self, name, np.asarray(unknowns if given is None else given, kind))
        self._check(name, getattr(self, name))

    def _check(self, name: str, values: np.ndarray) -> None:
        if len(values) != len(self):
            raise ValueError(f"{name} has {len(values)} entries for {len(self)} videos")

    def __len__(self) -> int:
        return len(self.path)

    @property
    def prediction(self) -> np.ndarray:
        """The likeliest view, int64 `[N]`; -1 for videos without probabilities."""
        return _likeliest(self.probabilities)

    @property
    def probability(self) -> np.ndarray:
        """The likeliest view's probability, float32 `[N]`; nan for videos without probabilities."""
        return self.probabilities.max(axis=1) if self.probabilities.size else np.full(len(self), np.nan, np.float32)

    @property
    def grade_prediction(self) -> np.ndarray:
        """The likeliest grade, int64 `[N]`; -1 for videos without grade probabilities."""
        return _likeliest(self.grade_probabilities)

    @property
    def target(self) -> np.ndarray:
        """The score that quality should have, float64 `[N]`; that of the grade in a list that gives no scores."""
        if np.isfinite(self.score_target).any():
            return self.score_target
        return np.where(self.grade < 0, np.nan, to_scores(self.grade, self.grade_probabilities.shape[1]))

    @property
    def target_grade(self) -> np.ndarray:
        """The grade that quality should have, int64 `[N]`, the target score's where not given; -1 where unknown."""
        known = np.isfinite(self.score_target)
        binned = to_grades(np.where(known, self.score_target, 0), self.grade_probabilities.shape[1])
        return np.where(self.grade >= 0, self.grade, np.where(known, binned, -1))

    @property
    def graded(self) -> np.ndarray:
        """Which videos count for quality, bool `[N]`: read, with a target and an answer."""
        answered = (self.grade_prediction >= 0) & np.isfinite(self.score_prediction)
        return ~self.failed & answered & (self.target_grade >= 0) & np.isfinite(self.target)

    @property
    def labelled(self) -> np.ndarray:
        """Which videos count for views, bool `[N]`: in distribution, read, labelled and answered."""
        return (self.set == "in") & ~self.failed & (self.label >= 0) & (self.prediction >= 0)

    @property
    def clusters(self) -> np.ndarray:
        """Whom to resample, str `[N]`: the patient, or the video itself where the patient is not known."""
        return np.where(self.patient == "", np.char.add("video ", self.path), np.char.add("patient ", self.patient))

    def where(self, mask: np.ndarray) -> Predictions:
        """The videos of `mask`, bool `[N]` or indices."""
        chosen = {f.name: getattr(self, f.name)[mask] for f in fields(self) if f.name != "scores"}
        return Predictions(**chosen, scores={name: values[mask] for name, values in self.scores.items()})


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Writes the file, whole or not at all. Numbers keep every digit, so figures can be computed from it again."""
    p = predictions
    columns: dict[str, Iterable[str]] = {"path": p.path, "patient": p.patient, "set": p.set, "label": _cells(p.label)}
    if p.probabilities.shape[1]:
        columns |= {"prediction": _cells(p.prediction), "probability": _cells(p.probability)}
    columns["failed"] = p.failed.astype(int).astype(str)
    columns |= {f"s_{name}": _cells(values) for name, values in p.scores.items()}
    if p.grade_probabilities.shape[1]:
        columns |= {"grade": _cells(p.grade), "grade_prediction": _cells(p.grade_prediction)}
        columns |= {name: _cells(getattr(p, name)) for name in ("score_target", "score_prediction")}
    for name, prefix in _MATRICES.items():
        columns |= {f"{prefix}{k}": _cells(column) for k, column in enumerate(getattr(p, name).T)}
    for name in _SEQUENCES:
        if getattr(p, name).shape[1]:
            columns[name] = [" ".join(row).strip() for row in _cells(getattr(p, name))]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_predictions(path: str | Path) -> Predictions:
    """Reads what `write_predictions` wrote.

    Raises:
        UserError: no such file, no column `path`, rows of unequal length, a cell that is not what its column holds.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; evaluate first (main.py --only_test)")
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if "path" not in header:
        raise UserError(f"{path}: line 1 has no column 'path'; evaluate again (main.py --only_test)")
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise UserError(f"{path}: line {line} has {len(row)} cells, not {len(header)}; evaluate again")
    cells = {name: [row[i] for row in rows] for i, name in enumerate(header)}

    def column(name: str, parse: Callable[[str], object]) -> list:
        values = []
        for line, cell in enumerate(cells[name], 2):
            try:
                values.append(parse(cell))
            except ValueError:
                raise UserError(f"{path}: line {line}, column {name}: cannot read {cell!r}; evaluate again") from None
        return values

    found: dict[str, ArrayLike] = {"path": cells["path"]}
    for name, (kind, missing) in _VECTORS.items():
        if name in cells:
            found[name] = column(name, _cell_of(kind, missing))
    for name, prefix in _MATRICES.items():
        if f"{prefix}0" in cells:
            found[name] = np.transpose([column(c, _number) for c in header if c.startswith(prefix)])
    for name, (kind, absent) in _SEQUENCES.items():
        if name in cells and rows:
            parts = column(name, _sequence_of(kind))
            length = max(map(len, parts), default=0)
            found[name] = [part or [absent] * length for part in parts]
    scores = {name[2:]: column(name, _number) for name in header if name.startswith("s_")}
    try:
        return Predictions(**found, scores=scores)
    except ValueError as error:
        raise UserError(f"{path}: {error}; evaluate again (main.py --only_test)") from None


def _cell_of(kind: type, missing: str | float) -> Callable[[str], object]:
    parse: Callable[[str], object] = (lambda cell: bool(int(cell))) if kind is bool else kind
    return lambda cell: parse(cell) if cell else missing


def _sequence_of(kind: type) -> Callable[[str], list]:
    return lambda cell: [kind(part) for part in cell.split()]


def _likeliest(probabilities: np.ndarray) -> np.ndarray:
    if not probabilities.size:
        return np.full(len(probabilities), -1)
    return np.where(np.isfinite(probabilities).all(axis=1), probabilities.argmax(axis=1), -1)


def _cells(values: np.ndarray) -> np.ndarray:
    """Text of each number, the shortest that reads back as the same; unknowns (nan, -1 among integers) are empty."""
    unknown = np.isnan(values) if values.dtype.kind == "f" else values < 0
    return np.where(unknown, "", values.astype(str))


def _number(cell: str) -> float:
    return float(cell) if cell else np.nan
