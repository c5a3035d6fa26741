"""What kind of file this is, by its first bytes: names say too little."""

from __future__ import annotations

import struct

HEAD_BYTES = 512  # that `kind_of` looks at

_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
_VIDEOS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\0\0\x01\xba",  # MPEG program stream
    b"\0\0\x01\xb3",  # MPEG video
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
    b"FLV\x01",
    b"GIF87a",
    b"GIF89a",
)
_MOVIE_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # MP4 and QuickTime begin with one
_NOT_MOVIES = (b"M4A ", b"M4B ", b"heic", b"heix", b"mif1", b"msf1", b"avif", b"crx ")  # brands of sounds and pictures
_PACKET = 188  # bytes of MPEG transport streams, each beginning with G
_REPRESENTATIONS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))


def kind_of(head: bytes) -> str:
    """`dicom`, `video`, `image` or `array`; empty where the first HEAD_BYTES of a file are of none of them.

    DICOM objects may lack the preamble, as old ones do (PS3.10 7.1; ACR-NEMA).
    """
    if head[128:132] == b"DICM" or _begins_with_elements(head):
        return "dicom"
    if head.startswith(b"\x93NUMPY"):
        return "array"
    if head.startswith(_VIDEOS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return "video"
    if head[4:8] in _MOVIE_BOXES:
        return "" if head[4:8] == b"ftyp" and head[8:12] in _NOT_MOVIES else "video"
    for first in (0, 4):  # some write a time before each packet
        marks = head[first :: _PACKET + first]
        if len(marks) > 1 and set(marks) == set(b"G"):
            return "video"
    bitmap = head[:2] == b"BM" and head[6:10] == b"\0\0\0\0"
    return "image" if bitmap or head.startswith(_IMAGES) else ""


def _begins_with_elements(head: bytes) -> bool:
    """Whether there are two elements of group 2 or 8 in the order of their numbers, or one and no room for another."""
    for order in "<>":
        group, number, end = _element(head, 0, order)
        if group not in (2, 8) or end < 8:
            continue
        if end + 8 > len(head):
            return end > 8 and len(head) >= 132
        next_group, next_number, next_end = _element(head, end, order)
        if next_end and (group, number) < (next_group, next_number) and next_group < 0x40:
            return True
    return False


def _element(head: bytes, at: int, order: str) -> tuple[int, int, int]:
    """Group and number of the element at `at`, and where the next one is; 0 where none can be (PS3.5 7.1)."""
    if len(head) < at + 12:
        return 0, 0, 0
    group, number = struct.unpack_from(f"{order}HH", head, at)
    representation = head[at + 4 : at + 6]
    if representation in _LONG:
        (length,), start = struct.unpack_from(f"{order}I", head, at + 8), at + 12
    elif representation in _REPRESENTATIONS:
        (length,), start = struct.unpack_from(f"{order}H", head, at + 6), at + 8
    else:
        (length,), start = struct.unpack_from(f"{order}I", head, at + 4), at + 8
    return group, number, start + length if length % 2 == 0 and length < 1 << 16 else 0
