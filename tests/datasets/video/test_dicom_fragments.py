"""Encapsulated frames: found by their items and what is in them, not by offset tables; damaged ones are named."""

from __future__ import annotations

import struct

import numpy as np
import pydicom
import pytest
from pydicom import uid

from echoviewclip.datasets.intake.convert import convert
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from tests.dicom_objects import items, jpeg, jpeg_2000, jpeg_ls, lossless_jpeg, run_lengths, write_object
from tests.media import frame_numbers, numbered_frames

FRAMES = numbered_frames(12, height=40, width=48)
CODINGS = {
    "jpeg": (jpeg, "YBR_FULL_422", uid.JPEGBaseline8Bit),
    "lossless": (lossless_jpeg, "YBR_FULL", uid.JPEGLosslessSV1),
    "jpeg-ls": (jpeg_ls, "RGB", uid.JPEGLSLossless),
    "jpeg 2000": (lambda frame: jpeg_2000(frame, "YBR_RCT"), "YBR_RCT", uid.JPEG2000Lossless),
    "rle": (run_lengths, "RGB", uid.RLELossless),
}
every_coding = pytest.mark.parametrize("coding", CODINGS)


def write(path, coding: str, fragments: list[bytes], table=(), end: bool = True, **elements):
    _, photometric, syntax = CODINGS[coding]
    elements = {"NumberOfFrames": 12} | elements
    without = ["NumberOfFrames"] if elements["NumberOfFrames"] is None else []
    if without:
        del elements["NumberOfFrames"]
    content = items(fragments, table, end)
    return write_object(path, content, FRAMES.shape, photometric, syntax, without=without, **elements)


def coded(coding: str) -> list[bytes]:
    return [CODINGS[coding][0](frame) for frame in FRAMES]


def offsets(fragments: list[bytes]) -> list[int]:
    """What a Basic Offset Table of one fragment a frame should hold."""
    sizes = [8 + len(fragment) + len(fragment) % 2 for fragment in fragments]
    return [0, *np.cumsum(sizes[:-1]).tolist()]


def halves(frames: list[bytes]) -> list[bytes]:
    """Each frame as two fragments of even length."""
    return [part for frame in frames for part in (frame[: len(frame) // 4 * 2], frame[len(frame) // 4 * 2 :])]


def expect_all(path, warning: str | None = None, count: int = 12) -> None:
    with open_video(path) as video:
        assert len(video) == count
        assert frame_numbers(video.frames([0, 3, 6, 9])) == [0, 3, 6, 9]
        assert frame_numbers(video.frames(range(count))) == list(range(count))
        assert (warning or "") in "; ".join(video.warnings)
        assert bool(video.warnings) == (warning is not None)


@every_coding
@pytest.mark.parametrize("wrong", ["zero", "by 8", "short", "long", "shuffled", "huge"])
def test_offset_tables_that_are_wrong_change_nothing(tmp_path, coding, wrong):
    fragments = coded(coding)
    right = offsets(fragments)
    table = {
        "zero": [0] * 12,
        "by 8": [offset + 8 for offset in right],
        "short": right[:5],
        "long": right + [right[-1] + 1000] * 3,
        "shuffled": right[::-1],
        "huge": [0xFFFFFFF0] * 12,
    }[wrong]
    expect_all(write(tmp_path / "a", coding, fragments, table))


@pytest.mark.parametrize("wrong", ["zero", "by 8", "short", "right"])
def test_extended_offset_tables_change_nothing(tmp_path, wrong):
    fragments = coded("jpeg")
    right = offsets(fragments)
    table = {"zero": [0] * 12, "by 8": [offset + 8 for offset in right], "short": right[:5], "right": right}[wrong]
    lengths = [len(fragment) for fragment in fragments][: len(table)]
    elements = {
        "ExtendedOffsetTable": struct.pack(f"<{len(table)}Q", *table),
        "ExtendedOffsetTableLengths": struct.pack(f"<{len(table)}Q", *lengths),
    }
    expect_all(write(tmp_path / "a", "jpeg", fragments, **elements))


@every_coding
@pytest.mark.parametrize("declared, warning", [(12, None), (24, "declares 24"), (5, "declares 5"), (None, "12 frames")])
def test_a_frame_in_several_fragments(tmp_path, coding, declared, warning):
    path = write(tmp_path / "a", coding, halves(coded(coding)), NumberOfFrames=declared)
    if coding == "rle" and declared == 24:  # nothing in RLE says where a frame ends
        with open_video(path) as video, pytest.raises(VideoError, match="frame 0 cannot be read"):
            video.frames([0, 1])
        return
    expect_all(path, warning)


@every_coding
@pytest.mark.parametrize(
    "declared, warning", [(20, "declares 20"), (5, "declares 5"), (1, "declares 1 "), (None, "12 ")]
)
@pytest.mark.parametrize("has_table", [True, False])
def test_all_frames_that_are_there_are_read(tmp_path, coding, declared, warning, has_table):
    fragments = coded(coding)
    table = offsets(fragments) if has_table else ()
    path = write(tmp_path / "a.dcm", coding, fragments, table, NumberOfFrames=declared, FrameTime=50)
    expect_all(path, warning)
    with open_video(path) as video:
        assert video.fps == 20


@every_coding
@pytest.mark.parametrize("bad", ["zeros", "empty", "noise", "cut"])
def test_a_damaged_frame_is_named_and_the_others_are_read(tmp_path, coding, bad):
    fragments = coded(coding)
    noise = np.random.default_rng(0).integers(1, 255, 500, np.uint8).tobytes()
    fragments[7] = {"zeros": bytes(600), "empty": b"", "noise": noise, "cut": fragments[7][:100]}[bad]
    path = write(tmp_path / "a.dcm", coding, fragments)
    with open_video(path) as video:
        assert len(video) == 12
        assert frame_numbers(video.frames([6, 8, 11])) == [6, 8, 11]
        with pytest.raises(VideoError, match=r"a\.dcm: frame 7 cannot be read: ") as caught:
            list(video.iterate())
        assert "0x" not in str(caught.value) and len(caught.value.reason) < 120
    record = convert(tmp_path, "a.dcm", tmp_path, "b.avi", Options(any_modality=True), b"salt")
    assert record.fault.startswith("frame 7 cannot be read: ")


@every_coding
@pytest.mark.parametrize("bad", [b"", bytes(600)])
def test_a_damaged_first_frame_costs_itself_alone(tmp_path, coding, bad):
    path = write(tmp_path / "a.dcm", coding, [bad, *coded(coding)[1:]])
    with open_video(path) as video:
        assert frame_numbers(video.frames([1, 5])) == [1, 5]
        with pytest.raises(VideoError, match="frame 0 cannot be read: it holds nothing"):
            video.frames([0])


def test_an_empty_item_too_many_is_left_out(tmp_path):
    fragments = coded("jpeg")
    expect_all(write(tmp_path / "a", "jpeg", [*fragments, b""]))
    expect_all(write(tmp_path / "b", "jpeg", [b"", *fragments]))


@every_coding
def test_a_file_that_was_cut_short_misses_its_last_frames(tmp_path, coding):
    fragments = coded(coding)
    path = write(tmp_path / "a.dcm", coding, fragments)
    content = path.read_bytes()
    at = content.rindex(fragments[8])
    for cut in (at, at + len(fragments[8]) // 2):
        path.write_bytes(content[:cut])
        with open_video(path) as video:
            assert len(video) == 12
            assert frame_numbers(video.frames([0, 7])) == [0, 7]
            for k in (8, 10):
                with pytest.raises(
                    VideoError, match=rf"a\.dcm: frame {k} cannot be read: it is (cut short|missing|not)"
                ):
                    video.frames([7, k])


def test_frames_in_one_item_are_refused(tmp_path):
    path = write(tmp_path / "a.dcm", "jpeg", [b"".join(frame + b"\0" * (len(frame) % 2) for frame in coded("jpeg"))])
    with pytest.raises(VideoError, match="several of its frames lie in one item"):
        open_video(path)


@every_coding
def test_compressed_data_under_another_transfer_syntax(tmp_path, coding):
    """That of another coding, none, or no meta header at all."""
    path = write(tmp_path / "a", coding, coded(coding))
    for syntax in (uid.JPEGBaseline8Bit, uid.JPEG2000, uid.RLELossless, uid.ExplicitVRLittleEndian, None):
        old = pydicom.dcmread(path).file_meta.TransferSyntaxUID
        content = path.read_bytes()
        at = content.index(old.encode())
        size = len(old) + len(old) % 2
        named = str(syntax or "") + "\0" * (len(syntax or "") % 2)
        head = content[: at - 2] + struct.pack("<H", len(named)) + named.encode() + content[at + size :]
        (tmp_path / "b").write_bytes(head if syntax else content[content.index(b"\x08\x00\x16\x00") :])
        with open_video(tmp_path / "b") as video:
            assert frame_numbers(video.frames([0, 3, 11])) == [0, 3, 11]
