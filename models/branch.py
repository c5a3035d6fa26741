"""What leaves the trunk: an image branch with its pooling, a text branch with its prompts."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoviewclip.clip.blocks import Blocks, own_copy
from echoviewclip.clip.packing import ALL, Packing
from echoviewclip.clip.text import ClassPrompts, TextTower


class ImageBranch(nn.Module):
    """The last blocks of the image tower, ln_post, projection and temporal pooling."""

    def __init__(
        self,
        blocks: Blocks,
        ln_post: nn.Module,
        projection: nn.Parameter,
        pooling: nn.Module,
        class_token: bool = True,
    ) -> None:
        """`pooling`, over time, is one of `models.pooling`; a frame's feature is that of its class token, or else the
        mean of its other tokens."""
        super().__init__()
        self.class_token = class_token
        self.blocks = blocks
        self.ln_post = ln_post
        self.projection = projection
        self.pooling = pooling

    def frame_features(self, tokens: Tensor, batch: int, packing: Packing = ALL) -> Tensor:
        """Tokens of the trunk [B·T, L, width], of which those of `packing` are computed → frame features [B, T, D],
        not normalised."""
        return self.encode(tokens, batch, packing=packing)[0]

    def encode(
        self, tokens: Tensor, batch: int, indices: Collection[int] = (), packing: Packing = ALL
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """As `frame_features`, and by index the tokens [B·T, L', width'] after the branch's blocks `indices`, from
        0."""
        last, intermediates = self.blocks.forward_intermediates(tokens, indices=indices, clips=batch, packing=packing)
        frames = last[:, 0] if self.class_token else last[:, 1:].mean(dim=1)
        return (self.ln_post(frames) @ self.projection).unflatten(0, (batch, -1)), intermediates

    def copy(self) -> ImageBranch:
        """A branch of its own with the same weights: how a stage adds one."""
        return own_copy(self)


class TextBranch(nn.Module):
    """Class prompts and the tower that reads them: L2-normalised text features float32 [K, D]."""

    def __init__(self, prompts: ClassPrompts, tower: TextTower) -> None:
        super().__init__()
        self.prompts = prompts
        self.tower = tower

    def forward(self) -> Tensor:
        return F.normalize(self.tower(self.prompts(), self.prompts.end).float(), dim=-1)


def opposite(tower: TextTower) -> TextTower:
    """A copy of a text tower that points the other way: where the negative text starts from.

    What says "does not show c" is then as far from "shows c" as can be, which is what the text-semantic-opposite loss
    wants, and the negative branch denies least what the positive one sees, before a step is made.
    """
    copy = own_copy(tower)
    with torch.no_grad():
        copy.text_projection.neg_()
    return copy
