"""What evaluations find on validation videos once: temperature, and τ of any score for any rate of acceptance."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from echoviewclip.datasets.configured import evaluation_views
from echoviewclip.evaluation.calibration import fit_temperature, kept_scores, threshold
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.utils.config.choices import FITTED_SCORES, NEGATION_SCORES
from echoviewclip.utils.errors import UserError

log = logging.getLogger(__name__)

SETTINGS = ("SCORE", "ACCEPT_RATE")  # of TEST: which τ is wanted


@dataclass(frozen=True)
class Calibration:
    """What a checkpoint keeps of the evaluation of its validation videos.

    Attributes:
        temperature: of the view probabilities.
        score, accept_rate, tau: TEST.SCORE, TEST.ACCEPT_RATE and their τ; None where `scores` lacks the score.
        scores: float64 [≤ 4096] by name, every score's values of these videos (`evaluation.calibration.kept_scores`);
            None in checkpoints of earlier versions.
        videos: how many they are; None in checkpoints of earlier versions.
        list: the fingerprint of their names; None in checkpoints of earlier versions.
        views: TEST.NUM_CLIP and NUM_CROP of them; None in checkpoints of earlier versions.
    """

    temperature: float = 1.0
    score: str | None = None
    accept_rate: float | None = None
    tau: float | None = None
    scores: dict[str, Tensor] | None = None
    videos: int | None = None
    list: str | None = None
    views: tuple[int, int] | None = None

    @classmethod
    def of(cls, content: dict[str, Any]) -> Calibration | None:
        """From what a file holds under `calibration`; None where that is nothing."""
        if not content:
            return None
        known = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        return cls(**known | ({"views": tuple(known["views"])} if "views" in known else {}))

    def content(self) -> dict[str, Any]:
        """What a file holds under `calibration`: what is known."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        known["views"] = list(self.views) if self.views else None
        return {name: value for name, value in known.items() if value is not None}

    def for_settings(self, config: CfgNode) -> Calibration:
        """The same with τ of TEST.SCORE for TEST.ACCEPT_RATE; without τ where no values of the score are kept.

        Raises UserError where an earlier version wrote it, which kept nothing but τ for its own settings.
        """
        score, rate = config.TEST.SCORE, config.TEST.ACCEPT_RATE
        if (self.score, self.accept_rate) == (score, rate):
            return self
        if self.tau is not None and self.scores is None:
            raise UserError(
                f"TEST.SCORE {score} at TEST.ACCEPT_RATE {rate} has no τ: an earlier version wrote the checkpoint, "
                f"which knows τ for TEST.SCORE {self.score} TEST.ACCEPT_RATE {self.accept_rate} alone; set "
                "these, or train its stage again"
            )
        values = (self.scores or {}).get(score)
        if values is None:
            return replace(self, score=None, accept_rate=None, tau=None)
        return replace(self, score=score, accept_rate=rate, tau=threshold(values.numpy(), rate))

    def found_on(self, table: Predictions) -> bool | None:
        """Whether these are the videos that it was found on; None where an earlier version did not note it."""
        return None if self.list is None else self.list == fingerprint(table)


def calibrate(table: Predictions, config: CfgNode) -> Calibration | None:
    """What the labelled videos of a validation list say; None where none was answered."""
    good = table.labelled
    if not good.any():
        return None
    values = {name: kept_scores(scores[good]) for name, scores in table.scores.items()}
    found = Calibration(
        temperature=fit_temperature(np.log(np.maximum(table.probabilities[good], 1e-30)), table.label[good]),
        scores={name: torch.from_numpy(kept) for name, kept in values.items() if len(kept)},
        videos=int(good.sum()),
        list=fingerprint(table),
        views=evaluation_views(config),
    )
    return found.for_settings(config)


def fingerprint(table: Predictions) -> str:
    """Tells one list of in-distribution videos from another by their names, in any order; leads back to none."""
    names = "\n".join(sorted(table.path[table.set == "in"].tolist()))
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()


def settle(
    kept: Calibration | None, config: CfgNode, parts: Collection[str], *, fitted: bool, anew: bool, asked: bool
) -> Calibration | None:
    """What a checkpoint has `kept`, for TEST.SCORE and TEST.ACCEPT_RATE, of a model with these `parts`.

    `fitted` says that scores by distance are given, `anew` that evaluations will find the calibration themselves.
    Where τ cannot be had: UserError if it was `asked` for, else a line in the log.
    """
    calibration = None if anew or kept is None else kept.for_settings(config)
    missing = _missing(config.TEST.SCORE, parts, fitted)
    if not missing and not anew and (calibration is None or calibration.tau is None):
        missing = "the checkpoint keeps none of its values on validation videos"
        missing += "" if calibration else ", since its weights were not evaluated (EVAL_FREQ)"
    views = evaluation_views(config)
    if calibration and calibration.views and calibration.views != views:
        found_with = calibration.views
        log.warning("τ and temperature were found with %d clips × %d crops a video, not %d × %d", *found_with, *views)
    if missing:
        why = f"TEST.SCORE {config.TEST.SCORE} has no τ: {missing}"
        if asked:
            raise UserError(f"{why}; take another TEST.SCORE, or train the stage again")
        log.info("%s; videos are neither accepted nor rejected", why)
    return calibration


def _missing(score: str, parts: Collection[str], fitted: bool) -> str:
    """What a model with these `parts` lacks for a score; empty where nothing is missing."""
    if score in NEGATION_SCORES and "negative" not in parts:
        return "it needs the negative branch, which stage negation adds"
    if score in FITTED_SCORES and not fitted:
        return (
            "it needs to know where training features lie, which stage negation finds out for this TEST.SCORE, and "
            "stage view with TEST.FIT_FEATURES True"
        )
    return ""


def changed(config: CfgNode, own: CfgNode) -> bool:
    """Whether TEST.SCORE or TEST.ACCEPT_RATE are not those of a checkpoint's own configuration."""
    return any(own.TEST[key] != config.TEST[key] for key in SETTINGS)
