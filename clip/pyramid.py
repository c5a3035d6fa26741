"""The image side of the `tiny` tower: a pyramid of convolutions with a transformer block on top.

A vision transformer that starts from nothing needs far more videos than a small machine can show it; convolutions see
at once that neighbouring pixels belong together (docs/results.md measures both). Its blocks take and give tokens as
those of a vision transformer do, so that trunk and branches split it anywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

PATCH = 4  # pixels along a side
WIDTHS = (32, 64, 128, 256)  # of the patches, and after each convolution block, which halves the sides
HEADS, MLP_RATIO = 4, 2.0  # of the transformer block


class ConvolutionBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut (He et al., 2016), the first with stride 2, on the patch tokens.

    Tokens [N, 1 + side² (+ prompts), before] → [N, 1 + ⌈side/2⌉² (+ prompts), after]. Class token and prompts pass by
    the shortcut's weights alone. Starts as the shortcut. Batch norm, since with group norm a thousand dark pictures
    that differ in details are learned several times more slowly. With `centred` one more takes out what all pictures
    have in common, which would be most of every feature.
    """

    def __init__(self, before: int, after: int, side: int, centred: bool = False) -> None:
        super().__init__()
        self.side, self.width = side, before
        self.conv1 = nn.Conv2d(before, after, 3, 2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        nn.init.zeros_(self.norm2.weight)
        self.shortcut = nn.Conv2d(before, after, 1, 2, bias=False)
        self.centre = nn.BatchNorm2d(after) if centred else nn.Identity()

    def forward(self, tokens: Tensor, attn_mask: None = None) -> Tensor:
        """`attn_mask` is a transformer block's argument; here there is no attention."""
        first, patches, prompts = tokens.tensor_split((1, 1 + self.side**2), dim=1)
        grid = patches.transpose(1, 2).unflatten(2, (self.side, self.side))
        inner = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(grid)))))
        grid = self.centre(F.relu(self.shortcut(grid) + inner))
        along = [self._along(rest) for rest in (first, prompts)]
        return torch.cat([along[0].to(grid.dtype), grid.flatten(2).transpose(1, 2), along[1].to(grid.dtype)], dim=1)

    def _along(self, rest: Tensor) -> Tensor:
        """Tokens beside the grid, [N, R, before] → [N, R, after]; as one product of two matrices, since how PyTorch
        multiplies three dimensions depends on whether the weights train, and the last digits with it."""
        return F.linear(rest.flatten(0, 1), self.shortcut.weight[:, :, 0, 0]).unflatten(0, rest.shape[:2])


def make_pyramid(visual: VisionTransformer, image_size: int) -> None:
    """Replaces the parts of a vision transformer of patches of `PATCH` pixels and width `WIDTHS[0]`."""
    top, embed_dim = WIDTHS[-1], visual.proj.shape[1]
    visual.conv1 = nn.Sequential(
        nn.Conv2d(3, WIDTHS[0], PATCH, PATCH, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU(inplace=True)
    )
    nn.init.zeros_(visual.positional_embedding)
    side, blocks = image_size // PATCH, nn.ModuleList()
    for before, after in itertools.pairwise(WIDTHS):
        blocks.append(ConvolutionBlock(before, after, side, centred=after == top))
        side = -(-side // 2)
    blocks.append(ResidualAttentionBlock(top, HEADS, MLP_RATIO))
    visual.transformer.resblocks, visual.transformer.layers = blocks, len(blocks)
    visual.ln_post = nn.LayerNorm(top)
    visual.proj = nn.Parameter(top**-0.5 * torch.randn(top, embed_dim))


def start_as_identity(blocks: Iterable[nn.Module]) -> None:
    """Zeroes what the transformer blocks add: features begin as means over the convolutions' output."""
    for block in blocks:
        if isinstance(block, ResidualAttentionBlock):
            for last in (block.attn.out_proj, block.mlp.c_proj):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)


def block_width(block: nn.Module) -> int:
    """Width of the tokens that a block of either kind takes."""
    return block.width if isinstance(block, ConvolutionBlock) else len(block.get_parameter("ln_1.weight"))
