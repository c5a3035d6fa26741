"""A checkpoint's `calibration`: found on validation videos once, and asked for any score and any rate of acceptance.

| key | holds |
|---|---|
| `temperature` | of the view probabilities |
| `videos`, `views` | how many validation videos it was found on; TEST.NUM_CLIP and NUM_CROP of them |
| `list` | the fingerprint of these videos' names |
| `scores` | every score's values of these videos by name (`evaluation.calibration.kept_scores`) |
| `score`, `accept_rate`, `tau` | TEST.SCORE, TEST.ACCEPT_RATE and their τ; absent where `scores` lacks the score |
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
import yaml
from yacs.config import CfgNode

from echoviewclip.datasets.configured import evaluation_views
from echoviewclip.evaluation.calibration import fit_temperature, kept_scores, threshold
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.utils.config.choices import FITTED_SCORES, NEGATION_SCORES
from echoviewclip.utils.errors import UserError

log = logging.getLogger(__name__)

Calibration = dict[str, Any]
SETTINGS = ("SCORE", "ACCEPT_RATE")  # of TEST: which τ is wanted


def calibrate(table: Predictions, config: CfgNode) -> Calibration:
    """What the labelled videos of a validation list say; empty where none was answered."""
    good = table.labelled
    if not good.any():
        return {}
    values = {name: kept_scores(scores[good]) for name, scores in table.scores.items()}
    found = {
        "temperature": fit_temperature(np.log(np.maximum(table.probabilities[good], 1e-30)), table.label[good]),
        "videos": int(good.sum()),
        "list": fingerprint(table),
        "views": list(evaluation_views(config)),
        "scores": {name: torch.from_numpy(kept) for name, kept in values.items() if len(kept)},
    }
    return choose(found, config)


def fingerprint(table: Predictions) -> str:
    """Tells one list of in-distribution videos from another by their names, in any order; leads back to none."""
    names = "\n".join(sorted(table.path[table.set == "in"].tolist()))
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()


def fitted_on(calibration: Calibration, table: Predictions) -> bool | None:
    """Whether these are the videos that the calibration was found on; None where an earlier version did not note it."""
    if calibration and "list" not in calibration:
        return None
    return bool(calibration) and calibration["list"] == fingerprint(table)


def choose(calibration: Calibration, config: CfgNode) -> Calibration:
    """The same with τ of TEST.SCORE for TEST.ACCEPT_RATE; without τ where no validation values of the score are kept.

    Raises UserError where an earlier version wrote it, which kept nothing but τ for its own settings.
    """
    score, rate = config.TEST.SCORE, config.TEST.ACCEPT_RATE
    if (calibration.get("score"), calibration.get("accept_rate")) == (score, rate):
        return calibration
    if "tau" in calibration and "scores" not in calibration:
        raise UserError(
            f"TEST.SCORE {score} at TEST.ACCEPT_RATE {rate} has no τ: an earlier version wrote the checkpoint, which "
            f"knows τ for TEST.SCORE {calibration['score']} TEST.ACCEPT_RATE {calibration['accept_rate']} alone; set "
            "these, or train its stage again"
        )
    rest = {name: value for name, value in calibration.items() if name not in ("score", "accept_rate", "tau")}
    values = rest.get("scores", {}).get(score)
    if values is None:
        return rest
    return rest | {"score": score, "accept_rate": rate, "tau": threshold(values.numpy(), rate)}


def settle(
    content: dict[str, Any], config: CfgNode, parts: Collection[str], *, fitted: bool, anew: bool, asked: bool
) -> Calibration:
    """The calibration of a checkpoint's `content` for TEST.SCORE and TEST.ACCEPT_RATE, of a model with these `parts`.

    `fitted` says that scores by distance are given, `anew` that evaluations will find the calibration themselves.
    Where τ cannot be had: UserError if it was `asked` for, else a line in the log.
    """
    calibration = {} if anew else choose(content.get("calibration", {}), config)
    missing = _missing(config.TEST.SCORE, parts, fitted)
    if not missing and not anew and "tau" not in calibration:
        missing = "the checkpoint keeps none of its values on validation videos"
        missing += "" if calibration else ", since its weights were not evaluated (EVAL_FREQ)"
    views, found_with = evaluation_views(config), calibration.get("views")
    if found_with and tuple(found_with) != views:
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


def changed(config: CfgNode, content: dict[str, Any]) -> bool:
    """Whether TEST.SCORE or TEST.ACCEPT_RATE are not those of the checkpoint's own configuration."""
    own = (yaml.safe_load(content.get("config", "")) or {}).get("TEST", {})
    return any(key in own and own[key] != config.TEST[key] for key in SETTINGS)
