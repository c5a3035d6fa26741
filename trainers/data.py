"""The lists of a run: read, and checked for what its stage needs before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from yacs.config import CfgNode

from echoviewclip.datasets import configured
from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.configured import evaluation_batches
from echoviewclip.evaluation.feature_statistics import FEWEST
from echoviewclip.evaluation.groups import MOST_GROUPS
from echoviewclip.trainers.evaluate import EvaluationSet
from echoviewclip.utils.config.choices import FITTED_SCORES
from echoviewclip.utils.errors import UserError


def read_list(config: CfgNode, file: str, key: str, outsiders: bool = False, evaluated: bool = False) -> Annotations:
    """A list of videos with this stage's targets; `evaluated` as for `configured.read_list`."""
    if not file:
        raise UserError(f"{key} is empty: name a list of videos (path label per line)")
    return configured.read_list(config, file, outsiders=outsiders, evaluated=evaluated)


def check_targets(train: Annotations, score: bool) -> None:
    """Raises UserError that names the lines of training videos without the label or score that the stage learns."""
    without = train.lines[np.isnan(train.scores) if score else train.labels < 0].tolist()
    if without:
        shown = ", ".join(map(str, without[:10])) + (", …" if len(without) > 10 else "")
        raise UserError(
            f"{train.file}: {len(without)} videos have no {'score' if score else 'label'} to train on "
            f"(lines {shown}); give them one or remove them"
        )


def check_defects(train: Annotations, names: Sequence[str]) -> None:
    """Raises UserError where no training video says anything of a defect that the stage is to learn."""
    for name, severities in zip(names, train.defects.T, strict=True):
        if np.isnan(severities).all():
            raise UserError(
                f"{train.file}: no video has a value in a column {name!r} (MODEL.DEFECTS), so nothing can be learned "
                "of it; add the column, numbers from 0 to 1, or take the name out"
            )


def check_fit(train: Annotations) -> None:
    """Raises UserError where too few training videos have a label for the scores by distance to be fitted."""
    labelled = int((train.labels >= 0).sum())
    if labelled < FEWEST:
        raise UserError(
            f"{train.file}: {labelled} labelled videos, and scores by distance are fitted to at least {FEWEST}: add "
            "videos, or set TEST.SCORE msp and TEST.FIT_FEATURES False"
        )


def check_validation(validation: Annotations, config: CfgNode) -> None:
    """Raises UserError where no validation video has what the stage's figures compare with."""
    quality = config.STAGE == "quality"
    if not validation.targeted(scores=quality).any():
        what = "grade or score" if quality else "label"
        raise UserError(
            f"{validation.file}: none of its {len(validation)} videos has a {what}, so there is nothing to validate "
            "on; give them one, or name another list (DATA.VAL_FILE)"
        )


def evaluation_sets(config: CfgNode) -> list[EvaluationSet]:
    """The validation list, then the lists of outsiders."""
    named = [("in", config.DATA.VAL_FILE)]
    for file in filter(None, (part.strip() for part in config.DATA.OOD_FILE.split(","))):
        named.append((kind_of_outsiders(file), file))
    sets = []
    for kind, file in named:
        key = "DATA.VAL_FILE" if kind == "in" else "DATA.OOD_FILE"
        annotations = read_list(config, file, key, outsiders=kind != "in", evaluated=True)
        sets.append(evaluation_set(config, kind, annotations))
    check_groups([part.annotations for part in sets])
    return sets


def check_groups(lists: Sequence[Annotations]) -> None:
    """Raises UserError where a column of TEST.GROUPS has more values than groups can be looked at."""
    for name in lists[0].groups:
        values = {text for listed in lists for text in listed.groups[name].values}
        if len(values) > MOST_GROUPS:
            files = ", ".join(str(listed.file) for listed in lists)
            raise UserError(
                f"{files}: the column {name!r} of TEST.GROUPS has {len(values)} values, more than the {MOST_GROUPS} "
                "groups that figures are given by; name a column of fewer, or take it out"
            )


def kind_of_outsiders(file: str) -> str:
    """The kind of a list of outsiders: near or far where its name holds that word (`ood_near.txt`), else ood."""
    words = re.split(r"[\W_]+", Path(file).stem.lower())
    return next((kind for kind in ("near", "far") if kind in words), "ood")


def fits_features(config: CfgNode) -> bool:
    """Whether the scores by distance are wanted, which take a pass over the training videos.

    Where TEST.SCORE names one, in stage negation only: stage view would pay at each evaluation for a rejection that
    comes after it.
    """
    decides = config.STAGE == "negation" and config.TEST.SCORE in FITTED_SCORES
    return config.STAGE != "quality" and (config.TEST.FIT_FEATURES or decides)


def evaluation_set(config: CfgNode, kind: str, annotations: Annotations) -> EvaluationSet:
    """A list of videos with the batches of this process' share."""
    return EvaluationSet(kind, annotations, evaluation_batches(config, annotations))
