"""The image tower, split where the branches leave the trunk: stem, blocks, head."""

from __future__ import annotations

import numpy as np
import open_clip
import torch
from torch import Tensor, nn

from echoviewclip.clip.attention import AttentionBlock, own_block
from echoviewclip.clip.blocks import Blocks
from echoviewclip.clip.packing import ALL, Packing, SomeTokens
from echoviewclip.clip.pyramid import block_width


class ImageStem(nn.Module):
    """Frames [N, 3, H, W] → tokens [N, 1 + patches (+ prompts), width]: patches, class token, position, ln_pre.

    `prompts` learnable tokens follow the patch tokens and carry no position (ViFi-CLIP's vision prompts).
    """

    class_embedding: nn.Parameter
    positional_embedding: nn.Parameter

    def __init__(self, visual: open_clip.transformer.VisionTransformer, prompts: int = 0) -> None:
        super().__init__()
        self.conv1 = visual.conv1
        self.class_embedding = visual.class_embedding
        self.positional_embedding = visual.positional_embedding
        self.ln_pre = visual.ln_pre
        width = len(visual.class_embedding)
        self.prompts = nn.Parameter(0.02 * torch.randn(prompts, width)) if prompts else None

    def patches(self, frames: Tensor) -> Tensor:
        """The patch embedding alone, [N, patches, width]."""
        return self.conv1(frames).flatten(2).transpose(1, 2)

    def tokens(self, patches: Tensor, class_embedding: Tensor, positional_embedding: Tensor) -> Tensor:
        """Class token, position, prompts and ln_pre around the patch embedding."""
        count = patches.shape[0]
        start = class_embedding.to(patches.dtype).expand(count, 1, -1)
        tokens = torch.cat([start, patches], dim=1) + positional_embedding.to(patches.dtype)
        if self.prompts is not None:
            tokens = torch.cat([tokens, self.prompts.to(patches.dtype).expand(count, -1, -1)], dim=1)
        return self.ln_pre(tokens)

    def forward(self, frames: Tensor) -> Tensor:
        return self.tokens(self.patches(frames), self.class_embedding, self.positional_embedding)

    def lit_patches(self, lit: np.ndarray) -> np.ndarray:
        """The patches that have lit pixels, and at least the first: bool [B, H, W] → bool [B, patches]."""
        side = self.conv1.kernel_size[0]
        count, height, width = lit.shape
        patches = lit.reshape(count, height // side, side, width // side, side).any(axis=(2, 4)).reshape(count, -1)
        patches[~patches.any(axis=1), 0] = True
        return patches

    def packing(self, lit: np.ndarray | None, frames: int) -> Packing:
        """Which tokens are computed of B clips of `frames` frames, where `lit` are the pixels that are not black.

        `lit` is bool [B, H, W], None for all. It is an array, since it is in main memory: how many tokens there are is
        known without asking the device.
        """
        if lit is None:
            return ALL
        patches = self.lit_patches(lit)
        if patches.all():
            return ALL
        always = np.ones((len(lit), 1 if self.prompts is None else 1 + len(self.prompts)), bool)
        tokens = np.concatenate([always[:, :1], patches, always[:, 1:]], axis=1)
        return SomeTokens(tokens, frames, self.class_embedding.device)


def image_blocks(
    visual: open_clip.transformer.VisionTransformer,
    *,
    prompts: int = 0,
    prompt_depth: int = 0,
    drop_path_rate: float = 0.0,
    recompute: bool = False,
) -> Blocks:
    """All blocks of the image tower; layers 1 … `prompt_depth` − 1 get `prompts` learnable tokens of their own.

    `drop_path_rate` is the last block's, from which it falls linearly to 0 at the first; convolution blocks have none.
    """
    blocks = [own_block(block) for block in visual.transformer.resblocks]
    last = max(len(blocks) - 1, 1)
    deep = range(1, min(prompt_depth, len(blocks))) if prompts else ()
    return Blocks(
        blocks,
        prompts={i: nn.Parameter(0.02 * torch.randn(prompts, block_width(blocks[i]))) for i in deep},
        slot=slice(-prompts, None) if prompts else slice(0, 0),
        drop_path=[drop_path_rate * i / last * isinstance(block, AttentionBlock) for i, block in enumerate(blocks)],
        recompute=recompute,
    )
