"""Settings that change nothing in the run at hand: whoever sets one is told so when the run begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from yacs.config import CfgNode

from utils.bounds import FITTED_SCORES, value
from utils.config import default_config


class Rule(NamedTuple):
    """Settings, when they take effect, and why they do not otherwise."""

    names: tuple[str, ...]
    effective: Callable[[CfgNode], bool]
    reason: str


def without_effect(config: CfgNode) -> list[str]:
    """A sentence for each setting of a training that is neither its default nor off, and changes nothing."""
    defaults = default_config()
    found: dict[str, str] = {}
    for names, effective, reason in RULES:
        for name in names if not effective(config) else ():
            given = value(config, name)
            if given and given != value(defaults, name):
                found.setdefault(name, f"{name} {given} has no effect: {reason}")
    return list(found.values())


def _has_text(config: CfgNode) -> bool:
    return config.STAGE != "quality" or config.MODEL.VARIANT != "released"


def _text_trains(config: CfgNode) -> bool:
    return config.STAGE == "negation" or (config.STAGE == "view" and config.TRAINER.ViFi_CLIP.USE != "image")


def _image_blocks_train(config: CfgNode) -> bool:
    prompted = config.TRAINER.ViFi_CLIP
    if config.STAGE == "quality":
        return config.MODEL.VARIANT != "released"
    frozen = config.STAGE == "view" and prompted.USE == "text"
    first_trained = config.MODEL.SHARED_BLOCKS if config.STAGE == "negation" else 1
    return not frozen and (not prompted.PROMPT_MODEL or first_trained < prompted.PROMPT_DEPTH_VISION)


def _learns_tokens(config: CfgNode) -> bool:
    return config.TRAINER.ViFi_CLIP.PROMPT_MODEL


def _stage(name: str) -> Callable[[CfgNode], bool]:
    return lambda config: name == config.STAGE


NO_TOKENS = "no tokens are learned (TRAINER.ViFi_CLIP.PROMPT_MODEL, PROMPT_DEPTH_VISION)"
NO_TEXT = "this model reads no text"
RULES = (
    Rule(
        (
            *("DATA.QUALITY_TARGET", "MODEL.QUALITY_HEAD", "MODEL.QUALITY_VIEWS"),
            *("TRAIN.ORDINAL_LOSS", "TRAIN.ORDINAL_WEIGHT"),
        ),
        _stage("quality"),
        "it belongs to stage quality",
    ),
    Rule(("TRAIN.ORDINAL_LOSS",), lambda c: c.TRAIN.ORDINAL_WEIGHT > 0, "TRAIN.ORDINAL_WEIGHT is 0"),
    Rule(
        ("TRAIN.OPPOSITE_WEIGHT", "TRAIN.NEGATION_LOSS", "TRAIN.OUTLIER_WEIGHT", "AUG.OUTLIERS"),
        _stage("negation"),
        "it belongs to stage negation",
    ),
    Rule(("TRAIN.OPPOSITE_WEIGHT",), lambda c: not c.MODEL.FIX_TEXT, "MODEL.FIX_TEXT keeps the texts as they are"),
    Rule(("AUG.OUTLIERS",), lambda c: c.TRAIN.OUTLIER_WEIGHT > 0, "TRAIN.OUTLIER_WEIGHT is 0"),
    Rule(("TRAIN.OUTLIER_WEIGHT",), lambda c: bool(c.AUG.OUTLIERS), "AUG.OUTLIERS names no kind"),
    Rule(
        ("AUG.LABEL_SMOOTH",),
        lambda c: c.STAGE != "negation" or c.TRAIN.NEGATION_LOSS != "clipn",
        "TRAIN.NEGATION_LOSS clipn is a yes or no for each class, which is not smoothed",
    ),
    Rule(("AUG.MIXUP_SWITCH_PROB",), lambda c: c.AUG.MIXUP > 0 and c.AUG.CUTMIX > 0, "AUG.MIXUP or AUG.CUTMIX is off"),
    Rule(("DATA.STRIDE_SECONDS",), lambda c: c.DATA.SAMPLING == "stride", "DATA.SAMPLING is not stride"),
    Rule(("DATA.OOD_FILE",), _has_text, "this model answers quality alone"),
    Rule(("MODEL.FIX_TEXT",), _text_trains, "no text trains"),
    Rule(("MODEL.DROP_PATH_RATE",), _image_blocks_train, "no block of the image tower trains"),
    Rule(
        ("TRAINER.ViFi_CLIP.N_CTX_VISION",),
        lambda c: _learns_tokens(c) and c.TRAINER.ViFi_CLIP.PROMPT_DEPTH_VISION > 0,
        NO_TOKENS,
    ),
    Rule(
        (
            "TRAINER.ViFi_CLIP.N_CTX_TEXT",
            "TRAINER.ViFi_CLIP.PROMPT_DEPTH_TEXT",
            "TRAINER.ViFi_CLIP.PROMPT_DEPTH_VISION",
        ),
        _learns_tokens,
        NO_TOKENS,
    ),
    Rule(
        (
            *("TRAINER.ViFi_CLIP.N_CTX_TEXT", "TRAINER.ViFi_CLIP.PROMPT_DEPTH_TEXT", "TRAINER.ViFi_CLIP.CTX_INIT"),
            *("TRAINER.ViFi_CLIP.CTX_INIT_NO", "TRAINER.ViFi_CLIP.ZS_EVAL"),
        ),
        _has_text,
        NO_TEXT,
    ),
    Rule(
        ("TRAINER.ViFi_CLIP.CTX_INIT",),
        lambda c: not c.TRAINER.ViFi_CLIP.ZS_EVAL,
        "TRAINER.ViFi_CLIP.ZS_EVAL reads the bare names",
    ),
    Rule(("TRAINER.ViFi_CLIP.CTX_INIT_NO",), lambda c: c.STAGE != "view", "stage view reads no negative prompts"),
    Rule(
        ("TRAIN.WEIGHT_DECAY",),
        lambda c: not _learns_tokens(c) or c.STAGE == "quality",
        "prompt tokens, which alone train, do not decay",
    ),
    Rule(
        ("TEST.MULTI_VIEW_INFERENCE",),
        lambda c: c.TEST.NUM_CLIP == c.TEST.NUM_CROP == 1,
        "TEST.NUM_CLIP and TEST.NUM_CROP say otherwise",
    ),
    Rule(
        ("TEST.FIT_FEATURES",),
        lambda c: c.STAGE == "view" or (c.STAGE == "negation" and c.TEST.SCORE not in FITTED_SCORES),
        "stage quality keeps the scores of the stages before, and stage negation fits TEST.SCORE anyway",
    ),
)
