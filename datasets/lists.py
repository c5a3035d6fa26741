"""The lists that a configuration names, read as its stage means them."""

from __future__ import annotations

from yacs.config import CfgNode

from datasets.annotations import Annotations, read_annotations
from utils.label_list import read_names


def read_list(config: CfgNode, file: str, *, outsiders: bool = False, faults: list[str] | None = None) -> Annotations:
    """A list of videos with the targets of the configuration's stage; `outsiders` need no labels, and any will do.

    Faulty lines raise UserError, or go to `faults` as in `read_annotations`.
    """
    data = config.DATA
    quality = config.STAGE == "quality" and not outsiders
    score = quality and data.QUALITY_TARGET == "score"
    return read_annotations(
        file,
        data.ROOT,
        label_names=class_names(config) if not outsiders else read_names(data.LABEL_LIST),
        view_names=read_names(data.LABEL_LIST) if quality else (),
        target="score" if score else "quality" if quality else "class",
        any_label=outsiders,
        allow_outside=data.ALLOW_OUTSIDE,
        faults=faults,
    )


def class_names(config: CfgNode) -> list[str]:
    """Names of what the stage tells apart: views, or grades in stage quality. Raises UserError."""
    data = config.DATA
    if config.STAGE == "quality":
        return read_names(data.QUALITY_LIST, data.NUM_QUALITIES, "DATA.NUM_QUALITIES")
    return read_names(data.LABEL_LIST, data.NUM_CLASSES, "DATA.NUM_CLASSES")
