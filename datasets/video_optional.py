"""Two more readers of video files, for those who have them installed: torchcodec and decord (`DATA.DECODER`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from datasets.video import Video
from utils.errors import UserError


class TorchCodecVideo(Video):
    """A video file through torchcodec, which needs FFmpeg's shared libraries (Debian: `apt install ffmpeg`)."""

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        try:
            from torchcodec.decoders import VideoDecoder
        except (ImportError, RuntimeError, OSError) as error:
            raise UserError(f"DATA.DECODER torchcodec cannot be loaded ({_first_line(error)}); use pyav") from None
        self.path = path
        # "exact" counts every frame, so that numbers mean the same as elsewhere.
        self.decoder = VideoDecoder(
            source.read() if source else path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
        )
        about = self.decoder.metadata
        self.length, self.fps = about.num_frames, float(about.average_fps or 0) or None
        self.height, self.width = about.height, about.width

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        yield from self.decoder.get_frames_at(list(wanted)).data.numpy()


class DecordVideo(Video):
    """A video file through decord."""

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        try:
            import decord
        except (ImportError, OSError) as error:
            raise UserError(f"DATA.DECODER decord cannot be loaded ({_first_line(error)}); use pyav") from None
        self.path = path
        self.reader = decord.VideoReader(source or path, num_threads=1)
        self.length, self.fps = len(self.reader), float(self.reader.get_avg_fps())
        self.height, self.width = self.reader[0].shape[:2]

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        yield from self.reader.get_batch(list(wanted)).asnumpy()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
