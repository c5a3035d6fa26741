"""Frames that are in memory already as a video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from echoviewclip.datasets.video.base import Video
from echoviewclip.datasets.video.open import open_video


class ArrayVideo(Video):
    """Frames uint8 [T, H, W, 3] RGB under a name; raises ValueError for an array of another kind."""

    def __init__(self, name: str, frames: np.ndarray, fps: float | None = None) -> None:
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
            raise ValueError(f"{name}: expected frames uint8 [T, H, W, 3], got {frames.dtype} {list(frames.shape)}")
        self.path, self.fps, self._frames = name, fps, frames
        self.length, self.height, self.width, _ = frames.shape

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        """See `Video.decode`."""
        return (self._frames[index] for index in wanted)


@dataclass(frozen=True)
class ArraysFirst:
    """Opens videos that are in memory by their names, and all others as `open_video` does."""

    arrays: Mapping[str, Video]

    def __call__(self, path: str, decoder: str = "pyav") -> Video:
        """See `open_video`."""
        return self.arrays[path] if path in self.arrays else open_video(path, decoder)
