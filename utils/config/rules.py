"""When keys have no effect: rules that several sections share."""

from __future__ import annotations

from yacs.config import CfgNode

from echoviewclip.utils.config.key import NoEffect


def has_text(config: CfgNode) -> bool:
    """Whether the model reads text: all but the released quality model."""
    return config.STAGE != "quality" or config.MODEL.VARIANT != "released"


def text_trains(config: CfgNode) -> bool:
    """Whether a text tower trains."""
    return config.STAGE == "negation" or (config.STAGE == "view" and config.TRAINER.ViFi_CLIP.USE != "image")


def image_blocks_train(config: CfgNode) -> bool:
    """Whether a block of the image tower trains, or lies above prompt tokens that do."""
    prompted = config.TRAINER.ViFi_CLIP
    if config.STAGE == "quality":
        return config.MODEL.VARIANT != "released"
    frozen = config.STAGE == "view" and prompted.USE == "text"
    first_trained = config.MODEL.SHARED_BLOCKS if config.STAGE == "negation" else 1
    return not frozen and (not prompted.PROMPT_MODEL or first_trained < prompted.PROMPT_DEPTH_VISION)


def learns_tokens(config: CfgNode) -> bool:
    """Whether prompt tokens are learned."""
    return config.TRAINER.ViFi_CLIP.PROMPT_MODEL


NOT_NEGATION = NoEffect(lambda c: c.STAGE != "negation", "it belongs to stage negation", "the stage is not negation")
NOT_QUALITY = NoEffect(lambda c: c.STAGE != "quality", "it belongs to stage quality", "the stage is not quality")
NO_TEXT = NoEffect(
    lambda c: not has_text(c), "this model reads no text", "the stage is quality and `MODEL.VARIANT` is released"
)
