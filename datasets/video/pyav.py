"""Video files through PyAV, whose wheel carries FFmpeg: the default reader."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from echoviewclip.datasets.video.base import MAX_PIXELS, Video, VideoError, believable_rate

# Containers that hold videos. FFmpeg also opens playlists and scripts, which may point to other files: not these.
CONTAINERS = "avi,mov,matroska,webm,mpeg,mpegvideo,mpegts,m4v,h264,hevc,mjpeg,asf,flv,ogg,gif,wtv,dv,ivf,nut"

LEAST_SHARE = 0.95  # of the frames that a header counts, and of their time; below that a file is cut short


class PyAVVideo(Video):
    """A video file, or its bytes, read by FFmpeg with one thread."""

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        self.path = path
        self.source = source
        self.container = self._open()
        self.convert = VideoReformatter()  # keeps its tables; a new one for each frame would cost more than converting
        stream = self.container.streams.video[0]
        self.height, self.width = stream.codec_context.height, stream.codec_context.width
        self.fps = believable_rate(stream.average_rate)
        self.heart_rate = _heart_rate(self.container.metadata.get("comment", ""))
        # Every packet of an intra-only codec is a frame: where header and index agree they are to be trusted, and
        # packets that are not asked for need no decoding. Elsewhere packets are counted.
        self.intra_only = stream.codec_context.codec.intra_only
        self.length = stream.frames
        self.fresh = self.intra_only and 0 < self.length == len(stream.index_entries)
        if not self.fresh:
            self._count(stream)
        elif self.container.format.name != "avi":  # which has no mark for turned pictures
            next(filter(self._turn, self.container.demux(stream)), None)
            self.fresh = False

    def _open(self) -> av.container.InputContainer:
        if self.source is not None:
            self.source.seek(0)
        container = av.open(
            self.source or self.path,
            mode="r",
            options={"max_pixels": str(MAX_PIXELS), "threads": "1"},  # of all streams, while they are looked at
            container_options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
        if not container.streams.video:
            container.close()
            raise VideoError(self.path, "holds no video stream")
        context = container.streams.video[0].codec_context
        context.thread_count = 1
        context.options = {"max_pixels": str(MAX_PIXELS)}
        return container

    def _count(self, stream: av.VideoStream) -> None:
        """Length and, where the times of the frames say otherwise than the header, rate; whether height is width.

        Left out are what an edit list cuts off and the empty packets by which an AVI waits.
        """
        packets, upright = [], False
        for packet in self.container.demux(stream):
            upright = upright or self._turn(packet)
            if packet.size > 0:
                packets.append((packet.pts, packet.is_discard))
        times = [time for time, is_discard in packets if not is_discard]
        self.length = len(times)
        known = [time for time in times if time is not None]
        if self.length < 2 or len(known) < self.length or (ticks := max(known) - min(known)) <= 0:
            return
        assert stream.time_base is not None
        tick = float(stream.time_base)  # containers round times, some to a millisecond
        least = LEAST_SHARE * stream.frames
        if len(packets) < least and self.fps and max(known) * tick < least / self.fps:
            raise VideoError(self.path, f"is cut short: {len(packets)} of {stream.frames} declared frames are there")
        if self.fps is None or abs(ticks * tick - (self.length - 1) / self.fps) > 2 * tick:
            self.fps = believable_rate((self.length - 1) / (ticks * tick))

    def _turn(self, packet: av.Packet) -> bool:
        """Swaps height and width if the first picture, once it has come, is marked as lying on its side.

        Returns whether nothing more is to be learned.
        """
        try:
            pictures = packet.decode()
        except av.FFmpegError:
            return True  # reading will say so
        if pictures and pictures[0].rotation % 180:
            self.height, self.width = self.width, self.height
        return bool(pictures)

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        if not self.fresh:  # reading has passed the first frame already
            self.container.close()
            self.container = self._open()
        self.fresh = False
        pictures = self._intra_pictures(set(wanted)) if self.intra_only else self._all_pictures()
        remaining = iter(wanted)
        target = next(remaining, None)
        for number, picture in pictures:
            if number != target:
                continue
            if picture.is_corrupt:
                raise VideoError(self.path, f"frame {number} is damaged")
            if picture.width * picture.height > MAX_PIXELS:
                raise VideoError(self.path, f"frame {number} has {picture.width}×{picture.height} pixels")
            yield self._rgb(picture)
            if (target := next(remaining, None)) is None:
                return

    def _all_pictures(self) -> Iterator[tuple[int, av.VideoFrame]]:
        return enumerate(self.container.decode(self.container.streams.video[0]))

    def _intra_pictures(self, wanted: set[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        packets = (p for p in self.container.demux(self.container.streams.video[0]) if p.size > 0)
        for number, packet in enumerate(packets):
            if number in wanted:
                for picture in packet.decode():
                    yield number, picture

    def _rgb(self, picture: av.VideoFrame) -> np.ndarray:
        """uint8 [H, W, 3], upright."""
        pixels: np.ndarray = self.convert.reformat(picture, format="rgb24", threads=1).to_ndarray()
        if picture.rotation:
            pixels = np.ascontiguousarray(np.rot90(pixels, picture.rotation // 90))
        return pixels

    def close(self) -> None:
        self.container.close()


def _heart_rate(comment: str) -> float | None:
    """What `datasets.intake.encode.write_mjpeg` notes of a DICOM's heart rate."""
    found = re.fullmatch(r"heart_rate=(\d+(?:\.\d+)?)", comment)
    return float(found[1]) or None if found else None
