"""What published and earlier files say, in today's meaning."""

from __future__ import annotations

import warnings
from pathlib import Path

from yacs.config import CfgNode

from echoviewclip.utils.config.choices import STAGE_OF_USE
from echoviewclip.utils.config.schema import KEYS
from echoviewclip.utils.label_list import read_names


def translate_published(config: CfgNode) -> None:
    """Sets STAGE where only USE says it, and gives the published quality file the meaning that it has.

    Raises UserError where USE is none of its choices.
    """
    if not config.STAGE:
        use = config.TRAINER.ViFi_CLIP.USE
        KEYS["TRAINER.ViFi_CLIP.USE"].check(use)
        config.STAGE = STAGE_OF_USE[use]
    data = config.DATA
    if config.STAGE == "quality" and Path(data.LABEL_LIST).name == Path(data.QUALITY_LIST).name:
        data.NUM_CLASSES, data.NUM_QUALITIES = data.NUM_QUALITIES, data.NUM_CLASSES
        data.QUALITY_LIST, data.LABEL_LIST = data.LABEL_LIST, KEYS["DATA.LABEL_LIST"].default
        count_names(config)
        warnings.warn(
            "DATA: the published quality file calls the grades NUM_CLASSES and LABEL_LIST and the views "
            f"NUM_QUALITIES; read as NUM_QUALITIES {data.NUM_QUALITIES}, QUALITY_LIST {data.QUALITY_LIST}, "
            f"NUM_CLASSES {data.NUM_CLASSES}, LABEL_LIST {data.LABEL_LIST}",
            stacklevel=3,
        )


def count_names(config: CfgNode) -> None:
    """Gives NUM_CLASSES and NUM_QUALITIES the numbers of names in their lists where they are not set."""
    data = config.DATA
    for count, names in (("NUM_CLASSES", "LABEL_LIST"), ("NUM_QUALITIES", "QUALITY_LIST")):
        data[count] = data[count] or len(read_names(data[names]))


def unset_implied_views(config: CfgNode) -> None:
    """Takes back the 4 and 3 that earlier versions wrote beside MULTI_VIEW_INFERENCE True, which may now be unset."""
    test = config.TEST
    if test.MULTI_VIEW_INFERENCE and (test.NUM_CLIP, test.NUM_CROP) == (4, 3):
        test.NUM_CLIP, test.NUM_CROP = 1, 1
