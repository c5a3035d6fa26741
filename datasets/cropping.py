"""Where a clip is cut and how it becomes a square: in the worker, clip by clip, or on the device, a batch at once.

Both forms give the same bytes (tests/datasets/test_cropping.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from echoviewclip.datasets.sample import Sample
from echoviewclip.utils.exact import exact_products

EVAL_MARGIN = 256 / 224  # short side over crop side of the published evaluation

Box = tuple[int, int, int, int]  # top, left, height, width


class Crop(ABC):
    """Boxes of a frame, and clips cut to them."""

    size: int

    @abstractmethod
    def boxes(self, height: int, width: int, generator: np.random.Generator | None) -> list[Box]:
        """K boxes in a frame of that size; random ones come from the generator."""

    def __call__(self, video: Tensor, generator: np.random.Generator | None = None) -> Tensor:
        """uint8 [T, 3, H, W] → uint8 [K, T, 3, size, size]."""
        height, width = video.shape[-2:]
        boxes = self.boxes(height, width, generator)
        if len(boxes) == 1:  # `stack` would copy it
            return crop_resize(video, boxes[0], self.size).unsqueeze(0)
        return torch.stack([crop_resize(video, box, self.size) for box in boxes])


class TrainCrop(Crop):
    """Multi-scale crop: one of five places, sides short·scale with neighbouring scales, resized to a square.

    The places are the corners and the centre (Wang et al., Temporal Segment Networks, arXiv 1608.00859).
    """

    def __init__(self, size: int, scales: Sequence[float] = (1, 0.875, 0.75, 0.66)) -> None:
        self.size = size
        # Heights and widths may differ by one step of the scales, so the aspect changes a little.
        self.pairs = [(a, b) for i, a in enumerate(scales) for j, b in enumerate(scales) if abs(i - j) <= 1]

    def boxes(self, height: int, width: int, generator: np.random.Generator | None) -> list[Box]:
        """One random box in a frame of that size."""
        assert generator is not None
        scale_y, scale_x = self.pairs[generator.integers(len(self.pairs))]
        short = min(height, width)
        crop_height, crop_width = max(1, int(short * scale_y)), max(1, int(short * scale_x))
        place_y, place_x = ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1))[generator.integers(5)]
        top, left = (height - crop_height) * place_y // 2, (width - crop_width) * place_x // 2
        return [(top, left, crop_height, crop_width)]


class EvalCrop(Crop):
    """The centre at the published scale for squares of `size` (crops=1), or three squares of the whole short side."""

    def __init__(self, size: int, crops: int = 1) -> None:
        if crops not in (1, 3):
            raise ValueError("crops must be 1 or 3")
        self.size, self.crops = size, crops

    def boxes(self, height: int, width: int, generator: np.random.Generator | None = None) -> list[Box]:
        """Cutting first and resizing once equals resizing the short side to size·256/224 and cutting then."""
        short = min(height, width)
        if self.crops == 1:
            side = max(1, round(short * self.size / int(self.size * EVAL_MARGIN)))
            return [((height - side) // 2, (width - side) // 2, side, side)]
        return [((height - short) * k // 2, (width - short) * k // 2, short, short) for k in range(3)]


def crop_resize(video: Tensor, box: Box, size: int) -> Tensor:
    """Cuts `box` out of uint8 [T, 3, H, W] and resizes it, antialiased, to contiguous uint8 [T, 3, size, size]."""
    top, left, height, width = box
    video = video[..., top : top + height, left : left + width]
    if (height, width) != (size, size):
        video = F.interpolate(video, (size, size), mode="bilinear", antialias=True, align_corners=False)
    # Colours lie pixel by pixel; numpy parts them in half the time that torch needs when clips are joined later.
    return torch.from_numpy(np.ascontiguousarray(video.numpy()))


@torch.no_grad()
def crop_resize_batch(video: Tensor, boxes: Tensor, size: int) -> Tensor:
    """`crop_resize` of a batch: uint8 [N, T, 3, H, W], boxes int64 [N, K, 4] → uint8 [N, K, T, 3, size, size].

    Cutting and resizing are one matrix for each axis. They hold the integers of torch's uint8 kernel, which float32
    multiplies exactly as long as a box is at most 4 times as large as `size`; beyond, a pixel may differ by 1 of 255.
    """
    count, frames, colours, height, width = video.shape
    rows, row_bits = _resize_matrices(boxes[..., 0], boxes[..., 2], height, size)  # [N, K, S, H], [N, K, 1, 1]
    columns, column_bits = _resize_matrices(boxes[..., 1], boxes[..., 3], width, size)
    lines = video.reshape(count, 1, -1, width).float()  # frames, colours and rows of pixels in one
    with exact_products(video.device):
        lines = _round(lines @ columns.transpose(-1, -2), column_bits)
        images = lines.view(count, -1, frames * colours, height, size)
        squares = _round(rows.unsqueeze(2) @ images, row_bits.unsqueeze(2))
    return squares.view(count, -1, frames, colours, size, size).to(torch.uint8)


def _resize_matrices(start: Tensor, length: Tensor, total: int, size: int) -> tuple[Tensor, Tensor]:
    """Weights of `total` pixels in each of `size`, of the part [start, start + length) [N, K], in units of 2^-bits.

    Triangles as wide as a new pixel, at least as an old one. Float32 [N, K, size, total] of integers and bits
    [N, K, 1, 1], as many as keep the largest weight within 16-bit integers.
    """
    start, length = start[..., None, None].double(), length[..., None, None].double()
    scale = length / size
    centre = start + scale * (torch.arange(size, device=start.device)[:, None] + 0.5)
    pixel = torch.arange(total, device=start.device) + 0.5
    weights = (1 - (pixel - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    weights = weights * ((pixel > start) & (pixel < start + length))
    weights = weights / weights.sum(-1, keepdim=True)
    powers = 2.0 ** torch.arange(1, 23, device=start.device)
    largest = weights.amax((-1, -2), keepdim=True)
    bits = ((0.5 + largest * powers).floor() < 2**15).sum(-1, keepdim=True)
    return (0.5 + weights * 2.0**bits).floor().float(), bits


def _round(sums: Tensor, bits: Tensor) -> Tensor:
    """Sums in units of 2^-bits → whole numbers in [0, 255]."""
    return torch.floor((sums + 2.0 ** (bits - 1)) / 2.0**bits).clamp_(0, 255).float()


def send_pixels(batch: Sample, device: torch.device) -> Sample:
    """A batch whose pixels, and where they are cut, are on `device`, or on their way there."""
    box = None if batch.box is None else batch.box.to(device, non_blocking=True)
    return batch._replace(video=batch.video.to(device, non_blocking=True), box=box)


def cut_clips(batch: Sample, size: int) -> Tensor:
    """A batch's clips, uint8 [B, V, T, 3, size, size], cut on the device that they are on if the worker has not."""
    if batch.box is None:
        return batch.video
    boxes = batch.box.unflatten(1, (batch.video.shape[1], -1))  # clips, crops of each
    clips = crop_resize_batch(batch.video.flatten(0, 1), boxes.flatten(0, 1), size)
    return clips.view(len(batch.video), -1, *clips.shape[2:])


def clips_on(device: torch.device, batch: Sample, size: int) -> Tensor:
    """`cut_clips` of a batch that has not been sent."""
    return cut_clips(send_pixels(batch, device), size)
