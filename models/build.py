"""From a configuration and the class names to the model of its stage."""

from __future__ import annotations

from collections.abc import Sequence

import open_clip
from torch import Tensor, nn
from yacs.config import CfgNode

from clip.image import ImageStem, image_blocks
from clip.text import ClassPrompts, TextTower, end_of_text, fill, fixed_prompts, learnable_prompts, tokenize
from clip.weights import load_towers
from models.branch import ImageBranch, TextBranch, opposite
from models.released import ReleasedNegativeText, ReleasedVideoCLIP
from models.video_clip import VideoCLIP
from utils.errors import UserError

TEMPLATES = {
    "paper": ("This ultrasound video is an {view} view.", "This ultrasound video does not show an {view} view."),
    "released": ("a photo of a", "a photo without a"),
}


def build_model(
    config: CfgNode, views: Sequence[str], towers: open_clip.CLIP | None = None, overwritten: bool = False
) -> VideoCLIP:
    """The model of `config.STAGE`: positive branch, from `negation` on the negative one, for `quality` its head too.

    `towers` stand in for those that MODEL.ARCH and MODEL.PRETRAINED name; the pretrained weights are not loaded, and
    need not be at hand, where a checkpoint will replace them all (`overwritten`). Raises UserError.
    """
    prompted = config.TRAINER.ViFi_CLIP
    released = config.MODEL.VARIANT == "released"
    if towers is None:
        towers = load_towers(
            config.MODEL.ARCH,
            config.MODEL.PRETRAINED,
            config.DATA.INPUT_SIZE,
            config.MODEL.QUICK_GELU,
            overwritten=overwritten,
        )
    vision_prompts = prompted.N_CTX_VISION if prompted.PROMPT_MODEL and prompted.PROMPT_DEPTH_VISION else 0
    blocks = image_blocks(
        towers.visual,
        prompts=vision_prompts,
        prompt_depth=prompted.PROMPT_DEPTH_VISION,
        drop_path_rate=config.MODEL.DROP_PATH_RATE,
        recompute=config.TRAIN.USE_CHECKPOINT,
    )
    if not 0 <= config.MODEL.SHARED_BLOCKS < len(blocks.blocks):
        raise UserError(
            f"MODEL.SHARED_BLOCKS {config.MODEL.SHARED_BLOCKS}: {config.MODEL.ARCH} has {len(blocks.blocks)} blocks, "
            f"of which each branch keeps at least one; set it to 0 … {len(blocks.blocks) - 1}"
        )
    trunk, last = blocks.split(config.MODEL.SHARED_BLOCKS)
    parts = (
        ImageStem(towers.visual, vision_prompts),
        trunk,
        ImageBranch(
            last, towers.visual.ln_post, towers.visual.proj, config.MODEL.POOLING, towers.visual.pool_type == "tok"
        ),
    )
    # The published quality model carries no text: it answers quality alone.
    texts = None if released and config.STAGE == "quality" else _text_branches(config, views, towers)
    positive_text = texts[0] if texts else None
    if released:
        model = ReleasedVideoCLIP(*parts, positive_text, towers.logit_scale, frames=config.DATA.NUM_FRAMES)
    else:
        model = VideoCLIP(*parts, positive_text, towers.logit_scale)
    if config.STAGE in ("negation", "quality"):
        model.add_negative(texts[1]() if texts else None)
    if config.STAGE == "quality" and released:
        model.add_quality(config.DATA.NUM_QUALITIES)
    elif config.STAGE == "quality":
        seen = len(views) if config.MODEL.QUALITY_VIEWS else 0
        model.add_quality(config.DATA.NUM_QUALITIES, config.MODEL.QUALITY_HEAD, seen)
    return model


def _text_branches(config: CfgNode, views: Sequence[str], towers: open_clip.CLIP):
    """The positive text branch, and a function that makes the negative one."""
    prompted = config.TRAINER.ViFi_CLIP
    released = config.MODEL.VARIANT == "released"
    table = towers.token_embedding
    prompts = class_prompts(config, views, table, negative=False)
    prompts_no = class_prompts(config, views, table, negative=True)
    if released:
        # The negative tower reads these prompts up to the end of the negative ones.
        length = int(max(prompts.end.max(), prompts_no.end.max())) + 1
        prompts = ClassPrompts(prompts.token_ids, table, _data(prompts.context), length)
    tower = TextTower(
        towers,
        prompts=prompted.N_CTX_TEXT if prompted.PROMPT_MODEL else 0,
        prompt_depth=prompted.PROMPT_DEPTH_TEXT,
        recompute=config.TRAIN.USE_CHECKPOINT,
    )
    positive = TextBranch(prompts, tower)

    def negative() -> TextBranch:
        if released:
            return ReleasedNegativeText(positive, end_of_text(prompts_no.token_ids))
        return TextBranch(prompts_no, opposite(tower))

    return positive, negative


def class_prompts(config: CfgNode, views: Sequence[str], table: nn.Embedding, negative: bool) -> ClassPrompts:
    """The positive or negative prompts of all views, as MODEL.VARIANT and TRAINER.ViFi_CLIP say."""
    prompted = config.TRAINER.ViFi_CLIP
    words = prompted.CTX_INIT_NO if negative else prompted.CTX_INIT
    if prompted.ZS_EVAL and not negative:
        return fixed_prompts(views, "{view}", table)
    if prompted.PROMPT_MODEL:
        return learnable_prompts(views, words or TEMPLATES["released"][negative], prompted.N_CTX_TEXT, table)
    template = words or TEMPLATES[config.MODEL.VARIANT][negative]
    if config.MODEL.VARIANT == "released":
        template = template.replace("_", " ")
    else:
        views = [view.replace("_", " ") for view in views]
    return ClassPrompts(tokenize(fill(template, views)), table)


def _data(context: nn.Parameter | None) -> Tensor | None:
    return None if context is None else context.data
