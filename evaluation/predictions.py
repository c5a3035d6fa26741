"""What a model answered about every video of an evaluation, as arrays; `evaluation.prediction_files` keeps them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from echoviewclip.evaluation.quality import to_grades, to_scores

SETS = ("in", "near", "far", "ood")

VECTORS: dict[str, tuple[type, str | float]] = {  # column: kind, and the value of an empty cell
    "patient": (str, ""),
    "set": (str, "in"),
    "label": (np.int64, -1),
    "failed": (bool, False),
    "grade": (np.int64, -1),
    "score_target": (np.float64, np.nan),
    "score_prediction": (np.float64, np.nan),
}
MATRICES = {"probabilities": "p_", "negative": "n_", "grade_probabilities": "g_"}  # attribute: columns' prefix
SEQUENCES: dict[str, tuple[type, float]] = {"attention": (np.float32, np.nan), "frames": (np.int64, -1)}
NAMED: dict[str, tuple[str, type, str | float]] = {  # attribute: columns' prefix, kind, the value of an empty cell
    "groups": ("group_", str, ""),
    "scores": ("s_", np.float64, np.nan),
    "defects": ("defect_", np.float64, np.nan),
    "defect_targets": ("true_", np.float64, np.nan),
}


@dataclass(init=False)
class Predictions:
    """N videos and what was answered about each. What a stage does not answer is left out and filled with unknowns.

    Attributes:
        path: `[N]`, the names as in the list file.
        patient: `[N]`, "" where not known.
        groups: str `[N]` by name, what further columns of the list say, "" where that is nothing (TEST.GROUPS).
        set: `[N]`, one of `SETS`: "in" distribution, outsiders "near" to it and "far" from it, other outsiders "ood".
        label: int64 `[N]`, the view, -1 where there is none.
        failed: bool `[N]`, videos that could not be read; their numbers are nan.
        probabilities: float32 `[N, K]`, of the views.
        negative: float32 `[N, K]`, of the views, by the negative branch.
        scores: float64 `[N]` by name, higher = in distribution.
        grade: int64 `[N]`, -1 where there is none.
        grade_probabilities: float32 `[N, G]`.
        score_target, score_prediction: float64 `[N]`, nan where there is none.
        defects, defect_targets: float64 `[N]` by name, the probability of each defect of quality, and how strongly it
            shows in [0, 1], nan where not known.
        attention: float32 `[N, T]`, the weight of each frame.
        frames: int64 `[N, T]`, the frames' indices in their video, -1 where there is none.

    Raises:
        ValueError: an array that is not of N videos, a set that is none of `SETS`.
    """

    path: np.ndarray
    patient: np.ndarray
    groups: dict[str, np.ndarray]
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
    defects: dict[str, np.ndarray]
    defect_targets: dict[str, np.ndarray]
    attention: np.ndarray
    frames: np.ndarray

    def __init__(self, path: ArrayLike, **answers: Any) -> None:
        """`answers` are the other attributes by name, arrays or what makes one; None is one that is left out."""
        self.path = np.asarray(path, str)
        for name, (kind, missing) in VECTORS.items():
            self._fill(name, answers.pop(name, None), kind, (missing,) * len(self))
        for name in MATRICES:
            self._fill(name, answers.pop(name, None), np.float32, np.empty((len(self), 0)))
        for name, (kind, _) in SEQUENCES.items():
            self._fill(name, answers.pop(name, None), kind, np.empty((len(self), 0)))
        for name, (_, kind, _) in NAMED.items():
            columns = answers.pop(name, None) or {}
            setattr(self, name, {key: np.asarray(values, kind) for key, values in columns.items()})
            for key, values in getattr(self, name).items():
                self._check(f"{name} {key}", values)
        if answers:
            raise TypeError(f"predictions have no {', '.join(answers)}")
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
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, values in chosen.items():
            many = isinstance(values, dict)
            chosen[name] = {key: column[mask] for key, column in values.items()} if many else values[mask]
        return Predictions(**chosen)


def _likeliest(probabilities: np.ndarray) -> np.ndarray:
    if not probabilities.size:
        return np.full(len(probabilities), -1)
    return np.where(np.isfinite(probabilities).all(axis=1), probabilities.argmax(axis=1), -1)
