"""The frames of a DICOM object, found and decoded one by one; objects that are damaged or not what they say."""

from __future__ import annotations

import struct
import tarfile

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, encapsulate_extended

from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from tests.dicom_objects import CINE, STRIPES, jpeg, jpeg_2000, jpeg_ls, run_lengths, write_object
from tests.media import frame_numbers


def expect_stripes(path) -> None:
    with open_video(path) as video:
        np.testing.assert_array_equal(video.frames([0]).permute(0, 2, 3, 1), STRIPES)


def coded_cine(frames: np.ndarray = CINE) -> list[bytes]:
    return [jpeg(frame) for frame in frames]


def test_each_index_gives_its_frame(tmp_path):
    for name, pixels, syntax in (
        ("a", CINE.tobytes(), uid.ExplicitVRLittleEndian),
        ("b", [run_lengths(frame) for frame in CINE], uid.RLELossless),
        ("c", [jpeg_2000(frame, "RGB") for frame in CINE], uid.JPEG2000Lossless),
    ):
        with open_video(write_object(tmp_path / name, pixels, CINE.shape, "RGB", syntax)) as video:
            for indices in ([5, 0, 5, 3], [2], range(6)):
                frames = video.frames(indices).permute(0, 2, 3, 1)
                np.testing.assert_array_equal(frames, CINE[list(indices)])


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
@pytest.mark.parametrize("fragments", [1, 3])
def test_frames_are_found_with_and_without_offset_tables(tmp_path, table, fragments):
    path = write_object(tmp_path / "a", [b"x"], CINE.shape, "YBR_FULL", uid.JPEGBaseline8Bit)
    dataset = pydicom.dcmread(path)
    if table == "extended":
        values = encapsulate_extended(coded_cine())
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = values
    else:
        dataset.PixelData = encapsulate(coded_cine(), fragments_per_frame=fragments, has_bot=table == "basic")
    dataset.save_as(path)
    with open_video(path) as video:
        assert frame_numbers(video.frames([4, 1])) == [4, 1]


def test_only_the_frames_asked_for_are_decoded(tmp_path):
    coded = coded_cine()
    ruined = [frame if k in (1, 4) else bytes(len(frame)) for k, frame in enumerate(coded)]
    path = write_object(tmp_path / "a.dcm", ruined, CINE.shape, "YBR_FULL", uid.JPEGBaseline8Bit)
    with open_video(path) as video:
        assert frame_numbers(video.frames([4, 1])) == [4, 1]
        with pytest.raises(VideoError, match=r"a\.dcm: "):
            video.frames([1, 2])


def test_old_objects_begin_without_a_mark(tmp_path):
    dataset = pydicom.dcmread(write_object(tmp_path / "a", STRIPES.tobytes(), STRIPES.shape, "RGB"))
    del dataset.file_meta
    dataset.preamble = None
    dataset.save_as(tmp_path / "old.dcm", implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert b"DICM" not in (tmp_path / "old.dcm").read_bytes()
    expect_stripes(tmp_path / "old.dcm")


def test_the_suffix_does_not_matter(tmp_path):
    for name in ("IM_0001", "a.avi", "a.png"):
        expect_stripes(write_object(tmp_path / name, STRIPES.tobytes(), STRIPES.shape, "RGB"))


# Faults.


def test_objects_without_pixels_say_so():
    for name in ("reportsi.dcm", "waveform_ecg.dcm", "rtplan.dcm"):
        with pytest.raises(VideoError, match=f"{name}: is a DICOM object without pixels$"):
            open_video(get_testdata_file(name, download=False))


def test_a_frame_of_another_size_than_declared_is_refused(tmp_path):
    """Before memory is spent: the coded frame may be far larger than the header says."""
    for coded, syntax in (
        (jpeg(STRIPES[0]), uid.JPEGBaseline8Bit),
        (jpeg_ls(STRIPES[0]), uid.JPEGLSLossless),
        (jpeg_2000(STRIPES[0], "RGB"), uid.JPEG2000Lossless),
    ):
        path = write_object(tmp_path / "a.dcm", [coded], (1, 20, 32, 3), "RGB", syntax)
        with (
            open_video(path) as video,
            pytest.raises(VideoError, match=r"declares 32×20 pixels, but its frame has 64×40$"),
        ):
            video.frames([0])


def test_a_deflated_object_is_refused_before_it_is_inflated(tmp_path):
    with pytest.raises(VideoError, match="is a deflated DICOM object"):
        open_video(get_testdata_file("image_dfl.dcm", download=False))


def test_pixels_that_end_early_are_missed_when_read(tmp_path):
    path = write_object(tmp_path / "a.dcm", CINE.tobytes(), CINE.shape, "RGB")
    path.write_bytes(path.read_bytes()[: -2 * CINE[0].size])
    with open_video(path) as video:
        np.testing.assert_array_equal(video.frames([3]).permute(0, 2, 3, 1), CINE[3:4])
        with pytest.raises(VideoError, match=r"a\.dcm: "):
            video.frames([5])
    path = write_object(tmp_path / "b.dcm", coded_cine()[:4], CINE.shape, "YBR_FULL", uid.JPEGBaseline8Bit)
    with open_video(path) as video, pytest.raises(VideoError, match=r"b\.dcm: "):
        video.frames([5])


def test_a_tail_of_zeros_ends_the_header_at_once(tmp_path):
    """A copy that broke off leaves zeros, each eight of which look like an empty element."""
    content = write_object(tmp_path / "a.dcm", STRIPES.tobytes(), STRIPES.shape, "RGB").read_bytes()
    at = content.index(struct.pack("<HH", 0x0028, 0x0002))
    (tmp_path / "a.dcm").write_bytes(content[:at] + bytes(64 << 20))
    with pytest.raises(VideoError, match="is a DICOM object without pixels"):
        open_video(tmp_path / "a.dcm")


def test_dicom_in_a_tar_is_read_like_any_other(tmp_path):
    write_object(tmp_path / "a", STRIPES.tobytes(), STRIPES.shape, "RGB")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(tmp_path / "a", "a")
    expect_stripes(f"{tmp_path / 'b.tar'}/a")
