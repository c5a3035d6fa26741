"""What the settings may be: the values and ranges of each, and what may not be said together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yacs.config import CfgNode

from utils.errors import UserError, quoted

STAGES = ("view", "negation", "quality")
NEGATION_SCORES = ("negation", "competing_to_win", "agreeing_to_differ")  # of the negative branch
SCORES = ("msp", "max_logit", "energy", *NEGATION_SCORES, "mcm")
FITTED_SCORES = ("mahalanobis", "relative_mahalanobis", "knn")  # on features of training videos
OUTLIERS = ("mixed", "shuffled", "turned", "virtual")
STAGE_OF_USE = {"both": "view", "image": "view", "text": "view", "no_text": "negation", "quality": "quality"}

CHOICES = {
    "STAGE": STAGES,
    "DEVICE": ("auto", "cpu", "cuda"),
    "DATA.QUALITY_TARGET": ("grade", "score"),
    "DATA.DECODER": ("pyav", "torchcodec", "decord"),
    "DATA.SAMPLING": ("uniform", "stride", "cycle"),
    "DATA.RESIZE": ("worker", "device"),
    "MODEL.VARIANT": ("paper", "released"),
    "MODEL.POOLING": ("attention", "mean", "transformer"),
    "MODEL.QUALITY_HEAD": ("softmax", "corn"),
    "TRAINER.ViFi_CLIP.USE": tuple(STAGE_OF_USE),
    "TRAIN.OPT_LEVEL": ("O0", "O1", "O2"),
    "TRAIN.OPTIMIZER": ("adamw", "sgd"),
    "TRAIN.LR_SCHEDULER": ("cosine", "constant"),
    "TRAIN.NEGATION_LOSS": ("class", "clipn"),
    "TRAIN.ORDINAL_LOSS": ("emd", "score"),
    "TEST.NUM_CROP": (1, 3),
    "TEST.SCORE": SCORES + FITTED_SCORES,
}
AT_LEAST = {
    0: (
        *("SEED", "SAVE_FREQ", "DATA.NUM_WORKERS", "DATA.TIMEOUT", "MODEL.SHARED_BLOCKS", "AUG.MIXUP", "AUG.CUTMIX"),
        *("TRAINER.ViFi_CLIP.PROMPT_DEPTH_VISION", "TRAINER.ViFi_CLIP.N_CTX_VISION"),
        *("TRAIN.WARMUP_EPOCHS", "TRAIN.WEIGHT_DECAY", "TRAIN.LR", "TRAIN.CLIP_GRAD", "TRAIN.SAVE_STEPS"),
        "TRAIN.SAVE_MINUTES",
        *("TRAIN.OPPOSITE_WEIGHT", "TRAIN.OUTLIER_WEIGHT", "TRAIN.ORDINAL_WEIGHT"),
    ),
    1: (
        *("EVAL_FREQ", "PRINT_FREQ", "TEST.NUM_CLIP"),
        *("DATA.NUM_FRAMES", "DATA.INPUT_SIZE", "DATA.NUM_CLASSES", "DATA.NUM_QUALITIES"),
        *("TRAINER.ViFi_CLIP.PROMPT_DEPTH_TEXT", "TRAINER.ViFi_CLIP.N_CTX_TEXT"),
        *("TRAIN.EPOCHS", "TRAIN.BATCH_SIZE", "TRAIN.ACCUMULATION_STEPS", "TRAIN.MAX_BAD_STEPS"),
        "TRAIN.TIMEOUT",
    ),
}
SHARES = (
    *("DATA.MAX_BAD_FRACTION", "MODEL.DROP_PATH_RATE", "TRAIN.EMA_DECAY"),
    *("AUG.LABEL_SMOOTH", "AUG.COLOR_JITTER", "AUG.GRAY_SCALE", "AUG.FLIP", "AUG.ERASING", "AUG.BACKGROUND_SWAP"),
    "AUG.MIXUP_SWITCH_PROB",
)


def value(config: CfgNode, name: str) -> Any:
    """The setting of a dotted name."""
    for key in name.split("."):
        config = config[key]
    return config


def one_of(name: str, given: Any, allowed: Sequence[Any]) -> None:
    """Raises UserError where the setting `name` is none of the allowed values."""
    if given not in allowed:
        raise UserError(f"{name} must be one of {', '.join(map(str, allowed))}; found {quoted(given)}")


def check(config: CfgNode) -> None:
    """What each value may be, then what may not be said together. Raises UserError."""
    for name, allowed in CHOICES.items():
        one_of(name, value(config, name), allowed)
    for kind in config.AUG.OUTLIERS:
        one_of("AUG.OUTLIERS", kind, OUTLIERS)
    for least, names in AT_LEAST.items():
        for name in names:
            if value(config, name) < least:
                raise UserError(f"{name} must be at least {least}; found {value(config, name)}")
    for name in SHARES:
        if not 0 <= value(config, name) <= 1:
            raise UserError(f"{name} must lie between 0 and 1; found {value(config, name)}")
    if config.MODEL.DROP_PATH_RATE == 1:
        raise UserError("MODEL.DROP_PATH_RATE must be below 1, where nothing of the last block is left; found 1.0")
    if not 0 < config.TEST.ACCEPT_RATE <= 1:
        raise UserError(f"TEST.ACCEPT_RATE must lie above 0 and up to 1; found {config.TEST.ACCEPT_RATE}")
    if not config.AUG.SCALES or not all(0 < scale <= 1 for scale in config.AUG.SCALES):
        raise UserError(f"AUG.SCALES must be shares above 0 and up to 1, at least one; found {config.AUG.SCALES}")
    if config.DATA.STRIDE_SECONDS <= 0:
        raise UserError(f"DATA.STRIDE_SECONDS must be above 0; found {config.DATA.STRIDE_SECONDS}")
    _check_together(config)


def _check_together(config: CfgNode) -> None:
    use = config.TRAINER.ViFi_CLIP.USE
    if use in ("image", "text", "no_text", "quality") and STAGE_OF_USE[use] != config.STAGE:
        raise UserError(
            f"TRAINER.ViFi_CLIP.USE {use} belongs to stage {STAGE_OF_USE[use]}, but STAGE is {config.STAGE}"
        )
    if config.MODEL.VARIANT == "released":
        for key, only in (("POOLING", "attention"), ("QUALITY_HEAD", "softmax"), ("QUALITY_VIEWS", False)):
            if config.MODEL[key] != only:
                raise UserError(f"MODEL.{key} {config.MODEL[key]} needs MODEL.VARIANT paper; released has {only} alone")


def check_words(config: CfgNode) -> None:
    """The words that learnable tokens start from."""
    prompted = config.TRAINER.ViFi_CLIP
    for key in ("CTX_INIT", "CTX_INIT_NO"):
        if not prompted.PROMPT_MODEL or not prompted[key]:
            continue
        if prompted.N_CTX_TEXT > 4:
            raise UserError(
                f"TRAINER.ViFi_CLIP.{key} starts at most 4 learnable tokens, but N_CTX_TEXT is {prompted.N_CTX_TEXT}, "
                f"which start at random; set N_CTX_TEXT to the number of its tokens, or leave {key} empty"
            )
        if "{view}" in prompted[key]:
            raise UserError(
                f"TRAINER.ViFi_CLIP.{key} {prompted[key]!r}: with PROMPT_MODEL the words stand before the name of the "
                "view; leave {view} out"
            )
