"""From clips to what the model sees: augmentation of whole batches on the device, and normalisation.

All frames of a clip get the same treatment. Every random choice comes from a seed that the caller derives from (seed,
epoch, sample), so that neither the number of workers nor the batch a clip falls in changes it; a clip alone comes out
as it does in a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from echoviewclip.datasets.sector import MOSTLY_IMAGE, image_mask
from echoviewclip.utils.seeding import generator as make_generator

# Of CLIP's training images (Radford et al., arXiv 2103.00020), in [0, 1].
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1  # half widths of the colour jitter
ERASED_AREA = (0.02, 0.2)  # of the image, drawn uniformly; sides in proportion 1:3 to 3:1


class DeviceTransform(nn.Module):
    """Augments (`train`) and normalises batches of clips on the device they are on.

    The other arguments are probabilities for each clip: `flip` mirrors left and right, `color_jitter` changes
    brightness, contrast, saturation and hue, `gray_scale` removes colour, `erasing` blackens a rectangle around a
    point of the image that moves (so inside the ultrasound sector). Without `train` clips are only normalised.
    """

    def __init__(
        self,
        *,
        train: bool,
        flip: float = 0.0,
        color_jitter: float = 0.0,
        gray_scale: float = 0.0,
        erasing: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.train(train)
        self.flip, self.color_jitter, self.gray_scale, self.erasing = flip, color_jitter, gray_scale, erasing
        self.dtype = dtype

    @torch.no_grad()
    def forward(self, video: torch.Tensor, seeds: torch.Tensor | None = None) -> torch.Tensor:
        """uint8 [B, T, 3, S, S] and int64 seeds [B] (training only) → normalised [B, T, 3, S, S] of `dtype`.

        Seeds stay in main memory: a GPU would have to be waited for.
        """
        if self.training:
            if seeds is None:
                raise ValueError("augmentation needs a seed for each clip")
            video = self._augment(video, [make_generator(seed) for seed in seeds.tolist()])
        mean, std = (_sent(255 * torch.tensor(v), video).view(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
        return ((video.to(torch.float32) - mean) / std).to(self.dtype)

    def move(self, lit: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        """Where the pixels `lit`, bool [B, S, S], of clips with these `seeds` are after `forward`; in main memory.

        What erasing blackens counts as lit, and what was black does not, whatever colour jitter makes of it.
        """
        if not self.training or not self.flip:
            return lit
        chosen = _draws([make_generator(seed) for seed in seeds.tolist()])[:, 0] < self.flip
        return torch.where(chosen.view(-1, 1, 1), lit.flip(-1), lit)

    def _augment(self, video: torch.Tensor, generators: list[np.random.Generator]) -> torch.Tensor:
        """Float32 or uint8 [B, T, 3, S, S] in [0, 255]; each clip uses its own generator."""
        draws = _draws(generators)
        chosen = draws[:, :4] < torch.tensor([self.flip, self.color_jitter, self.gray_scale, self.erasing])
        flip, jitter, gray, erase = chosen.unbind(1)
        video = _change(video, erase, lambda some, rows: erase_in_sector(some, _sent(draws[rows, 8:], some)))
        video = _change(video, flip, lambda some, rows: some.flip(-1))
        video = _change(video, jitter, lambda some, rows: jitter_colors(some, 2 * draws[rows, 4:8] - 1))
        return _change(video, gray, lambda some, rows: _luma(some).expand(some.shape))


def _draws(generators: list[np.random.Generator]) -> torch.Tensor:
    """What a clip's augmentation is decided by, float32 [B, 11] in [0, 1): the first is its flip."""
    return torch.tensor(np.stack([g.random(11) for g in generators]), dtype=torch.float32)


def _change(
    video: torch.Tensor, chosen: torch.Tensor, change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """`video` [B, T, 3, S, S] with `change`(clips, rows) in place of the `chosen` clips alone, bool [B].

    `chosen` and the rows are in main memory, so a device need not be asked how many there are.
    """
    rows = chosen.nonzero().flatten()
    if not len(rows):
        return video
    where = _sent(rows, video)
    changed = change(video[where], rows)
    return video.to(changed.dtype).index_copy(0, where, changed)


def _sent(numbers: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
    """A few numbers from main memory on the device of `video`, which need not be waited for."""
    return numbers.to(video.device, non_blocking=True)


def _luma(video: torch.Tensor) -> torch.Tensor:
    """Brightness [B, T, 1, S, S] of RGB, ITU-R BT.601."""
    weights = _sent(torch.tensor([0.299, 0.587, 0.114]), video).view(3, 1, 1)
    return (video * weights).sum(-3, keepdim=True)


def jitter_colors(video: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
    """Changes brightness, contrast, saturation and hue by `amounts` [B, 4] in [−1, 1] of the half widths above, which
    are in main memory.

    Hue turns the chroma plane of YIQ, which is linear and so needs no conversion of every pixel.
    [B, T, 3, S, S] in [0, 255] → float32 of the same shape and range.
    """
    factors = 1 + amounts[:, :3] * torch.tensor([BRIGHTNESS, CONTRAST, SATURATION])
    brightness, contrast, saturation = _sent(factors, video).view(-1, 3, 1, 1, 1, 1).unbind(1)
    turns = _sent(_hue_matrices(amounts[:, 3] * HUE * 2 * torch.pi), video)
    video = (video * brightness).clamp(0, 255)
    video = torch.lerp(_luma(video).mean((1, 3, 4), keepdim=True), video, contrast).clamp(0, 255)
    video = torch.lerp(_luma(video), video, saturation)
    return torch.einsum("bij,btjhw->btihw", turns, video).clamp(0, 255)


def _hue_matrices(angles: torch.Tensor) -> torch.Tensor:
    """[B] radians → [B, 3, 3] that turn RGB about the grey axis in YIQ."""
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    zero, one = torch.zeros_like(angles), torch.ones_like(angles)
    cos, sin = angles.cos(), angles.sin()
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], 1).view(-1, 3, 3)
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq


def lit_pixels(video: torch.Tensor) -> torch.Tensor:
    """Where a clip is not black in every frame: uint8 [..., T, 3, H, W] → bool [..., H, W]."""
    return video.amax((-4, -3)) > 0


def moving_pixels(video: torch.Tensor, least: int = 8) -> torch.Tensor:
    """Where any colour of [..., T, 3, H, W] in [0, 255] changes by at least `least` over T: bool [..., H, W]."""
    spread = video.amax(-4) - video.amin(-4)
    return (spread >= least).any(-3)


def swap_background(video: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Puts what `other` [3, H', W'] shows outside the image around the image of `video` [T, 3, H, W], all uint8.

    The image is taken to be the convex region that moves. After BackMix (arXiv 2406.19148): a background that tells
    nothing of the class teaches a model not to look there. Where no image is found the video stays as it is.
    """
    mask, confidence = image_mask(video.permute(0, 2, 3, 1).numpy())
    if confidence < MOSTLY_IMAGE:
        return video
    other = F.interpolate(other[None], video.shape[-2:], mode="bilinear", antialias=True)
    return torch.where(torch.from_numpy(mask), video, other)


def erase_in_sector(video: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Blackens one rectangle in all frames of each clip, centred on a moving pixel (anywhere in a still clip).

    `draws` [B, 3] in [0, 1) choose place, area and aspect. [B, T, 3, S, S], same returned.
    """
    height, width = video.shape[-2:]
    moving = moving_pixels(video).flatten(1)
    moving |= ~moving.any(1, keepdim=True)
    ranks = moving.cumsum(1)
    target = (draws[:, :1] * ranks[:, -1:]).floor().long() + 1
    centre = torch.searchsorted(ranks, target)
    y, x = centre // width, centre % width
    area = ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * draws[:, 1:2]
    aspect = torch.exp((2 * draws[:, 2:3] - 1) * np.log(3))
    half_height, half_width = (area * aspect).sqrt() * height / 2, (area / aspect).sqrt() * width / 2
    rows = (torch.arange(height, device=video.device) - y).abs() <= half_height
    columns = (torch.arange(width, device=video.device) - x).abs() <= half_width
    return video.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None, None], 0)
