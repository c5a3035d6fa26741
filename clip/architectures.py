"""The towers by name: the four of OpenAI's CLIP and a small one that trains on a CPU."""

from __future__ import annotations

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
    "vision_cfg": {"image_size": 112, "layers": 4, "width": 128, "head_width": 32, "patch_size": 16, "no_ln_pre": True},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


class ConvStem(nn.Sequential):
    """A 4×4 patch embedding and three 3×3 convolutions in place of the 16×16 patch embedding of the `tiny` tower.

    [N, 3, H, W] → [N, width, H/16, W/16]. A vision transformer that starts from nothing learns much faster behind
    convolutions (Xiao et al., "Early Convolutions Help Transformers See Better", 2021). Group norm rather than batch
    norm, so that a clip's features do not depend on its neighbours in the batch.
    """

    def __init__(self, width: int) -> None:
        half = width // 2
        layers: list[nn.Module] = []
        for before, after, side, stride in ((3, half, 4, 4), (half, width, 3, 2), (width, width, 3, 1)):
            conv = nn.Conv2d(before, after, side, stride, padding=1 if side == 3 else 0, bias=False)
            layers += [conv, nn.GroupNorm(8, after), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Conv2d(width, width, 3, 2, padding=1))


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
