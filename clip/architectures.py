"""The towers by name: the four of OpenAI's CLIP, and two small ones that train on a CPU."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn

from echoviewclip.clip.pyramid import PATCH, WIDTHS, block_width, make_pyramid, start_as_identity
from echoviewclip.utils.errors import UserError

REGISTRY_NAME = {
    "ViT-B/32": "ViT-B-32",
    "ViT-B/16": "ViT-B-16",
    "ViT-L/14": "ViT-L-14",
    "ViT-L/14@336px": "ViT-L-14-336",
}

TINY: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {
        "image_size": 112,
        "layers": 1,  # make_pyramid replaces them
        "width": WIDTHS[0],
        "head_width": WIDTHS[0],
        "patch_size": PATCH,
        "no_ln_pre": True,
        "pool_type": "avg",
        "final_ln_after_pool": True,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}

# Four blocks of a vision transformer, for trying out on a CPU what a pyramid of convolutions cannot do (DROP_BLACK).
VIT_TINY: dict[str, Any] = {
    **TINY,
    "vision_cfg": {"image_size": 112, "layers": 4, "width": 128, "head_width": 32, "patch_size": 16},
}
SMALL = {"tiny": TINY, "ViT-tiny/16": VIT_TINY}


def build_towers(arch: str, image_size: int, quick_gelu: bool) -> open_clip.CLIP:
    """CLIP's two towers with random weights, for square images of `image_size` pixels.

    `quick_gelu` is the activation that OpenAI's weights were trained with (x·sigmoid(1.702·x)).
    Raises UserError for an unknown name or a size that the patches do not divide.
    """
    if arch in SMALL:
        config = {**SMALL[arch], "vision_cfg": dict(SMALL[arch]["vision_cfg"])}
    elif arch in REGISTRY_NAME:
        config = open_clip.get_model_config(REGISTRY_NAME[arch])
    else:
        raise UserError(f"MODEL.ARCH: unknown architecture {arch!r}; known: {', '.join((*SMALL, *REGISTRY_NAME))}")
    patch = config["vision_cfg"]["patch_size"]
    if image_size % patch:
        raise UserError(f"DATA.INPUT_SIZE {image_size} is not a multiple of {patch}, the patch size of {arch}")
    config["vision_cfg"]["image_size"] = image_size
    config["quick_gelu"] = quick_gelu
    towers = open_clip.CLIP(**config)
    if arch == "tiny":
        make_pyramid(towers.visual, image_size)
    _initialise_vision(towers.visual)
    if arch == "tiny":
        start_as_identity(towers.visual.transformer.resblocks)
    return towers


def _initialise_vision(visual: VisionTransformer) -> None:
    """Scales the blocks' weights as CLIP's text tower does; open_clip leaves the image tower at torch's defaults."""
    layers = len(visual.transformer.resblocks)
    with torch.no_grad():
        for block in visual.transformer.resblocks:
            if not isinstance(block, ResidualAttentionBlock):
                continue
            width = block_width(block)
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
