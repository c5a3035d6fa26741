"""Nothing that stands in a file reaches a message: a name planted in each text of a header is in none."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom import uid

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.intake.check import inspect
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from tests.dicom_objects import GRAY_STRIPES, jpeg, jpeg_2000, write_object
from tests.fuzzing import FRAMES
from tests.media import write_video

NAME = "DOE^JANE"
LONG = ("OB", "OD", "OF", "OL", "OW", "SQ", "UC", "UN", "UR", "UT")
META = {0x0010: "UI"}  # Transfer Syntax UID
TEXTS = [
    *((tag, "CS") for tag in (0x00080005, 0x00080008, 0x00080060, 0x00280004, 0x00281056, 0x20500020, 0x00282114)),
    *((tag, "IS") for tag in (0x00280008, 0x00180040, 0x00181088, 0x00082144)),
    *((tag, "DS") for tag in (0x00181063, 0x00181065, 0x00180072, 0x00281050, 0x00281051, 0x00281052, 0x00281053)),
    *((tag, "LO") for tag in (0x00100020, 0x00280010, 0x00280011, 0x00280002, 0x00280100, 0x00280101, 0x00280102)),
    *((tag, "LO") for tag in (0x00280103, 0x00280006, 0x00081090, 0x00281101, 0x00281201, 0x00283000, 0x00186011)),
    *((tag, "LO") for tag in (0x00020010, 0x00020002, 0x00080016)),
    (0x00100010, "PN"), (0x00080018, "UI"), (0x00080020, "DA"), (0x00101010, "AS"), (0x00204000, "LT"),
    (0x00020010, "UI"), (0x00020016, "AE"), (0x00080030, "TM"), (0x00281101, "US"), (0x00280009, "AT"),
]  # fmt: skip


def elements(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag, begin and end of each element of an explicit little-endian object."""
    at = 132
    while at < len(content):
        group, element, representation = struct.unpack_from("<HH2s", content, at)
        long = representation.decode("latin1") in LONG
        size = struct.unpack_from("<I" if long else "<H", content, at + (8 if long else 6))[0]
        end = len(content) if size == 0xFFFFFFFF else at + (12 if long else 8) + size
        yield group << 16 | element, at, end
        at = end


def with_text(content: bytes, tag: int, representation: str, text: str = NAME) -> bytes:
    """The object with this text in the place of the element's value."""
    value = text.encode() + b" " * (len(text) % 2)
    planted = struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, representation.encode(), len(value)) + value
    before = b"".join(content[a:b] for found, a, b in elements(content) if found < tag)
    return content[:132] + before + planted + b"".join(content[a:b] for found, a, b in elements(content) if found > tag)


def dicoms(path: Path) -> list[bytes]:
    """Objects of each coding whose headers are used differently."""
    height, width = GRAY_STRIPES.shape[1:]
    palette = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", np.arange(256, dtype="<u2").tobytes()))
    }
    gray = (GRAY_STRIPES.repeat(2, 0).tobytes(), (2, height, width))
    shape = (2, *FRAMES.shape[1:])
    codings = [
        (FRAMES[:2].tobytes(), shape, "RGB", uid.ExplicitVRLittleEndian, {"FrameTime": "40"}),
        (*gray, "MONOCHROME2", uid.ExplicitVRLittleEndian, {"WindowCenter": 9, "WindowWidth": 10}),
        (*gray, "PALETTE COLOR", uid.ExplicitVRLittleEndian, palette),
        ([jpeg(frame) for frame in FRAMES[:2]], shape, "YBR_FULL", uid.JPEGBaseline8Bit, {}),
        ([jpeg_2000(frame, "YBR_RCT") for frame in FRAMES[:2]], shape, "YBR_RCT", uid.JPEG2000Lossless, {}),
    ]
    return [write_object(path, *coding[:4], **coding[4]).read_bytes() for coding in codings]


def reason(path: Path) -> str:
    """Why it cannot be read; empty where it can."""
    try:
        with open_video(path) as video:
            for _ in video.iterate():
                pass
            video.frames([0])
    except VideoError as error:
        assert "\n" not in error.reason and len(error.reason) < 200
        return error.reason
    return ""


@pytest.fixture(autouse=True)
def nothing_is_said(capfd, caplog, recwarn):
    """Neither logged, warned of, nor printed by a library."""
    caplog.set_level(logging.DEBUG)
    yield
    said = "".join([*capfd.readouterr(), caplog.text, *(str(warning.message) for warning in recwarn)])
    assert "DOE" not in said and "JANE" not in said


def test_no_text_of_a_dicom_header_is_quoted(tmp_path):
    refused = set()
    for content in dicoms(tmp_path / "whole.dcm"):
        assert reason(tmp_path / "whole.dcm") == ""
        for tag, representation in TEXTS:
            (tmp_path / "a.dcm").write_bytes(with_text(content, tag, representation))
            said = reason(tmp_path / "a.dcm")
            assert "DOE" not in said and "JANE" not in said, f"{tag:08x} {representation}: {said}"
            refused |= {tag} if said else set()
    assert {0x00280004, 0x00280008, 0x00280010, 0x00020010} <= refused


def test_no_text_of_a_dicom_header_leaves_the_program(tmp_path):
    """Not by the log of a run, the errors of a prediction, a check, a manifest or the faults of `prepare`."""
    source = tmp_path / "source"
    source.mkdir()
    (content, *_) = dicoms(tmp_path / "whole.dcm")
    for tag in (0x00280004, 0x00280008, 0x00280010):
        representation = dict(TEXTS)[tag]
        (source / f"{tag:08x}.dcm").write_bytes(with_text(content, tag, representation))
    (tmp_path / "list.txt").write_text("".join(f"{file.name} 0\n" for file in sorted(source.glob("*.dcm"))))
    listed = read_annotations(tmp_path / "list.txt", source)
    dataset = VideoDataset(listed, frames=2, size=32)
    said = [sample.faults[0][1] for sample in (dataset[i] for i in range(3))]
    said += inspect(listed, every_frame=True, sample=None, workers=1, decoder="pyav").faults
    said += [record.fault for record in prepare(source, tmp_path / "done", Options(), 0)]
    assert len(said) == 9 and all(said)
    written = "".join(file.read_text() for file in tmp_path.glob("done*/*.*"))
    for text in [*said, written]:
        assert "DOE" not in text and "JANE" not in text


def test_digits_in_the_place_of_a_count_are_not_quoted(tmp_path):
    (content, *_) = dicoms(tmp_path / "whole.dcm")
    for digits in ("471108", "47110815", "-4711081"):
        (tmp_path / "a.dcm").write_bytes(with_text(content, 0x00280008, "IS", digits))
        said = reason(tmp_path / "a.dcm")
        (tmp_path / "source").mkdir(exist_ok=True)
        (tmp_path / "source/a.dcm").write_bytes((tmp_path / "a.dcm").read_bytes())
        (record,) = prepare(tmp_path / "source", tmp_path / digits, Options(), 0)
        assert "4711" not in " ".join([said, record.fault, *record.warnings])
        assert record.fault or record.warnings


@pytest.mark.parametrize("codec", ["mjpeg", "libx264", "mpeg4"])
@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_no_text_of_a_video_file_is_quoted(tmp_path, codec, suffix):
    content = write_video(tmp_path / f"whole{suffix}", FRAMES, codec).read_bytes()
    marks = (b"MJPG", b"H264", b"FMP4", b"avc1", b"mp4v", b"jpeg", b"isom", b"VideoHandler", b"hdlr", b"Lavf",
             b"V_MJPEG", b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/ASP", b"V_MS/VFW/FOURCC", b"matroska", b"vide", b"vids",
             b"strf", b"strh", b"stsd")  # fmt: skip
    found = [mark for mark in marks if mark in content]
    assert found
    for mark in found:
        planted = (NAME * 3).encode()[: len(mark)]
        (tmp_path / f"a{suffix}").write_bytes(content.replace(mark, planted))
        said = reason(tmp_path / f"a{suffix}")
        assert "DOE" not in said and "JANE" not in said, f"{mark}: {said}"


def test_no_text_of_images_arrays_and_archives_is_quoted(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", NAME * 40)
    picture = Image.fromarray(FRAMES[0])
    picture.save(tmp_path / "a.png", pnginfo=texts)
    picture.save(tmp_path / "a.tif", description=NAME * 40)
    picture.save(tmp_path / "a.jpg", comment=NAME * 40)
    for file in ("a.png", "a.tif", "a.jpg"):
        content = (tmp_path / file).read_bytes()
        at = content.index(NAME.encode())
        for start in range(0, at, max(1, at // 12)):
            broken = content[:start] + NAME.encode() + content[start + len(NAME) :]
            (tmp_path / f"b{file}").write_bytes(broken)
            assert "DOE" not in reason(tmp_path / f"b{file}")
            (tmp_path / f"c{file}").write_bytes(content[: at + start])
            assert "DOE" not in reason(tmp_path / f"c{file}")
    np.save(tmp_path / "a.npy", np.zeros(3, [(NAME, "u1")]))
    assert reason(tmp_path / "a.npy") == "is an array of another type than uint8; expected uint8 [T, H, W, 3]"
    for header in (f"{{'descr': '{NAME}', 'fortran_order': False, 'shape': (3,), }}", f"{NAME}(", f"{{'{NAME}': 1}}"):
        size = struct.pack("<H", len(header) + 1)
        (tmp_path / "b.npy").write_bytes(b"\x93NUMPY\1\0" + size + header.encode() + b"\n" + bytes(90))
        said = reason(tmp_path / "b.npy")
        assert said and "DOE" not in said
    (tmp_path / "a.tar").write_bytes((NAME * 64).encode() + bytes(1024))
    assert "DOE" not in reason(tmp_path / "a.tar/a.avi")
