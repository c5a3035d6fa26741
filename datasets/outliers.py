"""Synthetic outliers: clips that show none of the views, made of a batch that shows them.

A model that is to say "none of these" has to see some of what is none of these (outlier exposure, Hendrycks et al.
2019), and no list of real outsiders is needed for that: parts of two views together, a view with its patches shuffled
or a view turned round have the texture of ultrasound and the anatomy of none (turned and shuffled pictures as
outliers: Tack et al., CSI, 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from echoviewclip.datasets.blending import cut_box

PATCHES = 4  # shuffled patches along a side
SHARE = 0.5  # outliers beside each video of a batch


class SyntheticOutliers:
    """Appends outliers to a batch; which clips, which kind and how is drawn for each batch, the same for all frames.

    `kinds` are of `KINDS`; others are left to the loss (`virtual` outliers are features).
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = [kind for kind in kinds if kind in KINDS]

    def count(self, clips: int) -> int:
        """How many a batch of so many clips gets."""
        return round(SHARE * clips) if self.kinds else 0

    def __call__(
        self, video: Tensor, targets: Tensor, labels: np.ndarray, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Clips [B, T, C, H, W], targets [B, K] and labels int64 [B] → clips [B + M, …] and targets [B + M, K].

        An outlier's target is all zero. M is about B / 2; a clip is never mixed with one of its own class.
        """
        count = self.count(len(video))
        if not count:
            return video, targets
        first = generator.permutation(len(video))[:count]
        made = [video]
        for kind, part in zip(self.kinds, np.array_split(first, len(self.kinds)), strict=True):
            partner = _of_other_class(part, labels, generator)
            make = KINDS[kind] if partner is not None else shuffled
            places = (part, part if partner is None else partner)
            own, other = (video[torch.from_numpy(place).to(video.device, non_blocking=True)] for place in places)
            made.append(make(own, other, generator))
        outside = targets.new_zeros(count, targets.shape[1])
        return torch.cat(made), torch.cat([targets, outside])


def _of_other_class(chosen: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray | None:
    """For each place of `chosen` a random place with another label; None where all labels are the same."""
    if (labels == labels[0]).all():
        return None
    return np.array([generator.choice(np.flatnonzero(labels != labels[place])) for place in chosen], np.int64)


def mixed(video: Tensor, other: Tensor, generator: np.random.Generator) -> Tensor:
    """One half, a box, or the colours of another clip: [M, T, C, H, W] twice → the same."""
    way = generator.choice(("half", "box", "colour"))
    height, width = video.shape[-2:]
    if way == "colour":
        # Grey of one and chroma of the other: the colours of a Doppler box on anatomy where none belongs.
        grey = video.mean(-3, keepdim=True)
        return grey + other - other.mean(-3, keepdim=True)
    box = (slice(None), slice(None))
    if way == "half":
        box = (slice(height // 2, None), slice(None)) if generator.random() < 0.5 else (slice(None), slice(width // 2))
    else:
        top, bottom, left, right = cut_box(height, width, float(generator.uniform(0.4, 0.7)), generator)
        box = (slice(top, bottom), slice(left, right))
    result = video.clone()
    result[..., box[0], box[1]] = other[..., box[0], box[1]]
    return result


def shuffled(video: Tensor, _: Tensor, generator: np.random.Generator) -> Tensor:
    """Patches of the picture in another order, the same in all frames."""
    height, width = (side // PATCHES for side in video.shape[-2:])
    order = torch.from_numpy(generator.permutation(PATCHES * PATCHES)).to(video.device, non_blocking=True)
    result = video.clone()
    inner = result[..., : height * PATCHES, : width * PATCHES]
    patches = inner.unflatten(-2, (PATCHES, height)).unflatten(-1, (PATCHES, width)).movedim(-2, -3)
    patches = patches.flatten(-4, -3)[..., order, :, :].unflatten(-3, (PATCHES, PATCHES))
    result[..., : height * PATCHES, : width * PATCHES] = patches.movedim(-3, -2).flatten(-2).flatten(-3, -2)
    return result


def turned(video: Tensor, _: Tensor, generator: np.random.Generator) -> Tensor:
    """A quarter, half or three quarters of a turn, or upside down."""
    quarters = int(generator.integers(4))
    if not quarters or video.shape[-1] != video.shape[-2]:
        return video.flip(-2)
    return video.rot90(quarters, (-2, -1))


KINDS: dict[str, Callable[[Tensor, Tensor, np.random.Generator], Tensor]] = {
    "mixed": mixed,
    "shuffled": shuffled,
    "turned": turned,
}
