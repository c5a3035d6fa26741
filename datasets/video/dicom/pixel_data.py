"""Pixel Data (7FE0,0010) in the file: where its value lies, and the items of an encapsulated one (PS3.5 A.4).

Offset tables, basic or extended, are not read: items number the frames, or what is in them does (see `group_items`),
and tables are wrong in many a file.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from echoviewclip.datasets.video.reasons import Unreadable

PIXEL_DATA = 0x7FE00010
UNDEFINED = 0xFFFFFFFF
ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
LOOKED_AT = 16  # bytes at both ends of an item
MAX_ITEMS = 1 << 21
JPEG_2000 = b"\xff\x4f\xff\x51"
JP2 = b"\0\0\0\x0cjP  "


@dataclass(frozen=True)
class Picture:
    """One frame, decoded.

    Attributes:
        values: integers [H, W] or [H, W, 3].
        meaning: MONOCHROME1, MONOCHROME2 or PALETTE COLOR; RGB, YBR_FULL or YBR_PARTIAL of three values.
        bits: of a value.
    """

    values: np.ndarray
    meaning: str
    bits: int


@dataclass(frozen=True)
class PixelData:
    """Where the value lies.

    Attributes:
        start: of the value in the file.
        length: in bytes, as stated; None where it is undefined, as that of encapsulated data.
        available: bytes from the start to the end of the file.
        words: whether it is of words (value representation OW).
        encapsulated: whether it is a sequence of items.
    """

    start: int
    length: int | None
    available: int
    words: bool
    encapsulated: bool


def find_pixel_data(file: BinaryIO, at: int, little: bool) -> PixelData | None:
    """The element at byte `at` of the file; None if that is not Pixel Data."""
    order = "<" if little else ">"
    file.seek(at)
    head = file.read(12)
    if len(head) < 8 or struct.unpack_from(order + "HH", head) != (PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF):
        return None
    representation = head[4:6]
    if representation in (b"OB", b"OW", b"UN") and len(head) == 12:
        start, length = at + 12, struct.unpack_from(order + "I", head, 8)[0]
    else:
        start, length = at + 8, struct.unpack_from(order + "I", head, 4)[0]
    file.seek(start)
    is_item = file.read(4) == ITEM
    available = file.seek(0, io.SEEK_END) - start
    undefined = length == UNDEFINED
    return PixelData(
        start, None if undefined else length, available, representation == b"OW", is_item and (undefined or length > 8)
    )  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One item (fragment) of encapsulated data.

    Attributes:
        start, length: its bytes in the file.
        head, tail: its first and last bytes.
    """

    start: int
    length: int
    head: bytes
    tail: bytes

    @property
    def begins(self) -> bool:
        """Whether a JPEG, JPEG-LS, JPEG 2000 or RLE frame begins here, or zeros that stand in its place."""
        return (
            self.head.startswith((b"\xff\xd8\xff", JPEG_2000, JP2)) or is_run_lengths(self.head) or not any(self.head)
        )

    @property
    def ends(self) -> bool:
        """Whether a JPEG, JPEG-LS or JPEG 2000 frame ends here; inside of one, the mark cannot stand."""
        return b"\xff\xd9" in self.tail


def is_run_lengths(head: bytes) -> bool:
    """Whether an RLE frame begins so: 1 to 15 segments, of which the first follows at once (PS3.5 G.5)."""
    return len(head) >= 8 and 1 <= int.from_bytes(head[:4], "little") <= 15 and head[4:8] == b"\x40\0\0\0"


def read_items(file: BinaryIO, pixels: PixelData) -> tuple[list[Item], bool]:
    """The items after that of the Basic Offset Table, and whether they end as they should."""
    items: list[Item] = []
    at, end = pixels.start, pixels.start + pixels.available
    while at + 8 <= end and len(items) <= MAX_ITEMS:
        file.seek(at)
        head = file.read(8 + LOOKED_AT)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != ITEM or length == UNDEFINED:
            return items[1:], head[:4] == END
        start, at = at + 8, at + 8 + length
        file.seek(max(start, at - LOOKED_AT))
        tail = file.read(min(LOOKED_AT, length))
        items.append(Item(start, length, head[8 : 8 + length], tail))
    if len(items) > MAX_ITEMS:
        raise Unreadable("it holds more frames than an ultrasound video has")
    stated = None if pixels.length is None else pixels.start + pixels.length
    return items[1:], at == stated


def group_items(items: Sequence[Item], declared: int | None) -> list[list[Item]]:
    """The items of each frame, of which the header declares `declared`.

    A frame is one item, or several. What their ends look like decides, except where there are as many items as
    declared frames: then each is one, unless fewer frames are all whole.
    """
    filled = [item for item in items if item.length]
    by_marks: list[list[Item]] = []
    for number, item in enumerate(items):
        if number == 0 or item.begins or items[number - 1].ends:
            by_marks.append([])
        by_marks[-1].append(item)
    whole = all(frame[0].begins and frame[-1].ends for frame in by_marks)
    for single in (items, filled):
        if len(single) == declared and not (whole and len(by_marks) < declared):
            return [[item] for item in single]
    return by_marks


def starts_stream(head: bytes) -> bool:
    """Whether an MPEG-2, MPEG-4 or HEVC stream begins so: a start code, an MP4 box, a transport stream packet."""
    return head.startswith((b"\0\0\1", b"\0\0\0\1")) or head[4:8] == b"ftyp" or head[:1] == b"\x47"
