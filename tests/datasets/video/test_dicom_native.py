"""Pixel data that is not compressed: its length says how long a frame is and how many there are, not the header."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from pydicom import uid

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake.check import inspect
from echoviewclip.datasets.intake.convert import convert
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from tests.dicom_objects import CINE, STRIPES, sector, to_ybr, to_ybr_422, write_object
from tests.media import frame_numbers, numbered_frames, write_video

SECTOR = sector(12)


def read(path) -> tuple[np.ndarray, tuple[str, ...]]:
    """All frames [T, H, W, 3], and the warnings."""
    with open_video(path) as video:
        frames = video.frames(range(len(video))).permute(0, 2, 3, 1).numpy()
        return frames, video.warnings


def expect(path, frames: np.ndarray, tolerance: int = 0, warning: str | None = None) -> None:
    found, warnings = read(path)
    assert found.shape == frames.shape
    np.testing.assert_allclose(found.astype(int), frames.astype(int), atol=tolerance)
    assert bool(warnings) == (warning is not None), warnings
    assert warning is None or warning in "; ".join(warnings)


def even(content: bytes) -> bytes:
    return content + b"\0" * (len(content) % 2)


# The label of the colours.


@pytest.mark.parametrize("label", ["YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_RCT", "YBR_ICT"])
@pytest.mark.parametrize("frames", [SECTOR, CINE, STRIPES], ids=["sector", "cine", "stripes"])
@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_that_kept_the_label_of_its_compressed_form_is_rgb(tmp_path, label, frames, planar):
    stored = frames.transpose(0, 3, 1, 2) if planar else frames
    path = write_object(tmp_path / "a", stored.tobytes(), frames.shape, label, PlanarConfiguration=planar)
    warning = "3 bytes a pixel" if label.endswith("_422") else None
    expect(path, frames, warning=warning)


@pytest.mark.parametrize("label", ["YBR_FULL", "YBR_FULL_422", "RGB"])
def test_a_picture_decides_whether_three_values_are_rgb_or_ybr(tmp_path, label):
    expect(
        write_object(tmp_path / "a", SECTOR.tobytes(), SECTOR.shape, label), SECTOR, 0, "" if label != "RGB" else None
    )
    path = write_object(tmp_path / "b", to_ybr(SECTOR).tobytes(), SECTOR.shape, label)
    expect(path, SECTOR, 2, "" if label != "YBR_FULL" else None)


@pytest.mark.parametrize("label", ["YBR_FULL", "RGB"])
def test_two_bytes_a_pixel_share_colours_if_the_picture_says_so(tmp_path, label):
    frames = SECTOR.copy()
    frames[..., 1::2, :] = frames[..., ::2, :]
    expect(write_object(tmp_path / "a", to_ybr_422(frames), frames.shape, label), frames, 2, "2 bytes a pixel")


def test_shared_colours_as_planes(tmp_path):
    frames = SECTOR.copy()
    frames[..., 1::2, :] = frames[..., ::2, :]
    ybr = to_ybr(frames)
    planes = b"".join(f[..., 0].tobytes() + f[:, ::2, 1].tobytes() + f[:, ::2, 2].tobytes() for f in ybr)
    for name, stored in (("a", planes), ("b", to_ybr_422(frames))):
        path = write_object(tmp_path / name, stored, frames.shape, "YBR_FULL_422", PlanarConfiguration=1)
        expect(path, frames, 2)


def test_ybr_partial_422_has_less_than_the_full_range(tmp_path):
    """PS3.3 C.7.6.3.1.2 of earlier editions: black is 16, white 235, grey has both colours at 128."""
    y = np.array([16, 16, 125, 125, 235, 235, 81, 81], np.uint8)
    cb, cr = np.array([128, 128, 128, 90], np.uint8), np.array([128, 128, 128, 240], np.uint8)
    row = np.stack([y[::2], y[1::2], cb, cr], -1).tobytes()
    path = write_object(tmp_path / "a", row * 4, (1, 4, 8, 3), "YBR_PARTIAL_422")
    found, _ = read(path)
    expected = np.array([[0, 0, 0], [127, 127, 127], [255, 255, 255], [254, 0, 0]])
    np.testing.assert_allclose(found[0, 2, ::2], expected, atol=1)


@pytest.mark.parametrize("label", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_an_odd_width_has_no_shared_colours(tmp_path, label):
    frames = SECTOR[:, :, :63]
    expect(write_object(tmp_path / "a", even(frames.tobytes()), frames.shape, label), frames, warning="3 bytes a pixel")
    path = write_object(tmp_path / "b.dcm", bytes(12 * 48 * 63 * 2), frames.shape, label)
    with pytest.raises(VideoError, match=r"b\.dcm: cannot be read: the length of its pixel data fits no number"):
        open_video(path)


@pytest.mark.parametrize(
    "label, samples, bits, planar, syntax",
    itertools.product(
        ["RGB", "YBR_FULL"], [3], [8, 16], [0, 1, None], [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
    ),
)
def test_every_right_header_is_read_as_it_says(tmp_path, label, samples, bits, planar, syntax):
    """Also where a colour fills the picture."""
    for frames in (STRIPES, SECTOR[:2], np.full((2, 20, 30, 3), (200, 30, 90), np.uint8)):
        stored = to_ybr(frames) if label == "YBR_FULL" else frames
        stored = stored.transpose(0, 3, 1, 2) if planar else stored
        order = "<" if syntax.is_little_endian else ">"
        stored = stored.astype(f"{order}u2") * 257 if bits == 16 else stored
        elements = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
        without = ["PlanarConfiguration"] if planar is None else []
        elements |= {} if planar is None else {"PlanarConfiguration": planar}
        content = stored.astype(stored.dtype).tobytes()
        path = write_object(tmp_path / "a", content, frames.shape, label, syntax, without=without, **elements)
        expect(path, frames, 2 if label == "YBR_FULL" else 0)


@pytest.mark.parametrize("label, samples", [("RGB", 1), ("MONOCHROME2", 3)])
def test_a_label_of_other_samples_is_as_the_length_says(tmp_path, label, samples):
    gray = SECTOR[..., 0]
    path = write_object(tmp_path / "a", gray.tobytes(), gray.shape, label, SamplesPerPixel=samples)
    found, warnings = read(path)
    if samples == 1:
        np.testing.assert_array_equal(found, np.repeat(gray[..., None], 3, -1))
        assert "1 bytes a pixel" in warnings[0]
    path = write_object(tmp_path / "b", SECTOR.tobytes(), SECTOR.shape, label, SamplesPerPixel=samples)
    expect(path, SECTOR)


def test_eight_bits_under_a_header_of_sixteen(tmp_path):
    gray = SECTOR[..., 0]
    path = write_object(tmp_path / "a", gray.tobytes(), gray.shape, "MONOCHROME2", BitsAllocated=16)
    expect(path, np.repeat(gray[..., None], 3, -1), warning="1 bytes a pixel")


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL", "YBR_FULL_422", "MONOCHROME2", "PALETTE COLOR"])
@pytest.mark.parametrize("frames", [1, 7, None])
def test_a_length_that_fits_nothing_is_refused(tmp_path, label, frames):
    shape = (frames or 1, 48, 64, 3 if label in ("RGB", "YBR_FULL", "YBR_FULL_422") else 1)
    for length in (1000, 48 * 64 * 3 * 7 + 4444):
        content = np.random.default_rng(0).integers(1, 255, length, np.uint8).tobytes()
        without = ["NumberOfFrames"] if frames is None else []
        path = write_object(tmp_path / "a.dcm", content, shape, label, without=without)
        with pytest.raises(VideoError, match=r"a\.dcm: cannot be read: the length of its pixel data fits no number"):
            open_video(path)


def test_zeros_after_the_last_frame_are_padding(tmp_path):
    path = write_object(tmp_path / "a", CINE.tobytes() + bytes(100), CINE.shape, "RGB")
    expect(path, CINE, warning="zeros follow the last frame")


# The number of frames.


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL_422", "MONOCHROME2"])
@pytest.mark.parametrize("declared", [None, "", 0, 5, 20])
@pytest.mark.parametrize("frames", [SECTOR, np.concatenate([CINE, 255 - CINE])], ids=["sector", "cine"])
def test_all_frames_that_are_there_are_read_and_the_difference_is_said(tmp_path, label, declared, frames):
    gray = frames[..., 0]
    stored = {"RGB": frames.tobytes(), "YBR_FULL_422": to_ybr_422(frames), "MONOCHROME2": gray.tobytes()}[label]
    shape = frames.shape if label != "MONOCHROME2" else frames.shape[:3]
    without = ["NumberOfFrames"] if declared is None else []
    elements = {"FrameTime": 25} | ({} if declared is None else {"NumberOfFrames": declared})
    path = write_object(tmp_path / "a.dcm", stored, shape, label, without=without, **elements)
    with open_video(path) as video:
        assert (len(video), video.fps) == (12, 40)
        assert "12 frames" in video.warnings[0] or "declares" in video.warnings[0]
        found = video.frames([0, 3, 6, 9]).permute(0, 2, 3, 1).numpy()
    if label != "YBR_FULL_422":
        expected = frames if label == "RGB" else np.repeat(gray[..., None], 3, -1)
        np.testing.assert_array_equal(found, expected[[0, 3, 6, 9]])
    record = convert(tmp_path, "a.dcm", tmp_path, "b.avi", Options(any_modality=True), b"salt")
    assert (record.frames, record.fault, record.skipped) == (12, "", "")
    assert any("frames" in text for text in record.warnings)


def test_a_single_image_needs_no_number_of_frames(tmp_path):
    expect(write_object(tmp_path / "a", STRIPES.tobytes(), STRIPES.shape, "RGB", without=["NumberOfFrames"]), STRIPES)


def test_a_file_that_was_cut_short_keeps_its_length_and_misses_the_frame_that_is_read(tmp_path):
    path = write_object(tmp_path / "a.dcm", CINE.tobytes(), CINE.shape, "RGB")
    path.write_bytes(path.read_bytes()[: -CINE[0].size // 2])
    with open_video(path) as video:
        assert len(video) == 6
        assert frame_numbers(video.frames([4])) == [4]
        with pytest.raises(VideoError, match=r"a\.dcm: frame 5 cannot be read: it is cut short$"):
            video.frames([4, 5])


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEG2000, uid.RLELossless, uid.MPEG4HP41])
def test_pixels_that_were_decompressed_under_their_old_transfer_syntax(tmp_path, syntax):
    path = write_object(tmp_path / "a", CINE.tobytes(), CINE.shape, "RGB")
    content = path.read_bytes()
    old = uid.ExplicitVRLittleEndian + "\0"
    named = str(syntax) + "\0" * (len(syntax) % 2)
    content = content.replace(
        len(old).to_bytes(2, "little") + old.encode(), len(named).to_bytes(2, "little") + named.encode()
    )
    path.write_bytes(content)
    expect(path, CINE, warning="not compressed")


def test_shared_colours_that_cannot_be_are_refused(tmp_path):
    """Neither the number of frames nor their grey says that these are three bytes a pixel."""
    frames = np.tile(np.array([[230, 30, 20], [20, 40, 230]], np.uint8), (12, 20, 15, 1))
    path = write_object(tmp_path / "a.dcm", frames.tobytes(), frames.shape, "YBR_FULL_422", without=["NumberOfFrames"])
    with open_video(path) as video, pytest.raises(VideoError, match=r"a\.dcm: cannot be read: its colours cannot be"):
        video.frames([0])


def test_a_supplemental_palette_is_said(tmp_path):
    elements = {"RedPaletteColorLookupTableDescriptor": [10, 200, 16]}
    gray = SECTOR[..., 0]
    path = write_object(tmp_path / "a", gray.tobytes(), gray.shape, "MONOCHROME2", **elements)
    expect(path, np.repeat(gray[..., None], 3, -1), warning="supplemental palette")


# Where warnings are shown.


def test_a_check_shows_the_warnings_of_its_videos(tmp_path):
    write_object(tmp_path / "a.dcm", CINE.tobytes(), CINE.shape, "RGB", NumberOfFrames=4)
    write_object(tmp_path / "b.dcm", CINE.tobytes(), CINE.shape, "RGB")
    (tmp_path / "list.txt").write_text("a.dcm 0\nb.dcm 1\n")
    listed = read_annotations(tmp_path / "list.txt")
    for every_frame in (True, False):
        read = inspect(listed, every_frame=every_frame, sample=None, workers=1, decoder="pyav")
        assert read.faults == []
        (warning,) = read.warnings
        assert warning == (
            f"{tmp_path / 'list.txt'}:1: {tmp_path / 'a.dcm'}: the header declares 4 frames, the pixel data holds 6"
        )


def test_a_video_stream_has_the_frames_that_it_holds(tmp_path):
    stream = write_video(tmp_path / "a.mp4", numbered_frames(20), "libx264", fps=25).read_bytes()
    for declared, syntax in ((5, uid.MPEG4HP41), (50, uid.MPEG4HP41), (20, uid.ExplicitVRLittleEndian)):
        path = write_object(
            tmp_path / "a.dcm", [stream], (20, 64, 96, 3), "YBR_PARTIAL_420", uid.MPEG4HP41, NumberOfFrames=declared
        )
        if syntax != uid.MPEG4HP41:  # called uncompressed
            old, new = uid.MPEG4HP41.encode() + b"\0", syntax.encode() + b"\0"
            old, new = (len(text).to_bytes(2, "little") + text for text in (old[: len(old) // 2 * 2], new))
            content = path.read_bytes()
            assert old in content
            path.write_bytes(content.replace(old, new))
        with open_video(path) as video:
            assert (len(video), video.fps, video.height, video.width) == (20, 25, 64, 96)
            assert frame_numbers(video.frames([19, 3])) == [19, 3]
            assert bool(video.warnings) == (declared != 20)
