"""Sizes, rates and messages of videos: what a reader says of a file before its frames are read, and of bad frames."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from echoviewclip.datasets.intake.convert import convert
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from tests.media import numbered_frames, write_video

FRAMES = numbered_frames(12)


def jpeg(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=95)
    return file.getvalue()


def write_packets(path, packets: list[bytes], height: int, width: int):
    """An MJPEG AVI of JPEG images as they are, whatever their sizes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=Fraction(30))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuvj420p"
        for k, coded in enumerate(packets):
            packet = av.Packet(coded)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, k, k, Fraction(1, 30)
            packet.is_keyframe = True
            container.mux(packet)
    return path


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("name, codec", [("a.mp4", "libx264"), ("a.mov", "mjpeg")])
def test_a_turned_video_states_the_size_of_its_upright_frames(tmp_path, name, codec, degrees):
    path = write_video(tmp_path / name, FRAMES, codec, rotation=degrees)
    with open_video(path) as video:
        assert video.frames([3, 5]).shape[2:] == (video.height, video.width)
        assert (video.height, video.width) == ((64, 96) if degrees % 180 == 0 else (96, 64))
        assert len(video) == len(FRAMES)
    record = convert(tmp_path, name, tmp_path, "a.avi", Options(), b"salt")
    assert (record.source_height, record.source_width) == (record.height, record.width)


def test_a_frame_of_another_size_is_named_and_ends_no_run(tmp_path):
    packets = [jpeg(frame) for frame in FRAMES]
    packets[7] = jpeg(numbered_frames(1, 32, 48)[0])
    write_packets(tmp_path / "a.avi", packets, 64, 96)
    with open_video(tmp_path / "a.avi") as video:
        assert video.frames([2, 6, 11]).shape == (3, 3, 64, 96)
        for read in (lambda: video.frames([2, 7]), lambda: list(video.iterate([2, 7]))):
            with pytest.raises(VideoError, match=r"a\.avi: frame 7 has another size than frame 2$"):
                read()
    record = convert(tmp_path, "a.avi", tmp_path, "b.avi", Options(), b"salt")
    assert record.fault == "frame 7 has another size than frame 0"


def test_rates_above_a_thousand_are_not_believed(tmp_path):
    path = write_video(tmp_path / "a.avi", FRAMES, fps=30)
    content = bytearray(path.read_bytes())
    at = content.index(b"strh") + 8 + 20  # dwScale, dwRate of the stream
    content[at : at + 8] = struct.pack("<II", 1, 90000)
    path.write_bytes(content)
    with open_video(path) as video:
        assert video.fps is None
        assert len(video) == 12


def test_a_frame_that_cannot_be_read_is_named_and_no_object_of_a_library(tmp_path):
    (tmp_path / "a").mkdir()
    for k, frame in enumerate(FRAMES[:4]):
        (tmp_path / "a" / f"{k}.png").write_bytes(jpeg(frame) if k != 2 else bytes(500))
    with open_video(tmp_path / "a") as video, pytest.raises(VideoError, match=r"a: frame 2 cannot be read: ") as caught:
        list(video.iterate())
    assert "0x" not in str(caught.value)
