"""Small videos of known frames for tests."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

PIXEL_FORMATS = {"mjpeg": "yuvj420p", "png": "rgb24"}  # the others: yuv420p


def write_video(
    path: str | Path,
    frames: np.ndarray,
    codec: str = "mjpeg",
    fps: float = 30,
    pixel_format: str | None = None,
    times: list[float] | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Writes frames uint8 [T, H, W, 3] RGB as a video; the suffix of `path` chooses the container.

    `times` (seconds) makes the rate variable; `rotation` (degrees) marks the picture as turned; `options` go to the
    encoder, `container_options` to the muxer.
    """
    path = Path(path)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format or PIXEL_FORMATS.get(codec, "yuv420p")
        if codec == "mjpeg":
            stream.codec_context.color_range = 2
            stream.codec_context.flags |= 2  # fixed quantiser
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for k, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            if times is not None:
                picture.time_base, picture.pts = Fraction(1, 1000), round(times[k] * 1000)
            else:
                picture.pts = k
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    if rotation:
        _mark_rotated(path, rotation)
    return path


def _mark_rotated(path: Path, degrees: int) -> None:
    """Writes the matrix of an MP4's track header (ISO 14496-12, 8.3.2): counter-clockwise, in quarter turns."""
    content = bytearray(path.read_bytes())
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = [cos << 16, -sin << 16, 0, sin << 16, cos << 16, 0, 0, 0, 1 << 30]
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(content)


def numbered_frames(count: int, height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    """Frames [T, H, W, 3] that tell their number: a bar code of 8 grey blocks in the top row, over a moving slope."""
    rows, columns = np.mgrid[:height, :width]
    frames = np.empty((count, height, width, 3), np.uint8)
    for k in range(count):
        slope = (rows * 2 + columns + 5 * k + 40 * seed) % 256
        frames[k] = (64 + slope // 2)[..., None]
        for bit in range(8):
            frames[k, : height // 3, bit * width // 8 : (bit + 1) * width // 8] = 235 if k >> bit & 1 else 20
    return frames


def frame_number(pixels: np.ndarray) -> int:
    """The number that `numbered_frames` wrote into a frame [H, W, 3], read back after lossy coding."""
    height, width = pixels.shape[:2]
    number = 0
    for bit in range(8):
        left, right = bit * width // 8, (bit + 1) * width // 8
        block = pixels[height // 9 : height // 4, left + (right - left) // 4 : right - (right - left) // 4]
        number |= int(block.mean() > 128) << bit
    return number


def frame_numbers(pixels: torch.Tensor) -> list[int]:
    """The numbers of the frames uint8 [T, 3, H, W] of a clip."""
    return [frame_number(frame) for frame in pixels.permute(0, 2, 3, 1).numpy()]


def packets(path) -> list[tuple[int, int]]:
    """Place and size in bytes of each packet."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size]
