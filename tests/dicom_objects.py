"""Small DICOM objects of known pixels for tests, in every coding that a library here can write."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder

from echoviewclip.datasets.video.open import open_video
from tests.media import numbered_frames

COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 0, 0], [255, 255, 255], [128, 128, 128], [30, 90, 200]],
    np.uint8,
)
STRIPES = COLOURS.repeat(8, 0)[None, None].repeat(40, 1)  # [1, 40, 64, 3], a colour each 8 pixels
GRAYS = np.array([0, 30, 64, 100, 128, 180, 220, 255], np.uint8)
GRAY_STRIPES = GRAYS.repeat(8)[None, None].repeat(40, 1)  # [1, 40, 64]
CINE = numbered_frames(6, height=40, width=48)


def write_object(
    path: str | Path,
    pixels: bytes | Sequence[bytes],
    shape: tuple[int, ...],
    photometric: str,
    syntax: uid.UID = uid.ExplicitVRLittleEndian,
    *,
    without: Sequence[str] = (),
    **elements: object,
) -> Path:
    """Writes an ultrasound object of `shape` [T, H, W] or [T, H, W, samples].

    `pixels` are the bytes as they stand in the file, or the coded frames of a compressed `syntax`; `elements` are
    further elements, or other values, and `without` those to leave out.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = uid.UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = shape[:3]
    dataset.SamplesPerPixel = shape[3] if len(shape) > 3 else 1
    if dataset.SamplesPerPixel > 1:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels if isinstance(pixels, bytes) else encapsulate(list(pixels))
    for name in without:
        delattr(dataset, name)
    dataset["PixelData"].VR = "OW" if syntax == uid.ImplicitVRLittleEndian or dataset.BitsAllocated > 8 else "OB"
    dataset.save_as(path, enforce_file_format=True)
    return Path(path)


def items(fragments: Sequence[bytes], table: Sequence[int] = (), end: bool = True) -> bytes:
    """Encapsulated pixel data of these fragments, with whatever a Basic Offset Table is to say (PS3.5 A.4)."""
    padded = [
        fragment + b"\0" * (len(fragment) % 2) for fragment in (struct.pack(f"<{len(table)}I", *table), *fragments)
    ]
    value = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(fragment)) + fragment for fragment in padded)
    return value + (b"\xfe\xff\xdd\xe0\0\0\0\0" if end else b"")


def sector(count: int = 3, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] as of ultrasound: grey speckle in a sector on black, with flow in it in colours."""
    rows, columns = np.mgrid[:height, :width]
    inside = (np.abs(columns - width / 2) < rows * 0.6) & (np.hypot(columns - width / 2, rows) < height * 0.9)
    flow = inside & (np.abs(rows - height / 2) < 4) & (columns > width / 2)
    speckle = np.random.default_rng(0).integers(20, 200, (count, height, width), np.uint8)
    frames = np.where(inside, speckle, 0)[..., None].repeat(3, -1)
    frames[:, flow] = (210, 40, 20)
    return frames


def jpeg(frame: np.ndarray, subsampling: str = "4:4:4", keep_rgb: bool = False) -> bytes:
    """A JPEG of [H, W, 3] (as YCbCr, or with `keep_rgb` as it is) or [H, W]."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=98, subsampling=subsampling, keep_rgb=keep_rgb)
    return file.getvalue()


def jpeg_ls(frame: np.ndarray) -> bytes:
    """One frame [H, W, 3] or [H, W] as lossless JPEG-LS."""
    layout = "gray" if frame.ndim == 2 else "rgb24"
    return _coded(frame, layout, "jpegls", layout)


def lossless_jpeg(frame: np.ndarray) -> bytes:
    """One RGB frame [H, W, 3] as lossless JPEG (process 14, prediction 1) of its YCbCr."""
    return _coded(frame, "rgb24", "ljpeg", "yuvj444p")


def _coded(frame: np.ndarray, layout: str, codec: str, coded_layout: str) -> bytes:
    context = av.CodecContext.create(codec, "w")
    context.height, context.width = frame.shape[:2]
    context.pix_fmt, context.time_base, context.options = coded_layout, Fraction(1, 25), {"strict": "-1"}
    picture = av.VideoFrame.from_ndarray(frame, format=layout).reformat(format=coded_layout)
    return b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode()])


def jpeg_2000(frame: np.ndarray, photometric: str, syntax: uid.UID = uid.JPEG2000Lossless) -> bytes:
    """One frame uint8 [H, W, 3] or [H, W] as JPEG 2000: YBR_RCT and YBR_ICT turn RGB into YCbCr, RGB does not."""
    return get_encoder(syntax).encode(
        frame,
        rows=frame.shape[0],
        columns=frame.shape[1],
        number_of_frames=1,
        samples_per_pixel=3 if frame.ndim == 3 else 1,
        bits_allocated=8,
        bits_stored=8,
        pixel_representation=0,
        planar_configuration=0,
        photometric_interpretation=photometric,
        **({} if syntax == uid.JPEG2000Lossless else {"j2k_psnr": [50]}),
    )


def run_lengths(frame: np.ndarray) -> bytes:
    """One frame [H, W, 3] or [H, W] as RLE (DICOM PS3.5 annex G)."""
    samples = 3 if frame.ndim == 3 else 1
    return get_encoder(uid.RLELossless).encode(
        frame,
        rows=frame.shape[0],
        columns=frame.shape[1],
        number_of_frames=1,
        samples_per_pixel=samples,
        bits_allocated=8,
        bits_stored=8,
        pixel_representation=0,
        planar_configuration=0,
        photometric_interpretation="RGB" if samples == 3 else "MONOCHROME2",
    )


def to_ybr(frames: np.ndarray) -> np.ndarray:
    """RGB → YBR_FULL, uint8 (DICOM PS3.3 C.7.6.3.1.2)."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return np.clip(np.rint(frames @ matrix.T + (0, 128, 128)), 0, 255).astype(np.uint8)


def to_ybr_422(frames: np.ndarray) -> bytes:
    """RGB [..., W, 3] of even width → the bytes of YBR_FULL_422: two Y, then the Cb and Cr of the first."""
    ybr = to_ybr(frames)
    left, right = ybr[..., ::2, :], ybr[..., 1::2, :]
    return np.stack([left[..., 0], right[..., 0], left[..., 1], left[..., 2]], -1).tobytes()


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
