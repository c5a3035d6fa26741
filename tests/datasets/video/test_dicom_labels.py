"""Compressed frames whose header says another thing than the codestream, and grey values of every kind."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from tests.dicom_objects import (
    GRAY_STRIPES,
    GRAYS,
    STRIPES,
    jpeg,
    jpeg_2000,
    jpeg_ls,
    lossless_jpeg,
    run_lengths,
    sector,
    to_ybr,
    write_object,
)

SECTOR = sector(1)
LABELS = ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT"]


def read(path) -> tuple[np.ndarray, tuple[str, ...]]:
    with open_video(path) as video:
        return video.frames([0])[0].permute(1, 2, 0).numpy().astype(int), video.warnings


def expect(path, frame: np.ndarray, tolerance: float = 0) -> None:
    """All but a few pixels (edges of subsampled colours) are right."""
    found, _ = read(path)
    wrong = np.abs(found - frame.astype(int)).max(-1) > tolerance
    assert wrong.mean() < 0.02, f"{wrong.mean():.2f} of the pixels are wrong"


def with_marker(coded: bytes, kind: str) -> bytes:
    """A JPEG with an Adobe marker of this transform, or none of the markers that tell colours."""
    at, kept = 2, b""
    while coded[at + 1] in (0xE0, 0xEE):
        at += 2 + int.from_bytes(coded[at + 2 : at + 4], "big")
    if kind != "none":
        kept = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([int(kind)])
    return coded[:2] + kept + coded[at:]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("marker", ["jfif", "1", "none"])
@pytest.mark.parametrize("planar", [0, 1])
def test_jpeg_of_ybr_under_any_label(tmp_path, label, subsampling, marker, planar):
    for name, frame in (("sector", SECTOR[0]), ("stripes", STRIPES[0])):
        if marker == "none" and label == "RGB" and subsampling == "4:4:4" and name == "stripes":
            continue  # nothing says that these are not RGB
        wide = frame.repeat(4, 0).repeat(4, 1)
        coded = jpeg(wide, subsampling)
        coded = coded if marker == "jfif" else with_marker(coded, marker)
        path = write_object(
            tmp_path / "a", [coded], (1, *wide.shape), label, uid.JPEGBaseline8Bit, PlanarConfiguration=planar
        )
        inner = np.zeros(wide.shape[:2], bool)
        inner[2::4, 2::4] = True
        found, _ = read(path)
        close = np.abs(found[inner] - wide[inner].astype(int)).max(-1) < 40
        assert close.mean() > 0.9


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("marker", ["identifiers", "0", "none"])
def test_jpeg_of_rgb_under_any_label(tmp_path, label, marker):
    coded = jpeg(SECTOR[0], keep_rgb=True)
    if marker != "identifiers":
        coded = with_marker(coded, marker).replace(b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0")
        coded = coded.replace(b"\3R\0G\0B\0", b"\3\1\0\2\0\3\0")
    assert (b"R\x11\0" in coded) == (marker == "identifiers")
    path = write_object(tmp_path / "a", [coded], SECTOR.shape, label, uid.JPEGBaseline8Bit)
    expect(path, SECTOR[0], 12)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("transform", ["YBR_RCT", "RGB", "YBR_ICT"])
def test_jpeg_2000_with_and_without_transform_under_any_label(tmp_path, label, transform):
    """The codestream says whether colours were transformed; the decoder undoes that."""
    syntax = uid.JPEG2000 if transform == "YBR_ICT" else uid.JPEG2000Lossless
    path = write_object(tmp_path / "a", [jpeg_2000(SECTOR[0], transform, syntax)], SECTOR.shape, label, syntax)
    expect(path, SECTOR[0], 12 if transform == "YBR_ICT" else 0)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("coded, syntax", [
    (run_lengths, uid.RLELossless), (jpeg_ls, uid.JPEGLSLossless),
    (lambda frame: jpeg_2000(frame, "RGB"), uid.JPEG2000Lossless),
])  # fmt: skip
def test_lossless_codings_of_rgb_and_ybr_under_either_label(tmp_path, coded, syntax, planar):
    for stored, tolerance in ((SECTOR[0], 0), (to_ybr(SECTOR[0]), 2)):
        for label in LABELS:
            path = write_object(
                tmp_path / "a", [coded(stored)], SECTOR.shape, label, syntax, PlanarConfiguration=planar
            )
            expect(path, SECTOR[0], tolerance)


def test_lossless_jpeg_by_planes(tmp_path):
    coded = [lossless_jpeg(STRIPES[0])]
    path = write_object(tmp_path / "a", coded, STRIPES.shape, "YBR_FULL", uid.JPEGLosslessSV1, PlanarConfiguration=1)
    expect(path, STRIPES[0], 2)


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL_422"])
def test_a_gray_codestream_under_a_label_of_colours_is_gray(tmp_path, label):
    gray = SECTOR[0, ..., 0]
    for coded, syntax in ((jpeg_ls(gray), uid.JPEGLSLossless), (jpeg_2000(gray, "MONOCHROME2"), uid.JPEG2000Lossless)):
        path = write_object(tmp_path / "a", [coded], SECTOR.shape, label, syntax)
        expect(path, np.repeat(gray[..., None], 3, -1))


@pytest.mark.parametrize("coded, syntax", [(jpeg, uid.JPEGBaseline8Bit), (jpeg_ls, uid.JPEGLSLossless)])
def test_a_codestream_that_is_cut_short_is_refused(tmp_path, coded, syntax):
    """Its decoder would give what it has, and noise or grey for the rest."""
    whole = coded(SECTOR[0])
    path = write_object(tmp_path / "a.dcm", [whole[: len(whole) * 2 // 3]], SECTOR.shape, "RGB", syntax)
    with open_video(path) as video, pytest.raises(VideoError, match=r"frame 0 cannot be read: it is cut short$"):
        video.frames([0])


def test_progressive_jpeg(tmp_path):
    file = io.BytesIO()
    Image.fromarray(SECTOR[0]).save(file, "JPEG", quality=98, subsampling="4:4:4", progressive=True)
    path = write_object(tmp_path / "a", [file.getvalue()], SECTOR.shape, "YBR_FULL_422", uid.JPEGBaseline8Bit)
    expect(path, SECTOR[0], 12)


def test_codings_that_nothing_decodes_are_refused(tmp_path):
    for syntax, name in (("1.2.840.10008.1.2.4.94", ": JPIP"), ("1.2.3.4.5.6", "$"), ("1.2.840.10008.1.2.8.1", "")):
        path = write_object(tmp_path / "a.dcm", STRIPES.tobytes(), STRIPES.shape, "RGB")
        content = path.read_bytes()
        old, new = b"\x14\0" + b"1.2.840.10008.1.2.1\0", syntax.encode() + b"\0" * (len(syntax) % 2)
        assert old in content
        path.write_bytes(content.replace(old, len(new).to_bytes(2, "little") + new))
        with pytest.raises(
            VideoError, match=r"a\.dcm: cannot be read: its coding \(transfer syntax\) is not supp.*" + name
        ):
            open_video(path)


# Grey values.


def grays(path) -> np.ndarray:
    found, _ = read(path)
    assert (found == found[..., :1]).all()
    return found[20, 4::8, 0]


def words(bits: int, high: int, **elements) -> dict[str, object]:
    return {"BitsAllocated": 16, "BitsStored": bits, "HighBit": high} | elements


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian])
@pytest.mark.parametrize("bits, high", [(12, 11), (12, 15), (10, 13), (8, 7), (16, 15)])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("overlay", [False, True])
def test_bits_of_a_word_that_hold_no_value_are_left_out(tmp_path, syntax, bits, high, signed, overlay):
    shift = high + 1 - bits
    values = np.rint(GRAY_STRIPES / 255 * (2**bits - 1)).astype(np.int64) - (2 ** (bits - 1) if signed else 0)
    stored = (values & (2**bits - 1)) << shift
    if overlay:  # bits above and below
        stored |= 0xFFFF & ~((2**bits - 1) << shift)
    content = stored.astype("<u2" if syntax.is_little_endian else ">u2").tobytes()
    elements = words(bits, high, PixelRepresentation=signed)
    path = write_object(tmp_path / "a", content, GRAY_STRIPES.shape, "MONOCHROME2", syntax, **elements)
    np.testing.assert_allclose(grays(path), GRAYS, atol=1)


@pytest.mark.parametrize("label", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "elements, expected",
    [
        ({"WindowCenter": 2048, "WindowWidth": 4096}, lambda v: v),
        ({"WindowCenter": [1024, 9], "WindowWidth": [2048, 1]}, lambda v: np.clip(v * 2, 0, 1)),
        ({"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 3096, "WindowWidth": 8192}, lambda v: v),
        ({"RescaleSlope": -1, "RescaleIntercept": 4095}, lambda v: 1 - v),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, lambda v: v),
        ({"WindowCenter": 2048, "WindowWidth": 0}, lambda v: v),
        ({"WindowCenter": 1024, "WindowWidth": 2048, "VOILUTFunction": "LINEAR_EXACT"}, lambda v: np.clip(v * 2, 0, 1)),
        ({"WindowCenter": 2048, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"},
         lambda v: 1 / (1 + np.exp(-4 * (v * 4095 - 2048) / 1000))),
    ],
)  # fmt: skip
def test_sixteen_bits_through_rescaling_and_windows(tmp_path, label, elements, expected):
    values = np.rint(GRAY_STRIPES / 255 * 4095).astype("<u2")
    path = write_object(tmp_path / "a", values.tobytes(), values.shape, label, **words(12, 11), **elements)
    right = expected(GRAYS / 255) * 255
    np.testing.assert_allclose(grays(path), 255 - right if label == "MONOCHROME1" else right, atol=2)


@pytest.mark.parametrize("depth, values", [(8, 1), (16, 257), (16, 1), (12, 16)])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
@pytest.mark.parametrize("representation", ["US", "OW"])
def test_tables_of_values_of_interest_for_many_more_values_than_entries(
    tmp_path, depth, values, syntax, representation
):
    """4096 values through 256 entries that begin at 1000: below and above are the ends."""
    entries = np.arange(256)[::-1] * values
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [256, 1000, depth])
    order = "<" if syntax.is_little_endian else ">"
    table.add_new(
        "LUTData",
        representation,
        entries.tolist() if representation == "US" else entries.astype(f"{order}u2").tobytes(),
    )
    stored = np.array([0, 999, 1000, 1100, 1255, 1256, 3000, 4095]).repeat(8)[None, None].repeat(40, 1)
    content = stored.astype(f"{order}u2").tobytes()
    path = write_object(
        tmp_path / "a", content, stored.shape, "MONOCHROME2", syntax, **words(12, 11), VOILUTSequence=[table]
    )
    np.testing.assert_allclose(grays(path), [255, 255, 255, 155, 0, 0, 0, 0], atol=1)
