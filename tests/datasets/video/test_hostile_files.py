"""Files that promise more than they hold, a few bytes that declare gigabytes, and paths that lead out of the data."""

from __future__ import annotations

import json
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import uid

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.errors import UserError
from tests.dicom_objects import jpeg, jpeg_2000, jpeg_ls, lossless_jpeg, write_object
from tests.fuzzing import FRAMES, KINDS, Reader, fuzz
from tests.media import write_video


def expect_refusal(read: Reader, path: Path) -> str:
    error = read(path)
    assert error is not None, f"{path} was read"
    return error


def replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content and len(old) == len(new)
    return content.replace(old, new)


def test_images_that_declare_gigapixels_are_refused(read, whole, tmp_path):
    height, width = FRAMES.shape[1:3]
    png = bytearray(whole["png"])
    png[16:24] = struct.pack(">II", 60000, 60000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    bmp = replaced(whole["bmp"], struct.pack("<ii", width, height), struct.pack("<ii", 60000, 60000))
    photo = replaced(whole["jpeg"], struct.pack(">HH", height, width), struct.pack(">HH", 65500, 65500))
    for name, content in (("a.png", bytes(png)), ("a.bmp", bmp), ("a.jpg", photo)):
        (tmp_path / name).write_bytes(content)
        assert "pixels" in expect_refusal(read, tmp_path / name)


@pytest.mark.parametrize("shape", [(1 << 40, 224, 224, 3), (1000, 100000, 100000, 3), (-1, 224, 224, 3), (0, 4, 4, 3)])
def test_arrays_that_declare_more_than_they_hold_are_refused(read, tmp_path, shape):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.write(bytes(1000))
    expect_refusal(read, tmp_path / "a.npy")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(tmp_path / "a.npy", "a.npy")
    expect_refusal(read, f"{tmp_path / 'b.tar'}/a.npy")


def test_an_array_of_objects_runs_nothing(read, tmp_path):
    np.save(tmp_path / "a.npy", np.array([print], object), allow_pickle=True)
    expect_refusal(read, tmp_path / "a.npy")


def test_videos_that_declare_gigapixels_are_refused(read, whole, tmp_path):
    height, width = FRAMES.shape[1:3]
    avi = replaced(whole["mjpeg"], struct.pack("<II", width, height), struct.pack("<II", 60000, 60000))
    avi = replaced(avi, struct.pack(">HH", height, width), struct.pack(">HH", 65500, 65500))
    (tmp_path / "a.avi").write_bytes(avi)
    expect_refusal(read, tmp_path / "a.avi")
    boxes = replaced(whole["mjpeg in mp4"], struct.pack(">HH", width, height), struct.pack(">HH", 65500, 65500))
    boxes = replaced(boxes, struct.pack(">HH", height, width), struct.pack(">HH", 65500, 65500))
    (tmp_path / "a.mp4").write_bytes(boxes)
    expect_refusal(read, tmp_path / "a.mp4")


@pytest.mark.parametrize("count", [1 << 20, 1 << 24, 1 << 27, (1 << 31) - 1, (1 << 32) - 1])
def test_indices_that_declare_millions_of_frames_are_read_or_named(read, whole, tmp_path, count):
    for kind in ("h264", "mjpeg in mp4"):
        for table, at in ((b"stsz", 12), (b"stsz", 8), (b"stts", 12), (b"stts", 8), (b"stsc", 8), (b"ctts", 12)):
            content = bytearray(whole[kind])
            if table in content:
                place = content.index(table) + at
                content[place : place + 4] = struct.pack(">I", count)
                (tmp_path / "a.mp4").write_bytes(content)
                read(tmp_path / "a.mp4")
    content = bytearray(whole["mjpeg"])
    for mark, at in ((b"avih", 24), (b"strh", 40), (b"idx1", 4)):
        changed = bytearray(content)
        place = content.index(mark) + at
        changed[place : place + 4] = struct.pack("<I", count)
        (tmp_path / "a.avi").write_bytes(changed)
        read(tmp_path / "a.avi")


@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 5000, "Columns": 6000},
        {"Rows": 0},
        {"NumberOfFrames": 2**31 - 1},
        {"NumberOfFrames": 10**15},
        {"NumberOfFrames": -5},
        {"NumberOfFrames": 10**6},
        {"SamplesPerPixel": 65535},
        {"SamplesPerPixel": 0},
        {"BitsAllocated": 65528, "BitsStored": 65528},
        {"BitsAllocated": 32, "BitsStored": 32, "Rows": 5000, "Columns": 6000},
        {"BitsAllocated": 0},
        {"BitsStored": 0},
        {"PlanarConfiguration": 77},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("dicom")])
def test_dicom_headers_that_declare_gigabytes_are_read_or_named(read, whole, tmp_path, kind, elements):
    (tmp_path / "whole.dcm").write_bytes(whole[kind])
    dataset = pydicom.dcmread(tmp_path / "whole.dcm")
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(tmp_path / "a.dcm")
    error = read(tmp_path / "a.dcm")
    if elements.get("Rows") == 65535 and kind != "dicom, stream":
        assert error == f"{tmp_path / 'a.dcm'}: declares frames of 65535×65535 pixels"


def test_run_lengths_that_unfold_to_gigabytes_stay_within_memory(read, tmp_path):
    """RLE packs 128 equal bytes into two."""
    rows, columns, samples, bytes_each = 5000, 6000, 3, 2
    plane = b"\x81\x07" * -(-rows * columns // 128)
    segments = samples * bytes_each
    starts = [64 + k * len(plane) for k in range(segments)] + [0] * (15 - segments)
    coded = struct.pack("<16I", segments, *starts) + plane * segments
    bits = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    write_object(tmp_path / "a.dcm", [coded], (1, rows, columns, samples), "RGB", uid.RLELossless, **bits)
    read(tmp_path / "a.dcm")


def test_a_codestream_larger_than_its_header_is_refused(read, tmp_path):
    for number, (coded, syntax) in enumerate(
        [
            (jpeg(FRAMES[0]), uid.JPEGBaseline8Bit),
            (jpeg_ls(FRAMES[0]), uid.JPEGLSLossless),
            (lossless_jpeg(FRAMES[0]), uid.JPEGLosslessSV1),
        ]
    ):
        height, width = FRAMES.shape[1:3]
        coded = replaced(coded, struct.pack(">HH", height, width), struct.pack(">HH", 65000, 65000))
        path = write_object(tmp_path / f"{number}.dcm", [coded], (1, height, width, 3), "RGB", syntax)
        assert "but its frame has 65000×65000" in expect_refusal(read, path)
    coded = bytearray(jpeg_2000(FRAMES[0], "RGB"))
    at = coded.index(b"\xff\x51") + 6
    coded[at : at + 8] = struct.pack(">II", 1 << 20, 1 << 20)
    path = write_object(tmp_path / "b.dcm", [bytes(coded)], (1, height, width, 3), "RGB", uid.JPEG2000Lossless)
    assert "but its frame has 1048576×1048576" in expect_refusal(read, path)


@fuzz(80)
@given(
    tag=st.tuples(st.sampled_from([0x0008, 0x0028, 0x0018, 0x0009, 0x7FE0]), st.integers(0, 0xFFFF)),
    representation=st.sampled_from([b"OB", b"OW", b"SQ", b"UN", b"UT", b"US", b"IS", b"DS", b"CS", b"??", b"\0\0"]),
    length=st.sampled_from([0, 1, 2, 0xFFFE, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]),
    at=st.sampled_from([b"\x08\x00\x16\x00", b"\x28\x00\x02\x00", b"\xe0\x7f\x10\x00"]),
)
def test_dicom_elements_of_hostile_lengths_are_read_or_named(read, whole, tmp_path, tag, representation, length, at):
    long = representation in (b"OB", b"OW", b"SQ", b"UN", b"UT")
    element = struct.pack("<HH", *tag) + representation
    element += struct.pack("<HI", 0, length) if long else struct.pack("<H", length & 0xFFFF)
    content = whole["dicom"]
    place = content.rindex(at)
    (tmp_path / "a.dcm").write_bytes(content[:place] + element + content[place:])
    read(tmp_path / "a.dcm")


@pytest.mark.parametrize("depth", [50, 5000])
def test_sequences_nested_without_end_are_read_or_named(read, whole, tmp_path, depth):
    sequence = struct.pack("<HH2sHI", 0x0018, 0x6011, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    content = whole["dicom"]
    place = content.index(b"\x28\x00\x02\x00")
    (tmp_path / "a.dcm").write_bytes(content[:place] + sequence * depth + content[place:])
    read(tmp_path / "a.dcm")


@pytest.mark.parametrize("length", [0, 7, 0x7FFFFFFF, 0xFFFFFFFE])
@pytest.mark.parametrize("kind", ["dicom, jpeg", "dicom, rle", "dicom, stream"])
def test_fragments_of_hostile_lengths_are_read_or_named(read, whole, tmp_path, kind, length):
    content = whole[kind]
    pixels = content.rindex(b"\xe0\x7f\x10\x00")
    item = content.index(b"\xfe\xff\x00\xe0", pixels + 13)
    for at in (pixels + 12, item):  # the offset table, the first frame
        changed = bytearray(content)
        changed[at + 4 : at + 8] = struct.pack("<I", length)
        (tmp_path / "a.dcm").write_bytes(changed)
        read(tmp_path / "a.dcm")


def test_a_deflated_bomb_is_not_inflated(read, tmp_path):
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bomb.compress(bytes(1 << 24)) + bomb.flush(zlib.Z_FULL_FLUSH)  # stands for itself wherever it is
    packed = block * 256 + bomb.flush()  # 4 GB of zeros
    path = write_object(tmp_path / "a.dcm", FRAMES.tobytes(), FRAMES.shape, "RGB")
    content = path.read_bytes()
    plain = uid.ExplicitVRLittleEndian.encode()
    head = content[: content.index(b"\x08\x00\x16\x00")]
    deflated = uid.DeflatedExplicitVRLittleEndian.encode() + b"\0"
    at = head.index(plain)
    length = struct.pack("<H", len(deflated))
    path.write_bytes(head[: at - 2] + length + deflated + head[at + len(plain) + len(plain) % 2 :] + packed)
    assert "is a deflated DICOM object" in expect_refusal(read, path)


def test_a_compressed_text_in_a_png_is_not_a_bomb(read, whole, tmp_path):
    text = b"Comment\0\0" + zlib.compress(bytes(1 << 27), 1)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    (tmp_path / "a.png").write_bytes(whole["png"][:33] + chunk + whole["png"][33:])
    read(tmp_path / "a.png")


def test_an_archive_whose_member_declares_gigabytes_is_refused(read, whole, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        entry = tarfile.TarInfo("a.avi")
        entry.size = 5 << 30
        tar.fileobj.write(entry.tobuf())
        tar.fileobj.write(whole["mjpeg"])
    expect_refusal(read, f"{tmp_path / 'a.tar'}/a.avi")


# Paths that leave the data folder.


@fuzz(60)
@given(
    before=st.lists(st.sampled_from(["a", ".", "b c", "…"]), max_size=2),
    after=st.lists(st.sampled_from(["a.avi", "etc", ".."]), min_size=1, max_size=3),
    separator=st.sampled_from(["/", "\\"]),
    form=st.sampled_from(["txt", "csv", "json"]),
)
def test_a_list_never_leads_out_of_its_folder(tmp_path, before, after, separator, form):
    path = separator.join([*before, "..", *after])
    texts = {"txt": f"a.avi 1\n{path} 1\n", "csv": f"path,label\n{path},1\n"}
    texts["json"] = json.dumps([{"filename": "a.avi", "label": 0}, {"filename": path, "label": 0}])
    (tmp_path / f"list.{form}").write_text(texts[form], encoding="utf-8")
    with pytest.raises(UserError, match=rf"list\.{form}:2: the path .* leaves the data folder; `\.\.` is not allowed"):
        read_annotations(tmp_path / f"list.{form}")


def test_an_archive_gives_its_own_members_only(tmp_path):
    write_video(tmp_path / "secret.avi", FRAMES)
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data" / "a.tar", "w") as tar:
        for kind, name in ((tarfile.SYMTYPE, "link.avi"), (tarfile.LNKTYPE, "hard.avi")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "../secret.avi"
            tar.addfile(entry)
    for name in ("../secret.avi", "../../secret.avi", "link.avi", "hard.avi", str(tmp_path / "secret.avi")):
        with pytest.raises(VideoError, match="no such member"):
            open_video(f"{tmp_path / 'data' / 'a.tar'}/{name}")
