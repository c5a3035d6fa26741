"""What a reader of videos is: its length, its rate, the frames asked for, and how it fails.

All readers number frames in the order in which they are shown, decode only what is asked for and fail with a
`VideoError` that names the file.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from echoviewclip.datasets.video.reasons import reason_of
from echoviewclip.datasets.video.regions import Region
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.urls import shown

MAX_PIXELS = 1 << 25  # of one frame; what declares more is not an ultrasound video but a mistake or an attack
MAX_FRAMES = 1 << 20  # ten hours
MAX_CLIP_BYTES = 512 << 20  # of the frames of one call
MAX_FPS = 1000.0  # what states more states another unit, or the ticks of a clock


class VideoError(Exception):
    """A file that cannot be read as a video; its text is one line that begins with the file."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(shown(str(path)), reason)
        self.path = shown(str(path))
        self.reason = " ".join(reason.split())

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class NoImage(VideoError):
    """A DICOM object that holds no image and is not meant to: a report, waveforms, a directory."""


class OtherModality(VideoError):
    """A DICOM object that cannot be read, and by its Modality is no ultrasound, so that it need not be."""


class Video(ABC):
    """An open video. A reader sets the attributes, and yields frames in `decode`.

    Attributes:
        path: the file, as it was asked for.
        length: number of frames.
        height, width: pixels of a frame, as `decode` yields it.
        fps: frames per second, at most MAX_FPS, averaged where the rate varies; None where the file does not say.
        heart_rate: beats per minute; None where the file does not say.
        regions: what lies where in the picture; empty where the file does not say (only DICOM does).
        warnings: what is not as the file says, and was put right or may be wrong; complete once a frame has been read.
    """

    path: str
    length: int
    height: int
    width: int
    fps: float | None = None
    heart_rate: float | None = None
    regions: tuple[Region, ...] = ()
    warnings: tuple[str, ...] = ()

    @abstractmethod
    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields frames uint8 [H, W, 3] RGB for the increasing, valid indices `wanted`, one array each."""

    def frames(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """The frames at `indices` (in [0, len), any order, repeats allowed) as uint8 [T, 3, H, W] RGB.

        The tensor's memory is laid out [T, H, W, 3], as the resize and the crop that follow like it best.
        Raises VideoError where a frame cannot be decoded, IndexError where there is no such frame.
        """
        wanted, where = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        pixels: torch.Tensor | None = None
        self._check_memory(len(where), self.height, self.width)
        for k, frame in enumerate(self.iterate(wanted.tolist())):
            if pixels is None:
                self._check_memory(len(where), *frame.shape[:2])
                pixels = torch.empty(len(wanted), *frame.shape, dtype=torch.uint8)
            pixels[k] = torch.from_numpy(frame)
        if pixels is None:
            raise IndexError("no frames asked for")
        if len(wanted) != len(where) or (np.diff(where) < 0).any():
            pixels = pixels[torch.from_numpy(where)]
        return pixels.permute(0, 3, 1, 2)

    def iterate(self, wanted: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yields frames uint8 [H, W, 3] RGB of one size one by one (default: all), for videos too long to hold.

        `wanted` must increase. Raises as `frames` does; a frame that is missing at the end raises, too.
        """
        wanted = range(self.length) if wanted is None else wanted
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < self.length:
            raise IndexError(f"frames {wanted[0]} to {wanted[-1]} of a video of {self.length}")
        found, shape = 0, None
        frames = self.decode(wanted)
        while True:
            with errors_name(self.path, f"frame {wanted[found]}" if found < len(wanted) else ""):
                frame = next(frames, None)
            if frame is None:
                break
            shape = shape or frame.shape
            if frame.shape != shape:
                raise VideoError(self.path, f"frame {wanted[found]} has another size than frame {wanted[0]}")
            yield frame
            found += 1
        if found < len(wanted):
            raise VideoError(
                self.path, f"frame {wanted[found]} of {self.length} is missing: the file is cut short or damaged"
            )

    def _check_memory(self, count: int, height: int, width: int) -> None:
        if count * height * width * 3 > MAX_CLIP_BYTES:
            raise VideoError(self.path, f"{count} frames of {width}×{height} are too much for memory")

    def check_size(self) -> None:
        """Refuses sizes that no ultrasound machine makes before memory is spent on them."""
        if self.length < 1:
            raise VideoError(self.path, "holds no frames")
        if self.length > MAX_FRAMES:
            raise VideoError(self.path, f"declares {self.length} frames")
        if not (self.height > 0 and self.width > 0) or self.height * self.width > MAX_PIXELS:
            raise VideoError(self.path, f"declares frames of {self.width}×{self.height} pixels")

    def close(self) -> None:  # noqa: B027  (most readers hold nothing open)
        """Frees the file; frames already read stay valid."""

    def __len__(self) -> int:
        return self.length

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def errors_name(path: str | Path, part: str = "") -> Iterator[None]:
    """Turns whatever a library raises into a VideoError that names the file, and the part, and quotes nothing of it."""
    try:
        yield
    except (VideoError, UserError):
        raise
    except Exception as error:
        raise VideoError(path, f"{part} cannot be read: {reason_of(error)}".lstrip()) from error


def believable_rate(fps: float | Fraction | None) -> float | None:
    """`fps` as far as a video can have that rate: above 0 and at most MAX_FPS; else None."""
    return float(fps) if fps is not None and 0 < fps <= MAX_FPS else None


def may_be_opened(path: str | Path) -> bool:
    """Whether a path leads to what can be opened without waiting for anyone: a file, a folder, or nothing at all."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
