"""From the frames of a source to those of the prepared video: in a file, or in memory for what trains on none."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch.nn import functional as F

from echoviewclip.datasets.intake.encode import UNKNOWN_FPS, write_mjpeg
from echoviewclip.datasets.intake.preparation import Preparation, preparation_of
from echoviewclip.datasets.sector import MOSTLY_IMAGE, find_image
from echoviewclip.datasets.video.base import Video
from echoviewclip.datasets.video.open import open_video, video_reader
from echoviewclip.datasets.video.regions import Region, fitting_regions

MASK_FRAMES = 32  # looked at to find the ultrasound image
CROP_MARGIN = 0.03  # of the longer side of the image's box, on each side of it
LONGEST = 1.5  # times the shorter side: of a longer box (a strip alone) a square in the middle would show too little

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom exclusive


@dataclass(frozen=True)
class Picture:
    """What of a source's frames is kept.

    Attributes:
        mask: where the ultrasound image is, bool [H, W]; everywhere where it was not found for sure.
        box: what the prepared video shows.
        modality: a guess, see `guess_modality`.
        warnings: what a person should know.
    """

    mask: np.ndarray
    box: Box
    modality: str
    warnings: tuple[str, ...]


def look_at(video: Video, crop: bool) -> Picture:
    """Finds the ultrasound image. Raises VideoError."""
    frames = video.frames(np.linspace(0, len(video) - 1, min(MASK_FRAMES, len(video))).round().astype(int))
    regions = fitting_regions(video.regions, *frames.shape[-2:])
    sample = frames.permute(0, 2, 3, 1).numpy()
    found = find_image(sample, regions)
    mask = found.mask if found.confidence >= MOSTLY_IMAGE else np.ones_like(found.mask)
    warnings = [*found.warnings]
    if video.regions and not regions:
        warnings.insert(0, "the region tags do not fit the picture and were not used")
    if not video.fps and len(video) > 1:
        warnings.insert(0, f"the frame rate is not known; the file says {UNKNOWN_FPS}")
    box = image_box(mask) if crop else (0, 0, *mask.shape[::-1])
    return Picture(mask, box, guess_modality(sample, mask, regions), tuple(warnings))


def image_box(mask: np.ndarray) -> Box:
    """The smallest box in the picture that holds all of a mask, bool [H, W], with a margin, and is not too long."""
    height, width = mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis)).tolist() for axis in (1, 0))
    if not rows:
        return 0, 0, width, height
    tall, wide = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    margin = 2 * round(CROP_MARGIN * max(tall, wide))
    top, bottom = _grown(rows[0], rows[-1] + 1, max(tall + margin, round((wide + margin) / LONGEST)), height)
    left, right = _grown(columns[0], columns[-1] + 1, max(wide + margin, round((tall + margin) / LONGEST)), width)
    return left, top, right, bottom


def _grown(start: int, end: int, length: int, most: int) -> tuple[int, int]:
    """A stretch that is `length` long around the middle of another, cut off at 0 and `most`."""
    more = length - (end - start)
    return max(0, start - more // 2), min(most, end + (more + 1) // 2)


def write_prepared(
    target: str | Path | BinaryIO, video: Video, picture: Picture, preparation: Preparation
) -> tuple[int, int]:
    """Writes all frames to a file, or an open one, as a prepared video; returns (height, width). Raises VideoError."""
    frames = _small(video, picture, preparation.size)
    return write_mjpeg(target, frames, video.fps, video.heart_rate, preparation.jpeg_quality)


def open_prepared(path: str | Path, preparation: Preparation, decoder: str = "pyav") -> Video:
    """A source as the video that preparing makes of it, in memory: the same bytes, read by `decoder`.

    Its warnings are those of preparing. Raises VideoError, also where a frame that is not asked for is damaged, as
    preparing rejects such a source.
    """
    with open_video(path) as video:
        return prepare_in_memory(video, preparation, decoder)


def prepare_in_memory(video: Video, preparation: Preparation, decoder: str = "pyav") -> Video:
    """See `open_prepared`."""
    content = io.BytesIO()
    picture = look_at(video, preparation.crop)
    write_prepared(content, video, picture, preparation)
    warnings = (*picture.warnings, *video.warnings)
    content.seek(0)
    prepared = video_reader(decoder)(video.path, content)
    prepared.warnings = warnings
    return prepared


@dataclass(frozen=True)
class Preparing:
    """Opens videos as `open_video` does, but those that lie in no prepared folder as preparing would write them, and so
    `arrays`, which are in memory, by their names."""

    preparation: Preparation
    arrays: Mapping[str, Video] = field(default_factory=dict)

    def __call__(self, path: str, decoder: str = "pyav") -> Video:
        """See `open_prepared`."""
        if path in self.arrays:
            return prepare_in_memory(self.arrays[path], self.preparation, decoder)
        return open_video(path, decoder) if preparation_of(path) else open_prepared(path, self.preparation, decoder)


def _small(video: Video, picture: Picture, size: int) -> Iterator[np.ndarray]:
    """All frames uint8 [h, w, 3], masked, cut to the box, with their short side at most `size`."""
    left, top, right, bottom = picture.box
    scale = min(1.0, size / min(bottom - top, right - left))
    shape = max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))
    part = np.s_[top:bottom, left:right]
    keep = torch.from_numpy(picture.mask[part][..., None].astype(np.uint8))
    for frame in video.iterate():
        pixels = (torch.from_numpy(frame[part]) * keep).permute(2, 0, 1)[None]
        if shape != (bottom - top, right - left):
            pixels = F.interpolate(pixels, shape, mode="bilinear", antialias=True)
        yield pixels[0].permute(1, 2, 0).contiguous().numpy()


def guess_modality(frames: np.ndarray, mask: np.ndarray, regions: Sequence[Region]) -> str:
    """What kind of ultrasound uint8 frames [T, H, W, 3] show: by the region tags, else 2d or color by the pixels."""
    types = {region.data_type for region in regions}
    if "m-mode" in {region.spatial_format for region in regions}:
        return "m-mode"
    for kind, data_type in (("cw", "cw"), ("pw", "pw"), ("color", "color flow")):
        if data_type in types:
            return kind
    pixels = frames[:, mask].astype(np.int16)
    colored = (pixels.max(-1) - pixels.min(-1)) > 60
    return "color" if colored.mean() > 0.005 else "2d"
