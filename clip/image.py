"""The image tower, split where the branches leave the trunk: stem, blocks, head."""

from __future__ import annotations

import open_clip
import torch
from torch import Tensor, nn

from echoviewclip.clip.attention import AttentionBlock, own_block
from echoviewclip.clip.blocks import Blocks
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
