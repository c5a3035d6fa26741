"""Mixup and CutMix on clips: one draw for all frames of a clip, so that time stays whole."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Blending:
    """Blends each clip of a batch with its mirror position's clip, and their targets in the same share.

    `mixup` and `cutmix` are the alphas of Beta(α, α), 0 for off; where both are on, CutMix is drawn with probability
    `switch`. Mixup: Zhang et al. 2018; CutMix: Yun et al. 2019. A box of CutMix spans height and width and all
    frames, never time.
    """

    def __init__(self, mixup: float, cutmix: float, switch: float) -> None:
        self.mixup, self.cutmix, self.switch = mixup, cutmix, switch

    def __call__(self, video: Tensor, targets: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Clips [B, T, C, H, W] and targets [B, K] (probabilities), blended; the inputs stay as they are."""
        if not self.mixup and not self.cutmix:
            return video, targets
        cut = self.cutmix > 0 and (not self.mixup or generator.random() < self.switch)
        alpha = self.cutmix if cut else self.mixup
        share = float(generator.beta(alpha, alpha))
        if cut:
            height, width = video.shape[-2:]
            top, bottom, left, right = cut_box(height, width, share, generator)
            blended = video.clone()
            blended[..., top:bottom, left:right] = video.flip(0)[..., top:bottom, left:right]
            share = 1 - (bottom - top) * (right - left) / (height * width)
        else:
            blended = torch.lerp(video.flip(0), video, share)
        return blended, torch.lerp(targets.flip(0), targets, share)


def cut_box(height: int, width: int, share: float, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of a box of (1 − share) of the area around a uniform centre, clipped to the frame."""
    side = np.sqrt(1 - share)
    half_height, half_width = int(height * side / 2), int(width * side / 2)
    y, x = int(generator.integers(height)), int(generator.integers(width))
    return (
        max(y - half_height, 0),
        min(y + half_height, height),
        max(x - half_width, 0),
        min(x + half_width, width),
    )
