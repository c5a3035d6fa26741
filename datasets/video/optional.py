"""Two more readers of video files, for those who have them installed: torchcodec and decord (`DATA.DECODER`).

PyAV still reads what the file says of itself, so that length, rates and limits are the same whichever library decodes;
where a library counts other frames, or cannot tell them apart, it does not get to guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from echoviewclip.datasets.video.base import Video, VideoError
from echoviewclip.datasets.video.pyav import PyAVVideo
from echoviewclip.utils.errors import UserError


class OptionalVideo(Video):
    """A video file whose frames another library than PyAV decodes."""

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        self.path = path
        with PyAVVideo(path, source) as same:
            self.length, self.height, self.width = same.length, same.height, same.width
            self.fps, self.heart_rate = same.fps, same.heart_rate
            self.check_size()
        if source is not None:
            source.seek(0)

    def _check_length(self, found: int, library: str) -> None:
        if found != self.length:
            raise VideoError(self.path, f"has {self.length} frames, of which {library} sees {found}; use pyav")


class TorchCodecVideo(OptionalVideo):
    """A video file through torchcodec, which needs FFmpeg's shared libraries (Debian: `apt install ffmpeg`).

    It finds frames by their times, which it takes from packets; where frames then come with other times (AVI with
    B-frames), it would give one frame for another.
    """

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        try:
            from torchcodec.decoders import VideoDecoder
        except (ImportError, RuntimeError, OSError) as error:
            raise UserError(f"DATA.DECODER torchcodec cannot be loaded ({_first_line(error)}); use pyav") from None
        super().__init__(path, source)
        # "exact" counts every frame, so that numbers mean the same as elsewhere.
        self.decoder = VideoDecoder(
            source.read() if source else path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
        )
        if not hasattr(self.decoder.metadata, "rotation"):
            raise UserError("DATA.DECODER torchcodec leaves turned recordings turned before its 0.11; use pyav")
        self._check_length(len(self.decoder), "torchcodec")
        late = self.decoder.get_frame_at(0).pts_seconds - (self.decoder.metadata.begin_stream_seconds or 0.0)
        if abs(late) > 1e-3:
            raise VideoError(path, f"has frames {late:.3f} s later than torchcodec thinks; use pyav")

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        for number in wanted:  # goes on from the last one where that is shorter than a seek
            yield self.decoder.get_frame_at(number).data.numpy()


class DecordVideo(OptionalVideo):
    """A video file through decord, from its first frame on: its seeking is not exact."""

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        try:
            import decord
        except (ImportError, OSError) as error:
            raise UserError(f"DATA.DECODER decord cannot be loaded ({_first_line(error)}); use pyav") from None
        super().__init__(path, source)
        self.reader = decord.VideoReader(source or path, num_threads=1)
        self._check_length(len(self.reader), "decord")
        self.seekable = len(self.reader.get_key_indices()) == self.length

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        self.reader.seek(0)
        at = 0
        for number in wanted:
            if self.seekable:
                self.reader.seek(number)
            else:
                for _ in range(number - at):
                    self.reader.next()
            at = number + 1
            yield self.reader.next().asnumpy()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
