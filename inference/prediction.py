"""What is found about one video, as people read it: names in place of numbers, calibrated, None in place of nan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from echoviewclip.evaluation.calibration import at_temperature
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.quality import THERE
from echoviewclip.inference.calibration import Calibration
from echoviewclip.utils.errors import UserError

if TYPE_CHECKING:
    import pandas

Column = list[Any]


@dataclass(frozen=True)
class Prediction:
    """One video. None stands where nothing was found, and where the model cannot answer (docs/prediction.md).

    Attributes:
        file: path of the video.
        view, probability: the likeliest view, and its probability at the checkpoint's temperature.
        second_view, second_probability: the next.
        decision: whether it is taken for one of the views: score ≥ τ.
        score, tau, score_name: what decides.
        quality, quality_probability, quality_score: the likeliest grade, its probability, the expected score in [0, 1].
        defect, defect_probability: the likeliest defect of quality (MODEL.DEFECTS) and its probability; None where none
            has more than 0.5.
        frame: the most attended frame, from 0.
        warnings: what is not as it should be in the file, `; ` between.
        error: why there is no answer.
    """

    file: str
    view: str | None = None
    probability: float | None = None
    second_view: str | None = None
    second_probability: float | None = None
    decision: Literal["accepted", "rejected"] | None = None
    score: float | None = None
    tau: float | None = None
    score_name: str | None = None
    quality: str | None = None
    quality_probability: float | None = None
    quality_score: float | None = None
    defect: str | None = None
    defect_probability: float | None = None
    frame: int | None = None
    warnings: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class PredictionTable:
    """Predictions of a list of videos, in its order, and the `columns` (names of fields) that the model answers."""

    columns: tuple[str, ...]
    rows: list[Prediction]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.rows)

    def __getitem__(self, place: int) -> Prediction:
        return self.rows[place]

    def to_frame(self) -> pandas.DataFrame:
        """A pandas DataFrame of the columns. Raises UserError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise UserError("to_frame() needs pandas, which is not installed: pip install pandas") from None
        return pandas.DataFrame({name: [getattr(row, name) for row in self.rows] for name in self.columns})


def to_table(
    predictions: Predictions,
    views: Sequence[str],
    grades: Sequence[str],
    calibration: Calibration,
    faults: Mapping[str, str],
    warnings: Mapping[str, str],
) -> PredictionTable:
    """Rows of arrays as rows for people; `faults` and `warnings` are by path."""
    columns: dict[str, Column] = {"file": predictions.path.tolist()}
    columns |= _views(predictions, views, calibration.temperature) | _decision(predictions, calibration)
    columns |= _quality(predictions, grades) | _defects(predictions)
    answered = (predictions.prediction >= 0) | (predictions.grade_prediction >= 0)
    columns["frame"] = [
        most_attended(*one) if sure else None
        for *one, sure in zip(predictions.attention, predictions.frames, answered, strict=True)
    ]
    columns["warnings"] = [warnings.get(name) for name in columns["file"]]
    columns["error"] = [
        faults.get(name) or (None if sure else "the model gives no finite answer")
        for name, sure in zip(columns["file"], answered, strict=True)
    ]
    names = tuple(field.name for field in fields(Prediction) if field.name in columns)
    rows = zip(*(columns[name] for name in names), strict=True)
    return PredictionTable(names, [Prediction(**dict(zip(names, row, strict=True))) for row in rows])


def _views(p: Predictions, views: Sequence[str], temperature: float) -> dict[str, Column]:
    """The two likeliest views with their probabilities."""
    if not p.probabilities.shape[1]:
        return {}
    probabilities = at_temperature(p.probabilities, temperature)
    columns: dict[str, Column] = {}
    order = np.argsort(-probabilities, axis=1, kind="stable")
    for prefix, place in (("", 0), ("second_", 1)):
        if place < order.shape[1]:
            chosen = order[:, place]
            columns[f"{prefix}view"] = _names(np.where(p.prediction < 0, -1, chosen), views)
            columns[f"{prefix}probability"] = _numbers(np.take_along_axis(probabilities, chosen[:, None], axis=1)[:, 0])
    return columns


def _decision(p: Predictions, calibration: Calibration) -> dict[str, Column]:
    """Accepted or rejected by the calibrated score, where the checkpoint has τ and the model has the score."""
    name, tau = calibration.score, calibration.tau
    if tau is None or name not in p.scores:
        return {}
    scores = _numbers(p.scores[name])
    return {
        "decision": [None if score is None else "accepted" if score >= tau else "rejected" for score in scores],
        "score": scores,
        "tau": [tau] * len(p),
        "score_name": [name] * len(p),
    }


def _quality(p: Predictions, grades: Sequence[str]) -> dict[str, Column]:
    if not p.grade_probabilities.shape[1]:
        return {}
    return {
        "quality": _names(p.grade_prediction, grades),
        "quality_probability": _numbers(p.grade_probabilities.max(axis=1)),
        "quality_score": _numbers(p.score_prediction),
    }


def _defects(p: Predictions) -> dict[str, Column]:
    if not p.defects:
        return {}
    names, probabilities = list(p.defects), np.stack(list(p.defects.values()), axis=1)
    likeliest = np.where(np.isfinite(probabilities).all(axis=1), probabilities.argmax(axis=1), -1)
    highest = probabilities.max(axis=1)
    there = highest > THERE  # nan is not
    return {
        "defect": _names(np.where(there, likeliest, -1), names),
        "defect_probability": _numbers(np.where(there, highest, np.nan)),
    }


def most_attended(weights: np.ndarray, frames: np.ndarray) -> int:
    """The frame of the largest weight, the earliest among equals.

    A frame that occurs several times in `frames` [T], in several clips or crops or because the video is short, has
    the sum of its `weights` [T].
    """
    places, where = np.unique(frames, return_inverse=True)
    return int(places[np.bincount(where.reshape(-1), weights).argmax()])


def _names(indices: np.ndarray, names: Sequence[str]) -> list[str | None]:
    return [names[i] if i >= 0 else None for i in indices]


def _numbers(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
