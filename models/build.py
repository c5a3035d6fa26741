"""From a configuration and the class names to the model of its stage."""

from __future__ import annotations

from collections.abc import Sequence

import open_clip
from torch import Tensor, nn
from yacs.config import CfgNode

from echoviewclip.clip.image import ImageStem, image_blocks
from echoviewclip.clip.text import ClassPrompts, TextTower, fill, learnable_prompts, learnable_texts, tokenize
from echoviewclip.clip.weights import load_towers
from echoviewclip.models.branch import ImageBranch, TextBranch
from echoviewclip.models.paper import PaperVideoCLIP
from echoviewclip.models.pooling import POOLINGS
from echoviewclip.models.released import ReleasedVideoCLIP
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.errors import UserError

TEMPLATES = {
    "paper": ("This ultrasound video is an {view} view.", "This ultrasound video does not show an {view} view."),
    "released": ("a photo of a", "a photo without a"),
}


def configured_towers(config: CfgNode, overwritten: bool = False) -> open_clip.CLIP:
    """The towers that MODEL.ARCH and MODEL.PRETRAINED name; `overwritten` as for `load_towers`. Raises UserError."""
    model = config.MODEL
    return load_towers(model.ARCH, model.PRETRAINED, config.DATA.INPUT_SIZE, model.QUICK_GELU, overwritten=overwritten)


def build_model(config: CfgNode, views: Sequence[str], towers: open_clip.CLIP) -> VideoCLIP:
    """The model of `config.STAGE`: positive branch, from `negation` on the negative one, for `quality` its head too.

    It takes `towers` (`configured_towers`) apart and looks the prompts up in their token table. Raises UserError.
    """
    prompted = config.TRAINER.ViFi_CLIP
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
            *(last, towers.visual.ln_post, towers.visual.proj),
            POOLINGS[config.MODEL.POOLING](towers.visual.proj.shape[1]),
            class_token=towers.visual.pool_type == "tok",
        ),
    )
    text, prompts_no = _texts(config, views, towers) if has_text(config) else (None, None)
    model: ReleasedVideoCLIP | PaperVideoCLIP
    if config.MODEL.VARIANT == "released":
        model = ReleasedVideoCLIP(*parts, text, towers.logit_scale, frames=config.DATA.NUM_FRAMES)
    else:
        model = PaperVideoCLIP(*parts, text, towers.logit_scale)
    if config.STAGE in ("negation", "quality"):
        model.add_negative(prompts_no)
    if config.STAGE == "quality":
        if isinstance(model, ReleasedVideoCLIP):
            model.add_quality(config.DATA.NUM_QUALITIES)
        else:
            seen = len(views) if config.MODEL.QUALITY_VIEWS else 0
            defects = len(config.MODEL.DEFECTS)
            model.add_quality(config.DATA.NUM_QUALITIES, config.MODEL.QUALITY_HEAD, seen, defects)
    return model


def has_text(config: CfgNode) -> bool:
    """Whether the model reads prompts; the published quality model carries no text and answers quality alone."""
    return not (config.MODEL.VARIANT == "released" and config.STAGE == "quality")


def _texts(config: CfgNode, views: Sequence[str], towers: open_clip.CLIP) -> tuple[TextBranch, ClassPrompts]:
    """The positive text branch, and the prompts of the negative one."""
    prompted = config.TRAINER.ViFi_CLIP
    table = towers.token_embedding
    prompts = class_prompts(config, views, table, negative=False)
    prompts_no = class_prompts(config, views, table, negative=True)
    if config.MODEL.VARIANT == "released":
        # The negative tower reads these prompts up to the end of the negative ones.
        length = int(max(prompts.end.max(), prompts_no.end.max())) + 1
        prompts = ClassPrompts(prompts.token_ids, table, _data(prompts.context), length)
    tower = TextTower(
        towers,
        prompts=prompted.N_CTX_TEXT if prompted.PROMPT_MODEL else 0,
        prompt_depth=prompted.PROMPT_DEPTH_TEXT,
        recompute=config.TRAIN.USE_CHECKPOINT,
    )
    return TextBranch(prompts, tower), prompts_no


def class_prompts(config: CfgNode, views: Sequence[str], table: nn.Embedding, negative: bool) -> ClassPrompts:
    """The positive or negative prompts of all views, as MODEL.VARIANT and TRAINER.ViFi_CLIP say."""
    prompted = config.TRAINER.ViFi_CLIP
    if prompted.PROMPT_MODEL and not _zero_shot(config, negative):
        return learnable_prompts(views, _words(config, negative), prompted.N_CTX_TEXT, table)
    return ClassPrompts(tokenize(prompt_texts(config, views, negative)), table)


def prompt_texts(config: CfgNode, views: Sequence[str], negative: bool) -> list[str]:
    """What `class_prompts` tokenises, a text for each view."""
    prompted = config.TRAINER.ViFi_CLIP
    if _zero_shot(config, negative):
        return list(views)
    words = _words(config, negative)
    if prompted.PROMPT_MODEL:
        return learnable_texts(views, words, prompted.N_CTX_TEXT)
    if config.MODEL.VARIANT == "released":
        return fill(words.replace("_", " "), views)
    return fill(words, [view.replace("_", " ") for view in views])


def _zero_shot(config: CfgNode, negative: bool) -> bool:
    """Whether the prompts are the bare class names."""
    return config.TRAINER.ViFi_CLIP.ZS_EVAL and not negative


def _words(config: CfgNode, negative: bool) -> str:
    """The words or template of the prompts: those of the configuration, else the variant's own."""
    prompted = config.TRAINER.ViFi_CLIP
    own = TEMPLATES["released" if prompted.PROMPT_MODEL else config.MODEL.VARIANT]
    return (prompted.CTX_INIT_NO if negative else prompted.CTX_INIT) or own[negative]


def _data(context: nn.Parameter | None) -> Tensor | None:
    return None if context is None else context.data
