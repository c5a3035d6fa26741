"""What the reader of a video hands to the model: a sample, and samples stacked into a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

Item = TypeVar("Item")
Remark = tuple[str, str]  # a video's name in its list, and what there is to say about it


class Sample(NamedTuple):
    """A video as one or several views (clips × crops, a clip's crops together). A batch has a leading B everywhere.

    Attributes:
        video: uint8 [V, T, 3, S, S]; where the device cuts and resizes, whole frames uint8 [clips, T, 3, H, W].
        box: only then, int64 [V, 4]: top, left, height and width of what is cut; else None.
        lit: bool [V, S, S], pixels that are not black in every frame; None where black patches are computed as well.
        frames: int64 [V, T], where in the video each frame was; −1 where it failed.
        label: int64, −1 = none; for multi-label lists float32 [K].
        score: float32 in [0, 1], nan = none.
        defects: float32 [D] in [0, 1], how strongly each defect of quality shows, nan = not known.
        place: int64, the video's place in the list.
        seed: int64 for `DeviceTransform`.
        length: int64, frames of the whole video; 0 where it failed.
        fps, heart_rate: float64, frames a second and beats a minute; nan where the video does not say.
        failed: bool, the video asked for cannot be read.
        faults: each video that could not be read for this sample, and why; in a batch, for any of its samples.
        warnings: what is not as it should be in the video, empty where all is; in a batch, in any of its videos.
    """

    video: Tensor
    box: Tensor | None
    lit: Tensor | None
    frames: Tensor
    label: Tensor
    score: Tensor
    defects: Tensor
    place: Tensor
    seed: Tensor
    length: Tensor
    fps: Tensor
    heart_rate: Tensor
    failed: Tensor
    faults: list[Remark]
    warnings: list[Remark]


class Mistake(NamedTuple):
    """In place of a batch: what a process that reads videos found to be the user's mistake."""

    text: str


def collate(items: Sequence[Sample | Mistake]) -> Sample | Mistake:
    """Samples as a batch, smaller frames padded with black; the first mistake, where there is one."""
    samples = require_all(items)
    if isinstance(samples, Mistake):
        return samples
    boxes = [sample.box for sample in samples if sample.box is not None]
    lit = [sample.lit for sample in samples if sample.lit is not None]
    return Sample(
        video=stack_frames([sample.video for sample in samples]),
        box=torch.stack(boxes) if boxes else None,
        lit=torch.stack(lit) if lit else None,
        frames=torch.stack([sample.frames for sample in samples]),
        label=torch.stack([sample.label for sample in samples]),
        score=torch.stack([sample.score for sample in samples]),
        defects=torch.stack([sample.defects for sample in samples]),
        place=torch.stack([sample.place for sample in samples]),
        seed=torch.stack([sample.seed for sample in samples]),
        length=torch.stack([sample.length for sample in samples]),
        fps=torch.stack([sample.fps for sample in samples]),
        heart_rate=torch.stack([sample.heart_rate for sample in samples]),
        failed=torch.stack([sample.failed for sample in samples]),
        faults=[remark for sample in samples for remark in sample.faults],
        warnings=[remark for sample in samples for remark in sample.warnings],
    )


def require_all(items: Sequence[Item | Mistake]) -> list[Item] | Mistake:
    """The items; in place of them the first mistake, where there is one."""
    found: list[Item] = []
    for item in items:
        if isinstance(item, Mistake):
            return item
        found.append(item)
    return found


def stack_frames(videos: Sequence[Tensor]) -> Tensor:
    """uint8 [..., H, W] each → [B, ..., H, W] of the largest height and width, black below and right of the others."""
    sizes = {video.shape[-2:] for video in videos}
    if len(sizes) > 1:
        height, width = (max(sides) for sides in zip(*sizes, strict=True))
        videos = [F.pad(video, (0, width - video.shape[-1], 0, height - video.shape[-2])) for video in videos]
    return torch.stack(list(videos))
