"""Only what is asked for is decoded: the rest of a file may be rubbish."""

from __future__ import annotations

import pytest
import torch

from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from tests.media import numbered_frames, packets, write_video

FRAMES = numbered_frames(24)


def ruin(path, keep) -> None:
    """Overwrites the packets of a video for whose number `keep(number)` is false."""
    content = bytearray(path.read_bytes())
    for number, (at, size) in enumerate(packets(path)):
        if not keep(number):
            content[at : at + size] = bytes(size)
    path.write_bytes(content)


def test_in_mjpeg_packets_not_asked_for_are_not_decoded(tmp_path):
    path = write_video(tmp_path / "a.avi", FRAMES)
    with open_video(path) as video:
        whole = video.frames([3, 11])
    ruin(path, {3, 11}.__contains__)
    with open_video(path) as video:
        torch.testing.assert_close(video.frames([3, 11]), whole, rtol=0, atol=0)
        with pytest.raises(VideoError, match=r"a\.avi: "):
            video.frames([3, 4, 11])


def test_mjpeg_decodes_one_packet_for_each_frame_asked_for(tmp_path, monkeypatch):
    decoded = []

    class Counted:
        def __init__(self, packet):
            self.packet, self.size = packet, packet.size

        def decode(self):
            decoded.append(self.packet.dts)
            return self.packet.decode()

    class Container:
        def __init__(self, container):
            self.container, self.streams, self.close = container, container.streams, container.close

        def demux(self, stream):
            return map(Counted, self.container.demux(stream))

    with open_video(write_video(tmp_path / "a.avi", FRAMES)) as video:
        video.container = Container(video.container)
        video.frames([21, 2, 7, 2])
    assert decoded == [2, 7, 21]


def test_h264_stops_after_the_last_frame_asked_for(tmp_path):
    path = write_video(tmp_path / "a.mp4", FRAMES, "libx264", options={"bf": "0"})
    with open_video(path) as video:
        whole = video.frames([0, 5])
    ruin(path, lambda number: number <= 6)
    with open_video(path) as video:
        torch.testing.assert_close(video.frames([0, 5]), whole, rtol=0, atol=0)
        with pytest.raises(VideoError, match=r"a\.mp4: "):
            video.frames([23])
