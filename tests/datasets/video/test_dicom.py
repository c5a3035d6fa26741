"""DICOM objects come out in their true colours, whatever their coding."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, pixel_array

from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from tests.dicom_objects import (
    CINE,
    COLOURS,
    GRAY_STRIPES,
    GRAYS,
    STRIPES,
    jpeg,
    jpeg_2000,
    jpeg_ls,
    lossless_jpeg,
    run_lengths,
    to_ybr,
    to_ybr_422,
    write_object,
)
from tests.media import frame_number, frame_numbers, numbered_frames, write_video


def colours(path) -> np.ndarray:
    """The colours [8, 3] in the middle of the stripes."""
    with open_video(path) as video:
        frame = video.frames([0])[0]
    assert frame.shape == (3, 40, 64)
    return frame[:, 20, 4::8].T.numpy()


def expect_colours(path, tolerance: int = 0) -> None:
    np.testing.assert_allclose(colours(path).astype(int), COLOURS.astype(int), atol=tolerance)


def expect_grays(path, expected=GRAYS, tolerance: int = 0) -> None:
    np.testing.assert_allclose(
        colours(path).astype(int), np.repeat(expected[:, None], 3, 1).astype(int), atol=tolerance
    )


# Colours: each Photometric Interpretation, against colours that are known.


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


# Compressed transfer syntaxes.


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_rle(tmp_path, photometric):
    frame = STRIPES[0] if photometric == "RGB" else to_ybr(STRIPES[0])
    path = write_object(tmp_path / "a", [run_lengths(frame)], STRIPES.shape, photometric, uid.RLELossless)
    expect_colours(path, tolerance=0 if photometric == "RGB" else 2)


def test_rle_monochrome(tmp_path):
    coded = [run_lengths(GRAY_STRIPES[0])]
    expect_grays(write_object(tmp_path / "a", coded, GRAY_STRIPES.shape, "MONOCHROME2", uid.RLELossless))


@pytest.mark.parametrize("photometric, subsampling", [("YBR_FULL", "4:4:4"), ("YBR_FULL_422", "4:2:2")])
def test_jpeg_baseline(tmp_path, photometric, subsampling):
    coded = [jpeg(STRIPES[0], subsampling)]
    expect_colours(write_object(tmp_path / "a", coded, STRIPES.shape, photometric, uid.JPEGBaseline8Bit), tolerance=4)


def test_jpeg_baseline_of_rgb_as_it_is(tmp_path):
    coded = [jpeg(STRIPES[0], keep_rgb=True)]
    expect_colours(write_object(tmp_path / "a", coded, STRIPES.shape, "RGB", uid.JPEGBaseline8Bit), tolerance=4)


@pytest.mark.parametrize("subsampling", ["4:2:2", "4:2:0"])
def test_jpeg_that_a_header_wrongly_calls_rgb_is_not_tinted_green(tmp_path, subsampling):
    coded = [jpeg(STRIPES[0], subsampling)]
    expect_colours(write_object(tmp_path / "a", coded, STRIPES.shape, "RGB", uid.JPEGBaseline8Bit), tolerance=4)


def test_jpeg_baseline_monochrome(tmp_path):
    coded = [jpeg(GRAY_STRIPES[0])]
    path = write_object(tmp_path / "a", coded, GRAY_STRIPES.shape, "MONOCHROME2", uid.JPEGBaseline8Bit)
    expect_grays(path, tolerance=3)


@pytest.mark.parametrize("syntax", [uid.JPEGLossless, uid.JPEGLosslessSV1])
def test_jpeg_lossless(tmp_path, syntax):
    coded = [lossless_jpeg(STRIPES[0])]
    expect_colours(write_object(tmp_path / "a", coded, STRIPES.shape, "YBR_FULL", syntax), tolerance=2)


def test_jpeg_ls(tmp_path):
    coded = [jpeg_ls(STRIPES[0])]
    expect_colours(write_object(tmp_path / "a", coded, STRIPES.shape, "RGB", uid.JPEGLSLossless))
    coded = [jpeg_ls(GRAY_STRIPES[0])]
    expect_grays(write_object(tmp_path / "b", coded, GRAY_STRIPES.shape, "MONOCHROME2", uid.JPEGLSLossless))


@pytest.mark.parametrize(
    "photometric, syntax, tolerance",
    [("YBR_RCT", uid.JPEG2000Lossless, 0), ("RGB", uid.JPEG2000Lossless, 0), ("YBR_ICT", uid.JPEG2000, 4)],
)
def test_jpeg_2000(tmp_path, photometric, syntax, tolerance):
    coded = [jpeg_2000(STRIPES[0], photometric, syntax)]
    expect_colours(write_object(tmp_path / "a", coded, STRIPES.shape, photometric, syntax), tolerance)


def test_jpeg_2000_monochrome(tmp_path):
    coded = [jpeg_2000(GRAY_STRIPES[0], "MONOCHROME2")]
    expect_grays(write_object(tmp_path / "a", coded, GRAY_STRIPES.shape, "MONOCHROME2", uid.JPEG2000Lossless))


@pytest.mark.parametrize(
    "container, codec, syntax",
    [
        ("mpg", "mpeg2video", uid.MPEG2MPML),
        ("m2v", "mpeg2video", uid.MPEG2MPHL),
        ("mp4", "libx264", uid.MPEG4HP41),
        ("h264", "libx264", uid.MPEG4HP42STEREO),
        ("ts", "libx264", uid.MPEG4HP41BD),
        ("hevc", "libx265", uid.HEVCMP51),
        ("mp4", "libx265", uid.HEVCM10P51),
    ],
)
def test_encapsulated_streams(tmp_path, container, codec, syntax):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"bf": "2"}
    stream = write_video(tmp_path / f"a.{container}", numbered_frames(20), codec, fps=25, options=options).read_bytes()
    # A stream is one fragment, or several: their borders mean nothing.
    for fragments, has_table in ((1, True), (1, False), (3, False)):
        path = write_object(tmp_path / "a.dcm", [b"x"], (20, 64, 96, 3), "YBR_PARTIAL_420", syntax, FrameTime=40)
        dataset = pydicom.dcmread(path)
        dataset.PixelData = encapsulate([stream], fragments_per_frame=fragments, has_bot=has_table)
        dataset.save_as(path)
        with open_video(path) as video:
            assert (len(video), video.fps) == (20, 25)
            for _ in range(2):
                assert frame_numbers(video.frames([17, 3])) == [17, 3]


# The objects that pydicom ships, in codings of other programs.


@pytest.mark.parametrize(
    "name", ["examples_ybr_color.dcm", "examples_rgb_color.dcm", "examples_palette.dcm", "examples_jpeg2k.dcm"]
)
def test_the_examples_of_pydicom_read_as_it_reads_them(name):
    dataset = pydicom.dcmread(get_testdata_file(name, download=False))
    expected = pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        expected = (apply_color_lut(expected, dataset) / 257).round()
    with open_video(get_testdata_file(name, download=False)) as video:
        ours = video.frames(range(len(video))).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(ours, expected.reshape(ours.shape))


def test_the_cine_of_pydicom_says_what_it_is():
    with open_video(get_testdata_file("examples_ybr_color.dcm", download=False)) as video:
        assert (len(video), video.height, video.width) == (30, 240, 320)
        assert video.fps == pytest.approx(1000 / 33.333)
        assert [(r.spatial_format, r.data_type) for r in video.regions] == [("2d", "tissue")]


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jls_lossy_sample.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "SC_rgb_rle_2frame.dcm",
        "SC_rgb_rle_16bit.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ],
)
def test_colours_of_other_programs_read_as_pydicom_reads_them(name):
    dataset = pydicom.dcmread(get_testdata_file(name, download=False))
    expected = pixel_array(dataset)
    expected = (expected / (2.0 ** (8 * expected.itemsize) - 1) * 255).round()
    with open_video(get_testdata_file(name, download=False)) as video:
        ours = video.frames(range(len(video))).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(ours, expected.reshape(ours.shape))


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_one_picture_in_several_codings_is_one_picture(name):
    with (
        open_video(get_testdata_file("MR_small.dcm", download=False)) as plain,
        open_video(get_testdata_file(name, download=False)) as coded,
    ):
        np.testing.assert_array_equal(coded.frames([0]), plain.frames([0]))
