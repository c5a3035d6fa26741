"""From lists of videos to figures: what a model answers, scored, calibrated and summarised."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.evaluation.feature_statistics import FEWEST, FeatureStatistics
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.summary import Summary, summarise
from echoviewclip.inference.calibration import Calibration, calibrate
from echoviewclip.inference.collect import Answers, collect
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.scoring import to_predictions
from echoviewclip.models.outputs import present
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.distributed import is_main
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.stopping import Stop

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationSet:
    """A list of videos to evaluate: `kind` is in, near, far or ood; `loader` yields this process' share.

    Videos without a label in a list of kind in are outsiders all the same (`to_predictions`).
    """

    kind: str
    annotations: Annotations
    loader: DataLoader


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: rows, `metrics.json`'s content, and the calibration it used."""

    predictions: Predictions
    summary: Summary
    calibration: Calibration | None

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by flat name; those that are not defined are left out."""
        return self.summary.defined


class Evaluator:
    """Evaluates a model on the same lists again and again.

    `calibration` comes from a checkpoint where there is one; with `calibrates` it is
    found anew on the in-distribution list, which then has to be the validation list.
    """

    def __init__(
        self,
        config: CfgNode,
        sets: Sequence[EvaluationSet],
        precision: Precision,
        names: tuple[Sequence[str], Sequence[str]],
        calibration: Calibration | None,
        calibrates: bool,
        statistics: FeatureStatistics | None = None,
        fit_on: EvaluationSet | None = None,
        refit: bool = False,
        stop: Stop | None = None,
    ) -> None:
        """`names` are those of the views and of the grades.

        The scores by distance take a checkpoint's `statistics`, or are fitted
        on the training videos `fit_on`: once, or with `refit` at each evaluation, since training moves the features.
        """
        self.config, self.sets, self.precision = config, sets, precision
        self.views, self.grades = names
        self.calibration, self.calibrates = calibration, calibrates
        self.statistics, self.fit_on, self.refit = statistics, fit_on, refit
        self.transform, self.stop = DeviceTransform(train=False), stop
        self._named: set[str] = set()  # unreadable videos that the log has named

    def __call__(self, model: VideoCLIP, epoch: int | None, intervals: bool = False) -> Evaluation:
        """All figures; `intervals` adds 95 % bootstrap intervals by patient, which take seconds.

        `epoch`, counted from 0, is the one that ended with these weights; None where it is not known.
        """
        if self.fit_on is not None and (self.refit or self.statistics is None):
            self.statistics = self._fit(model, self.fit_on)
        tables = []
        for part in self.sets:
            answers = self._answers(model, part, "evaluate", fitted=self.statistics)
            tables.append(to_predictions(answers, part.annotations, part.kind, self.config.MODEL.DEFECTS))
            if self.calibrates and part.kind == "in":
                self.calibration = calibrate(tables[-1], self.config)
        predictions, calibration = concatenate(tables), self.calibration or Calibration()
        summary = summarise(
            predictions,
            stage=self.config.STAGE,
            epoch=epoch,
            score=calibration.score or self.config.TEST.SCORE,
            tau=calibration.tau,
            temperature=calibration.temperature,
            fitted_here=self.calibration.found_on(predictions) if self.calibration else False,
            classes=self.views,
            grades=self.grades,
            draws=self.config.TEST.BOOTSTRAP_DRAWS if intervals and is_main() else 0,  # who writes them
            seed=self.config.SEED,
            environment={
                "data set": self.config.DATA.DATASET,
                "device": device_name(self.precision.device),
                "precision": str(self.precision),
            },
        )
        return Evaluation(predictions, summary, self.calibration)

    def _answers(
        self,
        model: VideoCLIP,
        part: EvaluationSet,
        doing: str,
        fitted: FeatureStatistics | None = None,
        features: bool = False,
    ) -> Answers[np.ndarray]:
        """As `collect`; a video that cannot be read is named in the log the first time."""
        how = (self.transform, self.precision, f"{doing} {part.kind}", self.stop)
        answers, faults, _ = collect(model, part.loader, *how, fitted=fitted, features=features)
        for name in sorted(faults.keys() - self._named):
            log.warning("%s cannot be read and counts for nothing: %s", name, faults[name])
        self._named |= faults.keys()
        if part.kind == "in":
            check_read(part.annotations, answers.failed, scores=self.config.STAGE == "quality")
        return answers

    def _fit(self, model: VideoCLIP, training: EvaluationSet) -> FeatureStatistics | None:
        """Where the finite features of the labelled training videos lie; None where there are too few."""
        answers = self._answers(model, training, "fit features", features=True)
        features, labels = present(answers.intermediates), training.annotations.labels
        good = ~answers.failed & (labels >= 0) & np.isfinite(features).all(axis=1)
        if good.sum() < FEWEST:
            log.warning(
                "%s: %d labelled videos with finite features, at least %d are needed: no scores by distance this time",
                training.annotations.file,
                good.sum(),
                FEWEST,
            )
            return None
        return FeatureStatistics.fit(features[good], labels[good])


def check_read(validation: Annotations, failed: np.ndarray, scores: bool) -> None:
    """Raises UserError where all videos that figures would be of `failed`, bool [N]; `scores` as for `targeted`."""
    wanted = validation.targeted(scores)
    wanted = wanted if wanted.any() else np.ones_like(failed)
    if failed[wanted].all():
        raise UserError(
            f"{validation.file}: none of the {wanted.sum()} videos to evaluate on could be read (the log says why); "
            "correct DATA.ROOT or the list DATA.VAL_FILE: tools/check_data.py checks them"
        )


def concatenate(tables: Sequence[Predictions]) -> Predictions:
    """Tables of several lists as one."""

    def joined(parts: Sequence[Any]) -> Any:
        if isinstance(parts[0], dict):
            return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return np.concatenate(parts)

    return Predictions(**{f.name: joined([getattr(table, f.name) for table in tables]) for f in fields(Predictions)})


def device_name(device: torch.device) -> str:
    """The accelerator's name, or `cpu` with the number of threads."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
