"""Prepared videos are written as intra-only MJPEG, the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from echoviewclip.datasets.intake.preparation import JPEG_QUALITY

UNKNOWN_FPS = 30  # a video file must state a rate
# FFmpeg's shortcut for this conversion cuts chroma off instead of rounding it, which tints grey pictures green.
ROUNDED = Interpolation.BILINEAR | 0x40000 | 0x80000  # accurate rounding, bit-exact: PyAV names them from 18 on


def write_mjpeg(
    target: str | Path | BinaryIO,
    frames: Iterable[np.ndarray],
    fps: float | None = None,
    heart_rate: float | None = None,
    quality: int = JPEG_QUALITY,
) -> tuple[int, int]:
    """Writes frames uint8 [H, W, 3] RGB as an AVI of JPEG images, the same bytes each time; returns (height, width).

    `target` is a file to write, or an open one that can seek; `quality` on FFmpeg's scale for MJPEG, 2 (best) to 31.
    AVI has no field for the heart rate (beats/min); it stands in the comment, where `datasets.video.pyav` finds it.
    """
    file = str(target) if isinstance(target, str | Path) else target
    with av.open(file, "w", format="avi", container_options={"fflags": "bitexact"}) as container:
        if heart_rate:
            container.metadata["comment"] = f"heart_rate={heart_rate:.4g}"
        stream = container.add_stream("mjpeg", rate=Fraction(fps or UNKNOWN_FPS).limit_denominator(1001))
        stream.pix_fmt = "yuvj420p"
        context = stream.codec_context
        context.color_range = 2  # JPEG: 0 to 255
        context.flags |= 0x2 | 0x800000  # fixed quality; bit-exact
        context.qmin = context.qmax = quality
        convert = VideoReformatter()
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture = convert.reformat(picture, format=stream.pix_fmt, dst_color_range=2, interpolation=ROUNDED)
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return frame.shape[:2]
