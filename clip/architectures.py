"""The towers by name: the four of OpenAI's CLIP and a small one that trains on a CPU."""

from __future__ import annotations

import itertools

import open_clip
import torch
from torch import nn

from utils.errors import UserError

REGISTRY_NAME = {
    "ViT-B/32": "ViT-B-32",
    "ViT-B/16": "ViT-B-16",
    "ViT-L/14": "ViT-L-14",
    "ViT-L/14@336px": "ViT-L-14-336",
}

TINY = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 112, "layers": 6, "width": 192, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


class ConvStem(nn.Sequential):
    """Four strided 3×3 convolutions and a 1×1 in place of the 16×16 patch embedding of the `tiny` tower.

    [N, 3, H, W] → [N, width, H/16, W/16]. A vision transformer that starts from nothing learns much faster behind
    it (Xiao et al., "Early Convolutions Help Transformers See Better", 2021). Group norm rather than batch norm,
    so that a clip's features do not depend on its neighbours in the batch.
    """

    def __init__(self, width: int) -> None:
        layers: list[nn.Module] = []
        channels = [3, width // 8, width // 4, width // 2, width]
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(1, after), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(width, width, 1))


def build_towers(arch: str, image_size: int, quick_gelu: bool) -> open_clip.CLIP:
    """CLIP's two towers with random weights, for square images of `image_size` pixels.

    `quick_gelu` is the activation that OpenAI's weights were trained with (x·sigmoid(1.702·x)).
    Raises UserError for an unknown name or a size that the patches do not divide.
    """
    if arch == "tiny":
        config = {**TINY, "vision_cfg": dict(TINY["vision_cfg"])}
    elif arch in REGISTRY_NAME:
        config = open_clip.get_model_config(REGISTRY_NAME[arch])
    else:
        raise UserError(f"MODEL.ARCH: unknown architecture {arch!r}; known: tiny, {', '.join(REGISTRY_NAME)}")
    patch = config["vision_cfg"]["patch_size"]
    if image_size % patch:
        raise UserError(f"DATA.INPUT_SIZE {image_size} is not a multiple of {patch}, the patch size of {arch}")
    config["vision_cfg"]["image_size"] = image_size
    config["quick_gelu"] = quick_gelu
    towers = open_clip.CLIP(**config)
    if arch == "tiny":
        towers.visual.conv1 = ConvStem(config["vision_cfg"]["width"])
    _initialise_vision(towers.visual)
    return towers


def _initialise_vision(visual: nn.Module) -> None:
    """Scales the blocks' weights as CLIP's text tower does; open_clip leaves the image tower at torch's defaults."""
    width, layers = visual.transformer.width, visual.transformer.layers
    with torch.no_grad():
        for block in visual.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
