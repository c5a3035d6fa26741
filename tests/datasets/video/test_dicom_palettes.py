"""Palettes of every kind that files hold, against the colours that were written (PS3.3 C.7.6.3.1.5, C.7.9)."""

from __future__ import annotations

import struct

import numpy as np
import pydicom
import pytest
from pydicom import uid

from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from tests.dicom_objects import COLOURS, write_object

LITTLE, BIG, IMPLICIT = uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian
INDICES = np.arange(256, dtype=np.uint8).repeat(4)[None, None].repeat(4, 1)  # [1, 4, 1024]
RAMP = np.arange(256)
COLOUR_MAP = np.stack([RAMP, np.clip(2 * RAMP - 255, 0, 255), 255 - RAMP], -1)  # smooth, and different in each colour


def table(entries: np.ndarray, form: str) -> bytes:
    """The bytes of one colour: `B` a byte an entry, `<H` or `>H` a word; `*257` and `*256` fill 16 bits."""
    code, _, factor = form.partition("*")
    return struct.pack(
        f"{code[0] if len(code) > 1 else ''}{len(entries)}{code[-1]}",
        *(entries.astype(int) * int(factor or 1)).tolist(),
    )


def write(path, colours: np.ndarray, form: str, depth: int, syntax=LITTLE, first: int = 0, pixels=INDICES, **elements):
    """`colours` [N, 3] as the palette of `pixels`."""
    for name, entries in zip(("Red", "Green", "Blue"), colours.T, strict=True):
        content = table(entries, form)
        if syntax == BIG and form == "B":  # bytes in words of two
            content = np.frombuffer(content, "u2").byteswap().tobytes()
        elements[f"{name}PaletteColorLookupTableData"] = content
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [len(colours) % 65536, first, depth]
    return write_object(path, pixels.tobytes(), pixels.shape, "PALETTE COLOR", syntax, **elements)


def read(path) -> np.ndarray:
    """The first frame [H, W, 3]; nothing is to be warned of."""
    with open_video(path) as video:
        frame = video.frames([0])[0].permute(1, 2, 0).numpy()
        assert video.warnings == ()
    return frame


@pytest.mark.parametrize(
    "syntax, form, depth, tolerance",
    [
        (LITTLE, "<H*257", 16, 0),
        (BIG, ">H*257", 16, 0),
        (IMPLICIT, "<H*257", 16, 0),
        (LITTLE, "<H*256", 16, 1),
        (BIG, ">H*256", 16, 1),
        (LITTLE, "<H*100", 16, 255),  # a dim picture, checked below
        (LITTLE, "B", 8, 0),
        (BIG, "B", 8, 0),
        (IMPLICIT, "B", 8, 0),
        (LITTLE, "<H", 8, 0),  # 8-bit entries in words
        (BIG, ">H", 8, 0),
        (IMPLICIT, "<H", 8, 0),
        (LITTLE, "<H", 16, 0),  # values up to 255 under a description of 16 bits
        (BIG, ">H", 16, 0),
        (IMPLICIT, "<H", 16, 0),
        (LITTLE, "B", 16, 0),  # bytes under a description of 16 bits
        (LITTLE, "<H*257", 8, 0),  # words of 16 bits under a description of 8
        (LITTLE, ">H", 16, 1),  # words in the other order than the file's
        (BIG, "<H", 16, 1),
        (LITTLE, ">H*257", 16, 0),
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_every_way_to_store_a_palette_gives_its_colours(tmp_path, syntax, form, depth, tolerance, bits):
    pixels = INDICES.astype(f"{'<' if syntax.is_little_endian else '>'}u{bits // 8}")
    elements = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
    path = write(tmp_path / "a", COLOUR_MAP, form, depth, syntax, pixels=pixels, **elements)
    expected = COLOUR_MAP if form != "<H*100" else (COLOUR_MAP * 100 / 257).round()
    np.testing.assert_allclose(read(path)[2, 2::4].astype(int), expected, atol=min(tolerance, 1))


def test_words_in_the_other_order_are_told_by_their_jumps(tmp_path):
    smooth = (np.stack([RAMP, RAMP, RAMP], -1) / 255) ** 0.5 * 65535
    for syntax, form in ((LITTLE, ">H"), (BIG, "<H"), (LITTLE, "<H"), (BIG, ">H")):
        path = write(tmp_path / "a", smooth.astype(int), form, 16, syntax)
        np.testing.assert_allclose(read(path)[2, 2::4], smooth / 257, atol=1)


@pytest.mark.parametrize("form, depth", [("B", 8), ("<H*257", 16)])
@pytest.mark.parametrize("first, signed", [(0, 0), (3, 0), (200, 0), (-4, 1)])
def test_values_outside_of_the_table_have_its_ends(tmp_path, form, depth, first, signed):
    pixels = np.arange(-8 if signed else 0, 248 if signed else 256, dtype=np.int8 if signed else np.uint8)
    pixels = pixels[None, None].repeat(2, 1)
    path = write(tmp_path / "a", COLOURS, form, depth, first=first, pixels=pixels, PixelRepresentation=signed)
    wanted = COLOURS[np.clip(pixels[0, 0].astype(int) - first, 0, 7)]
    np.testing.assert_array_equal(read(path)[1], wanted)


def test_zero_entries_are_65536(tmp_path):
    colours = np.stack([np.arange(65536), 65535 - np.arange(65536), np.arange(65536) // 2], -1)
    pixels = np.array([[[0, 1, 300, 5000, 40000, 65535]]], "<u2")
    bits = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    elements = {}
    for name, entries in zip(("Red", "Green", "Blue"), colours.T, strict=True):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [0, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = entries.astype("<u2").tobytes()
    path = write_object(tmp_path / "a", pixels.tobytes(), pixels.shape, "PALETTE COLOR", IMPLICIT, **bits, **elements)
    np.testing.assert_allclose(read(path)[0], colours[pixels[0, 0]] / 257, atol=0.51)


@pytest.mark.parametrize("syntax", [LITTLE, BIG, IMPLICIT])
@pytest.mark.parametrize("depth", [8, 16])
def test_segmented_palettes(tmp_path, syntax, depth):
    """Discrete, linear and indirect segments; the place of the last is in bytes (C.7.9.2.3)."""
    size, unit = depth // 8, 257 if depth == 16 else 1
    words = [0, 2, 10 * unit, 20 * unit, 1, 10, 120 * unit]
    place = len(words) * size
    words += [0, 1, 7 * unit, 1, 3, 10 * unit]  # from here on, two segments are repeated
    indirect = [place & 0xFFFF, place >> 16] if depth == 16 else [*struct.pack("<I", place)]
    words += [2, 2, *indirect]
    expected = [10, 20, *range(30, 121, 10), 7, 8, 9, 10, 7, 8, 9, 10]
    order = "<" if syntax.is_little_endian else ">"
    if depth == 16:
        content = np.array(words, f"{order}u2").tobytes()
    else:
        content = bytes(words) + b"\0" * (len(words) % 2)
        content = content if order == "<" else np.frombuffer(content, "u2").byteswap().tobytes()
    pixels = np.arange(20, dtype=np.uint8)[None, None]
    elements = {f"{c}PaletteColorLookupTableDescriptor": [20, 0, depth] for c in ("Red", "Green", "Blue")}
    elements |= {f"Segmented{c}PaletteColorLookupTableData": content for c in ("Red", "Green", "Blue")}
    path = write_object(tmp_path / "a", pixels.tobytes(), pixels.shape, "PALETTE COLOR", syntax, **elements)
    np.testing.assert_array_equal(read(path)[0], np.array(expected)[:, None].repeat(3, 1))
    elements["RedPaletteColorLookupTableDescriptor"] = [200, 0, depth]
    path = write_object(tmp_path / "b.dcm", pixels.tobytes(), pixels.shape, "PALETTE COLOR", syntax, **elements)
    with open_video(path) as video, pytest.raises(VideoError, match="segmented palette is damaged"):
        video.frames([0])


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"RedPaletteColorLookupTableData": b"\0" * 100}, "has another length than it declares"),
        ({"BluePaletteColorLookupTableDescriptor": [8, 0, 77]}, "is missing or not possible"),
        ({"GreenPaletteColorLookupTableData": None}, "is missing or damaged"),
    ],
)
def test_palettes_that_cannot_be_are_refused(tmp_path, change, reason):
    path = write(tmp_path / "a.dcm", COLOURS.repeat(32, 0), "B", 8)
    dataset = pydicom.dcmread(path)
    for name, value in change.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)
    with open_video(path) as video, pytest.raises(VideoError, match=rf"a\.dcm: cannot be read: .*{reason}"):
        video.frames([0])


def test_a_nearly_black_picture_is_warned_of(tmp_path):
    dim = np.stack([RAMP, RAMP, RAMP], -1) * 20
    with open_video(write(tmp_path / "a", dim, "<H", 16)) as video:
        assert video.frames([0]).max() < 32
        assert "nearly black" in video.warnings[0]
