"""From predictions to `metrics.json`: every figure of an evaluation, with intervals by patient, under flat names.

top1, macro_f1, …, ece, aurc            views, over in-distribution videos; negative/top1, … by the negative branch
near/<score>/auroc, far/…, ood/…        near, far and all outsiders against in-distribution videos
joint_accuracy, accepted, rejected      K views and "unknown" at τ; joint_aurc orders all videos by the score
quality/quadratic_kappa, …              image quality
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from echoviewclip.evaluation.bootstrap import Interval, figures, intervals, patient_codes
from echoviewclip.evaluation.classification import (
    ClassFigures,
    ConfusedPair,
    confused_pairs,
    confusion_matrix,
    per_class,
)
from echoviewclip.evaluation.groups import Grouping, Settings, by_groups
from echoviewclip.evaluation.measures import join_parts, parts_of, quality_of
from echoviewclip.evaluation.predictions import SETS, Predictions
from echoviewclip.evaluation.provenance import Provenance
from echoviewclip.evaluation.quality import ViewQuality, per_view
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import write_text

FITTED = ("ece", "aurc", "joint_accuracy", "accepted", "rejected")  # figures that follow from temperature or τ


@dataclass(frozen=True)
class Summary:
    """The content of `metrics.json` (docs/evaluation.md).

    Attributes:
        stage, epoch, score, tau, temperature, classes, grades: as for `summarise`.
        fitted: figures whose temperature or τ was found on these very videos; None if not known.
        counts: videos, patients, failed, unanswered, and the videos of each set.
        metrics: figures by flat name; nan where one is not defined.
        intervals: 95 % intervals (low, high) of them; None where the data cannot tell.
        per_class, confused, per_view: rows of the classes, of pairs of classes, of the quality of each view.
        by_group: the figures by each column of TEST.GROUPS.
        environment: versions, and what it ran on.
        provenance: how it came about; None where nobody said.
    """

    stage: str
    epoch: int | None = None
    score: str = "negation"
    tau: float | None = None
    temperature: float = 1.0
    fitted: list[str] | None = None
    classes: list[str] = field(default_factory=list)
    grades: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    per_class: list[ClassFigures] = field(default_factory=list)
    confused: list[ConfusedPair] = field(default_factory=list)
    per_view: list[ViewQuality] = field(default_factory=list)
    by_group: list[Grouping] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    provenance: Provenance | None = None

    @property
    def defined(self) -> dict[str, float]:
        """The figures that are finite."""
        return {name: value for name, value in self.metrics.items() if np.isfinite(value)}


def summarise(
    predictions: Predictions,
    *,
    stage: str,
    epoch: int | None = None,
    score: str = "negation",
    tau: float | None = None,
    temperature: float = 1.0,
    fitted_here: bool | None = False,
    classes: Sequence[str] = (),
    grades: Sequence[str] = (),
    draws: int = 1000,
    seed: int = 0,
    environment: dict[str, str] | None = None,
) -> Summary:
    """All that the predictions allow to say.

    Videos that failed, or to which the model gave no finite answer, are counted and take part in nothing else.

    Args:
        predictions: of one evaluation, all processes together.
        stage: view, negation or quality, as a name for the page.
        epoch: after which the checkpoint was written, from 0; None if not known.
        score: the score that accepts or rejects; τ and the joint figures are of this one.
        tau: from `evaluation.calibration.threshold` on validation videos; without it there are no joint figures.
        temperature: from `fit_temperature` on validation videos.
        fitted_here: whether those were these very videos; None if not known.
        classes: names of the K views; grades: names of the G grades.
        draws: bootstrap draws; 0 leaves the intervals out.
        seed: of the bootstrap.
        environment: what it ran on, added to `versions()`.
    """
    read = predictions.where(~predictions.failed)
    parts = list(parts_of(read, score, tau, temperature))
    found = [figures(statistic, len(rows)) for _, rows, statistic, _ in parts]
    metrics = {
        part[0] + name: value for part, values in zip(parts, found, strict=True) for name, value in values.items()
    }
    ranges: dict[str, Interval | None] = {}
    patients = patient_codes(read.clusters)
    for rows, statistic, rests_on in join_parts(parts, found) if draws else ():
        ranges |= intervals(statistic, patients[rows], rests_on=rests_on, draws=draws, seed=seed)
    # Resampling only adds to a calibration error, so an interval would lie beside its figure.
    ranges = {name: None if name.rpartition("/")[2] == "ece" else ranges[name] for name in metrics if name in ranges}
    view, graded = read.where(read.labelled), read.where(read.graded)
    by_class: list[ClassFigures] = []
    if len(view):
        of = patients[read.labelled] if draws else None
        by_class = per_class(view.probabilities, view.label, names=classes, patients=of, draws=draws, seed=seed)
    matrix = confusion_matrix(view.label, view.prediction, view.probabilities.shape[1])
    fitted = None
    if fitted_here is not None:
        fitted = [name for name in FITTED if fitted_here and np.isfinite(metrics.get(name, np.nan))]
    return Summary(
        stage=stage,
        epoch=epoch,
        score=score,
        tau=tau,
        temperature=temperature,
        fitted=fitted,
        classes=list(classes),
        grades=list(grades),
        counts=_counts(predictions),
        metrics=metrics,
        intervals=ranges,
        per_class=by_class,
        confused=confused_pairs(matrix) if len(view) else [],
        per_view=_quality_per_view(graded, classes),
        by_group=by_groups(predictions, Settings(score, tau, temperature, draws, seed)),
        environment=versions() | (environment or {}),
    )


def write_metrics(path: str | Path, summary: Summary) -> None:
    """Writes a summary as strict JSON; a figure that is not defined (nan) becomes null."""
    write_text(path, json.dumps(_plain(vars(summary)), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_summary(path: Path) -> Summary:
    """What `write_metrics` wrote; parts that are not there are empty. Raises UserError where it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name: content[field.name] for field in fields(Summary) if field.name in content}
        if known.get("provenance"):
            known["provenance"] = Provenance(**known["provenance"])
        summary = Summary(**known)
        metrics = {name: np.nan if value is None else float(value) for name, value in summary.metrics.items()}
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; evaluate the run first (main.py --only_test), and name the folder of that "
            "evaluation (RUN/evaluation/LIST)"
        ) from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not readable as JSON ({error}); evaluate again (main.py --only_test)") from None
    except (ValueError, TypeError, AttributeError):
        raise UserError(f"{path}: not what an evaluation writes; evaluate again (main.py --only_test)") from None
    return replace(summary, metrics=metrics)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the numbers; nothing that names the machine or its user."""
    libraries = ("torch", "torchvision", "open_clip_torch", "timm", "numpy", "scikit-learn", "av", "pydicom")
    found = {library: metadata.version(library) for library in libraries if _installed(library)}
    return {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"} | found


def _quality_per_view(p: Predictions, classes: Sequence[str]) -> list[ViewQuality]:
    view = np.where(p.label >= 0, p.label, p.prediction)
    known = p.where(view >= 0)
    return per_view(view[view >= 0], *quality_of(known), names=classes) if len(known) else []


def _counts(p: Predictions) -> dict[str, int]:
    sets = {kind: int((p.set == kind).sum()) for kind in SETS}
    patients = len(np.unique(p.patient[p.patient != ""]))
    unanswered = ~p.failed & (p.prediction < 0) if p.probabilities.shape[1] else np.zeros(len(p), bool)
    found = {"videos": len(p), "patients": patients, "failed": p.failed.sum(), "unanswered": unanswered.sum()}
    return {name: int(count) for name, count in found.items()} | sets


def _installed(library: str) -> bool:
    try:
        metadata.version(library)
    except metadata.PackageNotFoundError:
        return False
    return True


def _plain(value: object) -> object:
    if isinstance(value, Provenance):
        value = vars(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
