"""Coded frames: what a JPEG, JPEG-LS, JPEG 2000 or RLE codestream says of itself, and its decoding.

The codestream is believed where it and the header disagree: it is what the decoder reads.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

from echoviewclip.datasets.video.dicom.header import PixelHeader, signed_values
from echoviewclip.datasets.video.dicom.pixel_data import is_run_lengths
from echoviewclip.datasets.video.reasons import Unreadable

JP2_HEADER = 4096  # bytes in which a JPEG 2000 codestream begins where boxes stand before it
ENUMERATED = {16: "RGB", 18: "YBR_FULL"}  # colour spaces of a JP2 box (ISO 15444-1 I.5.3.3)


@dataclass(frozen=True)
class Codestream:
    """What a coded frame says of itself.

    Attributes:
        syntax: a transfer syntax whose decoder reads it.
        height, width: in pixels; None of RLE, which does not say.
        components: values a pixel; None of RLE.
        bits: of a value; None of RLE.
        meaning: RGB or YBR_FULL, of three components; None where it does not say.
    """

    syntax: uid.UID
    height: int | None = None
    width: int | None = None
    components: int | None = None
    bits: int | None = None
    meaning: str | None = None


def read_codestream(frame: bytes) -> Codestream:
    """Reads the headers of a coded frame; raises Unreadable where it is none, or is cut short."""
    if is_run_lengths(frame[:8]):
        return Codestream(uid.RLELossless)
    at = frame.find(b"\xff\x4f\xff\x51", 0, JP2_HEADER)
    try:
        found = _jpeg_2000(frame, at) if at >= 0 else _jpeg(frame)
    except (struct.error, IndexError):
        found = None
    if found is None:
        raise Unreadable("it is not a coded picture, or is damaged" if any(frame) else "it holds nothing")
    return found


def _jpeg_2000(frame: bytes, at: int) -> Codestream:
    """Image and tile size and coding style (ISO 15444-1 A.5.1, A.6.1); sizes are grid minus offset."""
    right, bottom, left, top = struct.unpack_from(">4I", frame, at + 8)
    components, depth = struct.unpack_from(">HB", frame, at + 40)
    has_transform, is_high_throughput = False, False
    place = at + 2
    while (marker := frame[place + 1]) != 0x90 and frame[place] == 0xFF:  # start of the first tile
        has_transform |= marker == 0x52 and frame[place + 8] == 1
        is_high_throughput |= marker == 0x50
        place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
    syntax = uid.HTJ2K if is_high_throughput else uid.JPEG2000
    meaning = "RGB" if has_transform else _jp2_colour(frame[:at])  # the decoder undoes the transform
    return Codestream(syntax, bottom - top, right - left, components, (depth & 0x7F) + 1, meaning)


def _jp2_colour(boxes: bytes) -> str | None:
    at = boxes.find(b"colr")
    if at < 0 or boxes[at + 4] != 1:
        return None
    return ENUMERATED.get(struct.unpack_from(">I", boxes, at + 7)[0])


def _jpeg(frame: bytes) -> Codestream | None:
    """Frame header (ISO 10918-1 B.2.2), and what says whether three components are RGB or YCbCr."""
    found, has_jfif, adobe = None, False, b""
    for marker, at, segment in _segments(frame):
        if marker == 0xE0:
            has_jfif |= segment.startswith(b"JFIF")
        elif marker == 0xEE and segment.startswith(b"Adobe"):
            adobe = segment[11:12]  # the transform: 0 none, 1 YCbCr
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            found = marker, segment
        elif marker == 0xDA and frame.find(b"\xff\xd9", at) < 0:
            raise Unreadable("it is cut short")
    if found is None:
        return None
    marker, header = found
    bits, height, width, components = struct.unpack_from(">BHHB", header)
    identifiers = header[6 : 6 + 3 * components : 3]
    sampling = header[7 : 7 + 3 * components : 3]
    meaning = None
    if has_jfif or adobe == b"\1" or len(set(sampling)) > 1:  # nobody samples RGB so
        meaning = "YBR_FULL"
    elif adobe == b"\0" or identifiers in (b"RGB", b"rgb"):
        meaning = "RGB"
    syntax = {0xC3: uid.JPEGLossless, 0xF7: uid.JPEGLSLossless}.get(marker)
    syntax = syntax or (uid.JPEGBaseline8Bit if bits == 8 else uid.JPEGExtended12Bit)
    return Codestream(syntax, height, width, components, bits, meaning)


def _segments(frame: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Marker, place and content of each segment up to the first scan."""
    at = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker, size = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == 0xFF:  # filled up
            at += 1
            continue
        yield marker, at, frame[at + 4 : at + 2 + size]
        if marker == 0xDA:
            return
        at += 2 + size


def holds_another(frame: bytes) -> bool:
    """Whether a second JPEG image follows the first in the same frame."""
    at = frame.find(b"\xff\xd9")
    return at >= 0 and frame[at + 2 : at + 64].lstrip(b"\0\xff").startswith(b"\xd8\xff")


def decode_values(frame: bytes, stream: Codestream, header: PixelHeader) -> np.ndarray:
    """Values [H, W] or [H, W, 3] of a coded frame, as coded: nothing is done to colours.

    Raises whatever the decoder raises where the frame is damaged.
    """
    components = stream.components or header.samples
    allocated = header.allocated if stream.bits is None else 8 * (1 + (stream.bits > 8))
    options: dict[str, Any] = {  # each of which pydicom's annotations take for all of them
        "rows": header.height,
        "columns": header.width,
        "number_of_frames": 1,
        "samples_per_pixel": components,
        "planar_configuration": 0,
        "photometric_interpretation": "MONOCHROME2" if components == 1 else "RGB",
        "pixel_keyword": "PixelData",
        "pixel_representation": 0,
        "bits_allocated": allocated,
        "bits_stored": allocated,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, _ = get_decoder(stream.syntax).as_array(
            encapsulate([frame]),
            index=0,
            raw=True,
            decoding_plugin="" if stream.syntax == uid.RLELossless else "pylibjpeg",
            **options,
        )
    if stream.bits is None:
        return header.values(values)
    bits = min(stream.bits, header.stored)
    return signed_values(values & (2**bits - 1), bits, True) if header.signed else values
