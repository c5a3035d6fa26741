"""The towers by name: the four of OpenAI's CLIP and a small one that trains on a CPU."""

from __future__ import annotations

import open_clip
import torch
import torch.nn.functional as F
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
    "vision_cfg": {
        "image_size": 112,
        "layers": 4,
        "width": 128,
        "head_width": 32,
        "patch_size": 16,
        "no_ln_pre": True,
        "pool_type": "avg",
        "final_ln_after_pool": True,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


class ConvStem(nn.Sequential):
    """A small residual network in place of the 16×16 patch embedding of the `tiny` tower.

    [N, 3, H, W] → [N, width, H/16, W/16]. A vision transformer that starts from nothing learns much faster behind
    convolutions (Xiao et al., "Early Convolutions Help Transformers See Better", 2021). Batch norm, since with group
    norm a thousand dark pictures that differ in details are learned several times more slowly (docs/results.md).
    """

    def __init__(self, width: int) -> None:
        patches = nn.Conv2d(3, width // 4, 4, 4, bias=False)
        first = [patches, nn.BatchNorm2d(width // 4), nn.ReLU(inplace=True)]
        sides = ((width // 4, width // 2, 2), (width // 2, width, 2), (width, width, 1))
        blocks = [ResidualBlock(before, after, stride) for before, after, stride in sides]
        # The last norm takes out what all pictures have in common, which would be most of every feature.
        super().__init__(*first, *blocks, nn.BatchNorm2d(width))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut (He et al., 2016); starts as the shortcut alone."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        nn.init.zeros_(self.norm2.weight)
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, before, H, W] → [N, after, H/stride, W/stride]."""
        inner = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(self.shortcut(x) + inner)


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
    _initialise_vision(towers.visual)
    if arch == "tiny":
        _make_small(towers.visual)
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


def _make_small(visual: nn.Module) -> None:
    """Gives the `tiny` tower its stem, and blocks that begin as the identity.

    So features begin as means over the stem's output, as a convolutional network's do, and need few videos to move.
    """
    visual.conv1 = ConvStem(visual.transformer.width)
    nn.init.zeros_(visual.positional_embedding)
    for block in visual.transformer.resblocks:
        for last in (block.attn.out_proj, block.mlp.c_proj):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
