"""DICOM objects of every transfer syntax, ours and those that pydicom ships, come out in their true colours."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, pixel_array

from echoviewclip.datasets.video.open import open_video
from tests.dicom_objects import (
    GRAY_STRIPES,
    STRIPES,
    expect_colours,
    expect_grays,
    jpeg,
    jpeg_2000,
    jpeg_ls,
    lossless_jpeg,
    run_lengths,
    to_ybr,
    write_object,
)
from tests.media import frame_numbers, numbered_frames, write_video


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
