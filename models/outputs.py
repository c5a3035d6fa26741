"""What a model answers about a batch of clips, as types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

Answer = TypeVar("Answer")


class ClassTexts(NamedTuple):
    """Class texts float32 [K, D], L2-normalised: what shows a class, and what does not. None where none are read."""

    positive: Tensor | None = None
    negative: Tensor | None = None


NO_TEXTS = ClassTexts()


class FrozenFeatures(NamedTuple):
    """What the frozen image parts compute from B clips of T frames, where the parts that train go on; None: not needed.

    Attributes:
        tokens: [B, T, L, width] of the trunk, which a branch that trains starts from.
        positive: [B, T, D], frame features of the positive branch, not normalised.
        negative: [B, T, D], those of the negative branch.
        quality: [B, T, D], those of the quality branch.
    """

    tokens: Tensor | None = None
    positive: Tensor | None = None
    negative: Tensor | None = None
    quality: Tensor | None = None

    @property
    def clips(self) -> int:
        """B."""
        return next(tensor.shape[0] for tensor in self if tensor is not None)

    @property
    def frames(self) -> int:
        """T."""
        return next(tensor.shape[1] for tensor in self if tensor is not None)

    def map(self, change: Callable[[Tensor], Tensor]) -> FrozenFeatures:
        """The same with each tensor changed."""
        return FrozenFeatures(*(None if tensor is None else change(tensor) for tensor in self))


class FrameFeatures(NamedTuple):
    """What a model sees in each of N frames: all that its answers about clips of them follow from.

    Attributes:
        positive: [N, D], of the positive branch, not normalised.
        negative, quality: [N, D], of the other branches; None without them.
        intermediates: [N, S] by block: what the scores by distance look at.
    """

    positive: Tensor
    negative: Tensor | None
    quality: Tensor | None
    intermediates: dict[int, Tensor]

    @classmethod
    def join(cls, parts: Sequence[FrameFeatures]) -> FrameFeatures:
        """Those of several frames, one after the other."""

        def joined(tensors: Sequence[Tensor | None]) -> Tensor | None:
            there = [tensor for tensor in tensors if tensor is not None]
            return torch.cat(there) if there else None

        return cls(
            torch.cat([part.positive for part in parts]),
            joined([part.negative for part in parts]),
            joined([part.quality for part in parts]),
            {block: torch.cat([part.intermediates[block] for part in parts]) for block in parts[0].intermediates},
        )


class BranchOutput(NamedTuple):
    """What the positive or the negative branch says about B clips of T frames; float32.

    Attributes:
        features: [B, D], L2-normalised.
        attention: [B, T], the weight of each frame; a clip's sum to 1.
        cosines: [B, K], with the class texts; None in a model without text.
        logits: [B, K], `logit_scale.exp()` times the cosines; None in a model without text.
    """

    features: Tensor
    attention: Tensor
    cosines: Tensor | None = None
    logits: Tensor | None = None


class QualityOutput(NamedTuple):
    """What the quality branch says about B clips of T frames; float32.

    Attributes:
        logits: [B, G], of the grades.
        score: [B], expected, in [0, 1].
        attention: [B, T], the weight of each frame; a clip's sum to 1.
        defects: [B, D], logits of the defects of MODEL.DEFECTS; None in a model that knows none.
    """

    logits: Tensor
    score: Tensor
    attention: Tensor
    defects: Tensor | None = None


class ModelOutput(NamedTuple):
    """The answers of the parts that were asked for; None for the others.

    Attributes:
        texts: those that the positive and the negative branch were compared with.
        intermediates: float32 [B, S] of the patches after the n-th block, by n from 1: what the scores by distance look
            at. In evaluation mode only, with the positive part.
    """

    positive: BranchOutput | None
    negative: BranchOutput | None
    quality: QualityOutput | None
    texts: ClassTexts
    intermediates: dict[int, Tensor]


def present(answer: Answer | None) -> Answer:
    """An answer that was asked for. Raises ValueError where it was not."""
    if answer is None:
        raise ValueError("an answer of a part that was not asked for, or of a model without text")
    return answer
