"""Compressed frames: one item or several for each, decoded as what their codestreams are."""

from __future__ import annotations

from typing import BinaryIO

from pydicom import uid

from echoviewclip.datasets.video.dicom.codestream import Codestream, decode_values, holds_another, read_codestream
from echoviewclip.datasets.video.dicom.header import GRAYS, PixelHeader
from echoviewclip.datasets.video.dicom.pixel_data import (
    Item,
    Picture,
    PixelData,
    group_items,
    read_items,
    starts_stream,
)
from echoviewclip.datasets.video.reasons import Unreadable


class CodedFrames:
    """Frames in the items of encapsulated Pixel Data.

    Attributes:
        count: how many there are, or should be where the file is cut short.
        warnings: what is not as the header says.
        shares_colours: never; decoders give each pixel its own.
    """

    shares_colours = False

    def __init__(self, file: BinaryIO, pixels: PixelData, header: PixelHeader) -> None:
        self.file, self.header = file, header
        self.warnings: list[str] = []
        self.items, is_whole = read_items(file, pixels)
        self.frames = group_items(self.items, header.frames)
        self.count = len(self.frames)
        if self.count < (stated := header.frames or 0):
            if not is_whole:
                self.count = stated
            elif any(holds_another(self._read(frame)) for frame in self.frames):
                raise Unreadable("several of its frames lie in one item")

    def holds_stream(self) -> bool:
        """Whether the items are those of a video stream, and not of pictures."""
        return bool(self.items) and starts_stream(self.items[0].head)

    def picture(self, number: int) -> Picture:
        """The values of a frame; raises Unreadable where it is damaged or of another size than the header states."""
        if number >= len(self.frames):
            raise Unreadable("it is missing: the file is cut short or damaged")
        frame = self._read(self.frames[number])
        stream = read_codestream(frame)
        self._check_size(stream)
        values = decode_values(frame, stream, self.header)
        bits = min(stream.bits or self.header.stored, self.header.stored)
        return Picture(values, self._meaning(stream, values.ndim), bits)

    def _read(self, items: list[Item]) -> bytes:
        parts = []
        for item in items:
            self.file.seek(item.start)
            parts.append(self.file.read(item.length))
            if len(parts[-1]) < item.length:
                raise Unreadable("it is cut short")
        return b"".join(parts)

    def _check_size(self, stream: Codestream) -> None:
        """Before memory is spent: the coded frame may be far larger than the header says."""
        height, width = self.header.height, self.header.width
        if stream.height is not None and (stream.height, stream.width) != (height, width):
            raise Unreadable(
                f"the header declares {width}×{height} pixels, but its frame has {stream.width}×{stream.height}"
            )
        if stream.components not in (None, 1, 3):
            raise Unreadable(f"it has {stream.components} colours")

    def _meaning(self, stream: Codestream, dimensions: int) -> str:
        """What the decoded values are: by the codestream where it says so, else by the header."""
        label = self.header.meaning
        if dimensions == 2:
            return label if label in GRAYS else "MONOCHROME2"
        if stream.meaning is not None:
            return stream.meaning
        lossy_jpeg = stream.syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
        is_rgb = label == "RGB" or (not lossy_jpeg and not label.startswith(("YBR_FULL", "YBR_PARTIAL")))
        return "RGB" if is_rgb else "YBR_FULL"
