"""What a whole configuration must hold: the values of each key, then what must not be set together."""

from __future__ import annotations

from yacs.config import CfgNode

from echoviewclip.utils.config.choices import STAGE_OF_USE
from echoviewclip.utils.config.schema import KEYS, value_of
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.urls import without_secrets


def check(config: CfgNode) -> None:
    """Raises UserError where a key has a value that it may not have, or contradicts another."""
    for key in KEYS.values():
        value = value_of(config, key.name)
        key.check(value)
        if isinstance(value, str) and without_secrets(value) != value:
            raise UserError(
                f"{key.name}: a URL with a password or with `?` and what follows, which every checkpoint and report of "
                "the run would hold; leave it out, and give credentials by the environment or fsspec's configuration"
            )
    use = config.TRAINER.ViFi_CLIP.USE
    if use in ("image", "text", "no_text", "quality") and STAGE_OF_USE[use] != config.STAGE:
        raise UserError(
            f"TRAINER.ViFi_CLIP.USE {use} belongs to stage {STAGE_OF_USE[use]}, but STAGE is {config.STAGE}"
        )
    if config.MODEL.VARIANT == "released":
        for name, only in (
            ("POOLING", "attention"),
            ("QUALITY_HEAD", "softmax"),
            ("QUALITY_VIEWS", False),
            ("DEFECTS", []),
        ):
            if config.MODEL[name] != only:
                raise UserError(
                    f"MODEL.{name} {config.MODEL[name]} needs MODEL.VARIANT paper; released has {only} alone"
                )
    if config.MODEL.DROP_BLACK:
        _check_drop_black(config)
    if config.DATA.SAMPLER == "balanced":
        _check_balanced(config)
    if config.TRAIN.SHARD == "full" and config.TRAIN.CACHE_FEATURES:
        raise UserError(
            "TRAIN.SHARD full: shared weights compute only where all processes do, and for TRAIN.CACHE_FEATURES each "
            "computes what it lacks; set TRAIN.SHARD none, or TRAIN.CACHE_FEATURES False"
        )


def _check_drop_black(config: CfgNode) -> None:
    """Raises UserError where black patches cannot be left out."""
    reasons = {
        "MODEL.ARCH tiny is a pyramid of convolutions, which need all patches": config.MODEL.ARCH == "tiny",
        "MODEL.VARIANT released answers as the published code does, which computes all patches": (
            config.MODEL.VARIANT == "released"
        ),
        "with DATA.RESIZE device it is not known in main memory which patches are black": (
            config.DATA.RESIZE == "device"
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise UserError(f"MODEL.DROP_BLACK True: {reason}; set it False, or change that")


def _check_balanced(config: CfgNode) -> None:
    """Raises UserError where an epoch cannot hold equally many videos of each class."""
    if config.DATA.SHUFFLE_BUFFER:
        raise UserError(
            "DATA.SAMPLER balanced: shards are read front to back (DATA.SHUFFLE_BUFFER), and so each video once; set "
            "DATA.SHUFFLE_BUFFER 0, with which videos in shards are read in any order, or DATA.SAMPLER shuffle"
        )
    if config.TRAIN.CACHE_FEATURES:
        raise UserError(
            "DATA.SAMPLER balanced: TRAIN.CACHE_FEATURES keeps draws of each video, and an epoch leaves some out and "
            "holds others several times; set TRAIN.CACHE_FEATURES False, or DATA.SAMPLER shuffle"
        )


def check_words(config: CfgNode) -> None:
    """Raises UserError where learnable tokens cannot start from the words of CTX_INIT or CTX_INIT_NO."""
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
