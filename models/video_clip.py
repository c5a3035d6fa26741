"""The model that grows: a trunk, a positive branch, then a negative one, then a quality one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import TypeGuard

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoviewclip.clip.blocks import Blocks
from echoviewclip.clip.image import ImageStem
from echoviewclip.clip.packing import ALL, Packing
from echoviewclip.clip.text import ClassPrompts
from echoviewclip.models.branch import ImageBranch, TextBranch
from echoviewclip.models.outputs import (
    NO_TEXTS,
    BranchOutput,
    ClassTexts,
    FrameFeatures,
    FrozenFeatures,
    ModelOutput,
    present,
)
from echoviewclip.models.quality import QualityBranch
from echoviewclip.utils.exact import exact_products

INTERMEDIATE_SIZE = 512  # numbers at most that a block's patches become, unless the block itself is wider


class VideoCLIP(nn.Module, ABC):
    """Video-CLIP, what its variants have in common. Parts that a stage has not added yet are None.

    Features are L2-normalised float32. In evaluation mode the positive part also gives the intermediate features that
    the scores by distance look at (`intermediate_blocks`).
    """

    def __init__(
        self,
        stem: ImageStem,
        trunk: Blocks,
        positive: ImageBranch,
        positive_text: TextBranch | None,
        logit_scale: nn.Parameter,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.trunk = trunk
        self.positive = positive
        self.positive_text = positive_text
        self.logit_scale = logit_scale
        self.negative: ImageBranch | None = None
        self.negative_text: nn.Module | None = None
        self.quality: nn.Module | None = None
        self.untrained: tuple[str, ...] = ()  # parts that nobody has trained and that do not answer

    @abstractmethod
    def add_negative(self, prompts: ClassPrompts | None) -> None:
        """Adds the negative branch, which starts from the positive one, and where there are `prompts` its text."""

    @abstractmethod
    def restart_branch(self, part: str) -> None:
        """Starts a branch that a checkpoint did not hold from the positive one, whose weights came with it."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What the model can answer."""
        has = {"positive": True, "negative": self.negative is not None, "quality": self.quality is not None}
        return tuple(part for part, there in has.items() if there and part not in self.untrained)

    def encode_texts(self, parts: Collection[str], known: ClassTexts = NO_TEXTS, frozen: bool = False) -> ClassTexts:
        """The class texts that `parts` are compared with; with `frozen` only those that nothing trains.

        They depend on no video: whoever asks about many computes them once and gives them to `forward`. Those that are
        `known` are not computed again.
        """
        positive, negative = known
        sees_views = isinstance(self.quality, QualityBranch) and self.quality.views > 0
        reads = "positive" in parts or "negative" in parts or ("quality" in parts and sees_views)
        if positive is None and reads and _readable(self.positive_text, frozen):
            positive = self.positive_text()
        if negative is None and "negative" in parts and _readable(self.negative_text, frozen):
            negative = self._read_negative()
        return ClassTexts(positive, negative)

    @abstractmethod
    def _read_negative(self) -> Tensor:
        """The negative class texts."""

    def forward(
        self,
        video: Tensor | FrozenFeatures,
        parts: Collection[str],
        texts: ClassTexts = NO_TEXTS,
        lit: np.ndarray | None = None,
    ) -> ModelOutput:
        """Normalised clips [B, T, 3, H, W] → what `parts` (of `self.parts`) answer; in their place may stand what
        `encode_frozen` has computed for the same parts.

        `texts` are those that are known already (`encode_texts`); the others are computed. With `lit`, bool [B, H, W]
        in main memory, the pixels that are not black in every frame, patches that have none of them are left out
        (MODEL.DROP_BLACK): what is said of a clip is the same in any batch.
        """
        if isinstance(video, FrozenFeatures):
            return self.forward_from(video, parts, texts, self.stem.packing(lit, video.frames))
        packing = self.stem.packing(lit, video.shape[1])
        features, intermediates = self._encode(video, parts, packing)
        return self.forward_from(features, parts, texts, packing)._replace(intermediates=intermediates)

    @property
    def image_frozen(self) -> bool:
        """Whether nothing of the trunk and of the positive branch trains."""
        return all(map(is_frozen, (self.stem, self.trunk, self.positive)))

    @torch.no_grad()
    def encode_frozen(self, video: Tensor, parts: Collection[str], lit: np.ndarray | None = None) -> FrozenFeatures:
        """What the frozen image parts compute from clips [B, T, 3, H, W], as far as `parts` go on from it.

        `lit` as for `forward`; tokens that it leaves out are 0.
        Raises ValueError where the trunk or the positive branch trains (`image_frozen`).
        """
        if not self.image_frozen:
            raise ValueError("the trunk or the positive branch trains")
        packing = self.stem.packing(lit, video.shape[1])
        features, _ = self._encode(video, parts, packing)
        asked = "negative" in parts or "quality" in parts
        return FrozenFeatures(
            features.tokens if self._starts_from_tokens(parts) else None,
            features.positive,
            self._negative_frames(features, packing) if asked and not self._negative_trains else None,
        )

    @torch.no_grad()
    def encode_frames(self, frames: Tensor, parts: Collection[str], lit: np.ndarray | None = None) -> FrameFeatures:
        """What `parts` see in normalised frames [N, 3, H, W], each alone: no block looks from one frame to another.

        `lit`, bool [N, H, W], are for each frame the pixels that are lit in any frame of its clip (`forward`).
        """
        packing = self.stem.packing(lit, 1)
        features, intermediates = self._encode(frames.unsqueeze(1), ("positive", *parts), packing)
        negative = quality = None
        if "negative" in parts or "quality" in parts:
            negative = self._negative_frames(features, packing).squeeze(1)
        if "quality" in parts and (of_branch := self._quality_frames(features, packing)) is not None:
            quality = of_branch.squeeze(1)
        return FrameFeatures(present(features.positive).squeeze(1), negative, quality, intermediates)

    @torch.no_grad()
    def answer_from_frames(self, frames: FrameFeatures, parts: Collection[str], texts: ClassTexts) -> ModelOutput:
        """`forward` of the one clip that T frames make, from what `encode_frames` saw in them."""
        positive, negative, quality = (None if part is None else part.unsqueeze(0) for part in frames[:3])
        output = self.forward_from(FrozenFeatures(None, positive, negative, quality), parts, texts)
        return output._replace(
            intermediates={block: part.mean(dim=0, keepdim=True) for block, part in frames.intermediates.items()}
        )

    @property
    def _negative_trains(self) -> bool:
        return self.negative is not None and not is_frozen(self.negative)

    @abstractmethod
    def _starts_from_tokens(self, parts: Collection[str]) -> bool:
        """Whether an image branch of `parts` trains, and so has to see the trunk's tokens."""

    @abstractmethod
    def _encode(
        self, video: Tensor, parts: Collection[str], packing: Packing
    ) -> tuple[FrozenFeatures, dict[int, Tensor]]:
        """The trunk's tokens and, where `parts` need them, the positive frame features of clips [B, T, 3, H, W].

        In evaluation mode with the positive part also the intermediate features, by block.
        """

    def _negative_frames(self, features: FrozenFeatures, packing: Packing = ALL) -> Tensor:
        """Frame features [B, T, D] of the negative branch, those that are there or of the trunk's tokens."""
        if features.negative is not None:
            return features.negative
        assert self.negative is not None
        return self.negative.frame_features(present(features.tokens).flatten(0, 1), features.clips, packing)

    @abstractmethod
    def _quality_frames(self, features: FrozenFeatures, packing: Packing = ALL) -> Tensor | None:
        """Frame features [B, T, D] of the quality branch; None where it has no branch of its own."""

    @abstractmethod
    def forward_from(
        self,
        features: FrozenFeatures,
        parts: Collection[str],
        texts: ClassTexts = NO_TEXTS,
        packing: Packing = ALL,
    ) -> ModelOutput:
        """`forward` from what `encode_frozen` has computed for the same `parts`; without intermediate features.

        `packing` says which of its tokens were computed.
        """

    @property
    def intermediate_blocks(self) -> tuple[list[int], list[int]]:
        """The blocks whose patches the scores by distance look at: indices in the trunk, and in the positive branch.

        The tower's first block, the one at two thirds of its depth, and the next, wherever the branches leave the
        trunk; none in training mode. Later blocks drop much of what tells that a video shows none of the views.
        """
        shared = len(self.trunk.blocks)
        depth = shared + len(self.positive.blocks.blocks)
        late = max(1, 2 * depth // 3)
        blocks = [] if self.training else [i for i in sorted({0, late - 1, late}) if i < depth]
        return [i for i in blocks if i < shared], [i - shared for i in blocks if i >= shared]

    def _intermediate(
        self, in_trunk: dict[int, Tensor], in_branch: dict[int, Tensor], batch: int, packing: Packing
    ) -> dict[int, Tensor]:
        """Intermediate features [B, S] of the tokens [B·T, L, width] after blocks of the trunk and of the branch."""
        after = in_trunk | {len(self.trunk.blocks) + i: tokens for i, tokens in in_branch.items()}
        return {i + 1: self._patch_means(tokens, batch, packing) for i, tokens in after.items()}

    def _patch_means(self, tokens: Tensor, batch: int, packing: Packing) -> Tensor:
        """Patches averaged over time and over as many places of the picture as INTERMEDIATE_SIZE allows, [B, S].

        The mean is that of the patches that were computed; a place without any has 0.
        """
        places = max(1, math.isqrt(INTERMEDIATE_SIZE // tokens.shape[-1]))
        grid = F.adaptive_avg_pool2d(self._on_grid(tokens.float()), places)
        if packing.kept is not None:
            share = F.adaptive_avg_pool2d(self._on_grid(packing.kept[:, :, None]), places)
            grid = grid / torch.where(share > 0, share, 1)
        return grid.flatten(1).unflatten(0, (batch, -1)).mean(dim=1)

    def _on_grid(self, tokens: Tensor) -> Tensor:
        """The patches among tokens [N, L, S] where they lie in the picture, [N, S, side, side]."""
        prompts = 0 if self.stem.prompts is None else len(self.stem.prompts)
        patches = tokens[:, 1 : tokens.shape[1] - prompts].transpose(1, 2)
        side = math.isqrt(patches.shape[-1])
        return patches.unflatten(2, (side, side))

    def _compare(self, features: Tensor, weights: Tensor, classes: Tensor | None) -> BranchOutput:
        """A branch's video features [B, D] against class texts [K, D]."""
        features = F.normalize(features.float(), dim=-1)
        if classes is None:
            return BranchOutput(features, weights.float())
        return BranchOutput(features, weights.float(), *self._cosines_and_logits(features, classes))

    def _cosines_and_logits(self, features: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Both [B, K], of features float32 [B, D] and class texts [K, D], L2-normalised."""
        # In float32 under autocast, too: half precision rounds cosines to steps of 1/256.
        with torch.autocast(features.device.type, enabled=False), exact_products(features.device):
            cosines = features @ classes.t()
            return cosines, self.logit_scale.float().exp() * cosines


def _readable(text: nn.Module | None, frozen: bool) -> TypeGuard[nn.Module]:
    """Whether there is a text branch, and, where it has to be `frozen`, whether nothing in it takes gradients."""
    return text is not None and (not frozen or is_frozen(text))


def is_frozen(module: nn.Module) -> bool:
    """Whether nothing in it takes gradients."""
    return not any(parameter.requires_grad for parameter in module.parameters())
