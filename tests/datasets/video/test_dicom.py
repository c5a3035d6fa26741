"""DICOM objects come out in their true colours, whatever their Photometric Interpretation."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from tests.dicom_objects import (
    CINE,
    COLOURS,
    GRAY_STRIPES,
    GRAYS,
    STRIPES,
    expect_colours,
    expect_grays,
    to_ybr,
    to_ybr_422,
    write_object,
)
from tests.media import frame_number


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_rgb(tmp_path, syntax):
    expect_colours(write_object(tmp_path / "a", STRIPES.tobytes(), STRIPES.shape, "RGB", syntax))


def test_rgb_by_planes(tmp_path):
    planes = STRIPES.transpose(0, 3, 1, 2).tobytes()
    expect_colours(write_object(tmp_path / "a", planes, STRIPES.shape, "RGB", PlanarConfiguration=1))


@pytest.mark.parametrize("representation", ["OB", "OW"])
@pytest.mark.parametrize("width", [64, 63])
def test_rgb_big_endian(tmp_path, representation, width):
    """Words of two bytes are swapped, also where a frame of odd size ends within one."""
    frames = np.stack([STRIPES[0, :39, :width], 255 - STRIPES[0, :39, :width], STRIPES[0, :39, :width] // 2])
    pixels = frames.tobytes() + b"\0" * (frames.size % 2)
    stored = np.frombuffer(pixels, "u2").byteswap().tobytes() if representation == "OW" else pixels
    path = write_object(tmp_path / "a", stored, frames.shape, "RGB", uid.ExplicitVRBigEndian)
    if representation == "OW":
        content = bytearray(path.read_bytes())
        at = content.rindex(b"\x7f\xe0\x00\x10OB")
        content[at + 4 : at + 6] = b"OW"
        path.write_bytes(content)
    with open_video(path) as video:
        np.testing.assert_array_equal(video.frames([2, 1, 0]).permute(0, 2, 3, 1), frames[::-1])


def test_ybr_full(tmp_path):
    ybr = to_ybr(STRIPES)
    expect_colours(write_object(tmp_path / "a", ybr.tobytes(), STRIPES.shape, "YBR_FULL"), tolerance=2)
    planes = ybr.transpose(0, 3, 1, 2).tobytes()
    path = write_object(tmp_path / "b", planes, STRIPES.shape, "YBR_FULL", PlanarConfiguration=1)
    expect_colours(path, tolerance=2)


def test_ybr_full_422(tmp_path):
    path = write_object(tmp_path / "a", to_ybr_422(STRIPES), STRIPES.shape, "YBR_FULL_422")
    expect_colours(path, tolerance=2)


def test_ybr_full_422_of_several_frames(tmp_path):
    with open_video(write_object(tmp_path / "a", to_ybr_422(CINE), CINE.shape, "YBR_FULL_422")) as video:
        assert [frame_number(frame) for frame in video.iterate([1, 4])] == [1, 4]


def test_monochrome2(tmp_path):
    expect_grays(write_object(tmp_path / "a", GRAY_STRIPES.tobytes(), GRAY_STRIPES.shape, "MONOCHROME2"))


def test_monochrome1_is_white_at_zero(tmp_path):
    path = write_object(tmp_path / "a", (255 - GRAY_STRIPES).tobytes(), GRAY_STRIPES.shape, "MONOCHROME1")
    expect_grays(path)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_twelve_bits_fill_the_range(tmp_path, syntax):
    values = np.rint(GRAY_STRIPES / 255 * 4095).astype("<u2" if syntax.is_little_endian else ">u2")
    bits = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}
    expect_grays(write_object(tmp_path / "a", values.tobytes(), values.shape, "MONOCHROME2", syntax, **bits), GRAYS, 1)


def test_signed_values_are_centred(tmp_path):
    values = (GRAY_STRIPES.astype(np.int16) - 128).astype(np.int8)
    path = write_object(tmp_path / "a", values.tobytes(), values.shape, "MONOCHROME2", PixelRepresentation=1)
    expect_grays(path)


def test_a_window_is_applied(tmp_path):
    """PS3.3 C.11.2.1.2: width 100 about 130 is black at 80 and white at 179."""
    window = {"WindowCenter": 130, "WindowWidth": 100}
    path = write_object(tmp_path / "a", GRAY_STRIPES.tobytes(), GRAY_STRIPES.shape, "MONOCHROME2", **window)
    linear = ((GRAYS.astype(float) - 129.5) / 99 + 0.5) * 255
    expect_grays(path, np.clip(linear, 0, 255), tolerance=1)


def test_a_rescaling_is_applied_before_the_window(tmp_path):
    elements = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 155.5, "WindowWidth": 511}
    path = write_object(tmp_path / "a", GRAY_STRIPES.tobytes(), GRAY_STRIPES.shape, "MONOCHROME2", **elements)
    expect_grays(path, GRAYS, tolerance=1)


def test_a_table_of_values_of_interest_is_applied(tmp_path):
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [256, 0, 12])
    table.add_new("LUTData", "US", [(255 - k) * 4095 // 255 for k in range(256)])  # turns grey over
    elements = {"VOILUTSequence": [table]}
    path = write_object(tmp_path / "a", GRAY_STRIPES.tobytes(), GRAY_STRIPES.shape, "MONOCHROME2", **elements)
    expect_grays(path, 255 - GRAYS, tolerance=1)


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_color(tmp_path, bits):
    indices = np.arange(8, dtype=np.uint8).repeat(8)[None, None].repeat(40, 1)
    tables = {}
    for k, name in enumerate(("Red", "Green", "Blue")):
        entries = COLOURS[:, k].astype("<u2") * (257 if bits == 16 else 1)
        tables[f"{name}PaletteColorLookupTableData"] = entries.astype("<u2" if bits == 16 else "u1").tobytes()
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [8, 0, bits]
    expect_colours(write_object(tmp_path / "a", indices.tobytes(), indices.shape, "PALETTE COLOR", **tables))


def test_an_unknown_interpretation_is_an_error_that_names_it(tmp_path):
    path = write_object(tmp_path / "a.dcm", STRIPES.tobytes(), STRIPES.shape, "HSV")
    with open_video(path) as video, pytest.raises(VideoError, match=r"a\.dcm: cannot be read: .*HSV"):
        video.frames([0])
