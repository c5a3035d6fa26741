"""DICOM objects as videos: pixels in the right colours, frame times, heart rate and ultrasound regions.

Frames are cut out of the pixel data one by one, checked, and decoded as an object of one frame, so that neither a long
cine nor a hostile header costs more memory than the frames that were asked for. Numbers in brackets are DICOM tags.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate, generate_fragments, generate_frames, parse_basic_offsets
from pydicom.filereader import read_partial
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, get_decoder
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from datasets.reasons import Unreadable
from datasets.regions import Region, read_regions
from datasets.video import NoImage, Video, VideoError

# Encapsulated MPEG-2, MPEG-4 AVC and HEVC streams: 1.2.840.10008.1.2.4.100 to .108
STREAMS = tuple(f"1.2.840.10008.1.2.4.{k}" for k in range(100, 109))
MAX_STREAM_BYTES = 1 << 30
META_BYTES = 1 << 20  # the file's meta information lies in these
RETIRED = ("HSV", "ARGB", "CMYK")  # photometric interpretations of earlier editions of DICOM
PIXEL_GROUP = 0x0028
PIXEL_DATA, FLOAT_PIXEL_DATA = 0x7FE00010, 0x7FE00008


class DicomVideo(Video):
    """A DICOM object with pixel data; a single image is a video of one frame.

    Besides what every video has: `regions`, and `dataset`, all elements before the pixel data.
    """

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        self.path = path
        self.file = source or open(path, "rb")  # noqa: SIM115  (closed by `close`)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # remarks on values that matter to no one here
                self._read_header()
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> None:
        if DeflatedExplicitVRLittleEndian.encode() in self.file.read(META_BYTES):
            # pydicom would inflate it whole, whatever it becomes.
            raise VideoError(self.path, "is a deflated DICOM object; videos are not stored so")
        self.file.seek(0)
        dataset = read_partial(self.file, _ends_header, force=True)
        self.dataset, self.pixels_at = dataset, self.file.tell()
        self.syntax = dataset.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian
        if "Rows" not in dataset or "Columns" not in dataset:
            if is_of_no_image(dataset):
                raise NoImage(self.path, "is a DICOM object without an image")
            raise VideoError(self.path, "is a DICOM object without pixels" if len(dataset) else "is not a DICOM object")
        self.height, self.width = int(dataset.Rows), int(dataset.Columns)
        self.length = int(dataset.get("NumberOfFrames") or 1)
        self.fps = frame_rate(dataset) if self.length > 1 else None
        self.heart_rate = _positive(dataset.get("HeartRate"))  # (0018,1088)
        self.regions: tuple[Region, ...] = read_regions(dataset)
        self.stream: Video | None = None
        if self.syntax in STREAMS:
            self._open_stream()

    def _open_stream(self) -> None:
        from datasets.video_pyav import PyAVVideo

        self._seek_pixels()
        parse_basic_offsets(self.file)  # goes to what follows them
        stream = io.BytesIO()
        for fragment in generate_fragments(self.file):
            stream.write(fragment)
            if stream.tell() > MAX_STREAM_BYTES:
                raise VideoError(self.path, "holds a video stream of more than 1 GB")
        self.stream = PyAVVideo(self.path, stream)
        self.length, self.fps = self.stream.length, self.fps or self.stream.fps

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        if self.stream is not None:
            yield from self.stream.decode(wanted)
            return
        for frame in self._cut(wanted):
            yield to_rgb(*self._decode_one(frame))

    def _cut(self, wanted: Sequence[int]) -> Iterator[bytes]:
        """The coded bytes of each frame."""
        swapped = self._seek_pixels()
        if self.syntax.is_compressed:
            chosen = set(wanted)
            for number, frame in enumerate(generate_frames(self.file, number_of_frames=self.length)):
                if number in chosen:
                    yield frame
                    if number == wanted[-1]:
                        return
        else:
            size = get_expected_length(self.dataset) // self.length
            start = self.file.tell()
            for number in wanted:
                at = number * size
                if swapped:  # bytes in words of two: the frame may begin or end within one
                    self.file.seek(start + at // 2 * 2)
                    words = self.file.read(size + 2)
                    yield np.frombuffer(words[: len(words) // 2 * 2], "u2").byteswap().tobytes()[at % 2 :][:size]
                else:
                    self.file.seek(start + at)
                    yield self.file.read(size)

    def _seek_pixels(self) -> bool:
        """Goes to the value of Pixel Data (7FE0,0010), whose length is not believed.

        Returns whether its bytes are swapped: big-endian words that hold two pixels each.
        """
        self.file.seek(self.pixels_at)
        _, little = self.dataset.original_encoding
        tag = struct.unpack("<HH" if little else ">HH", self.file.read(4))
        if tag != (PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF):
            raise VideoError(self.path, "is a DICOM object without pixels")
        representation = self.file.read(2)
        self.file.seek(6 if representation in (b"OB", b"OW", b"UN") else 2, io.SEEK_CUR)
        return not little and representation == b"OW" and self.dataset.get("BitsAllocated") == 8

    def _decode_one(self, frame: bytes) -> tuple[np.ndarray, str, pydicom.Dataset]:
        """Pixels [H, W] or [H, W, 3] as stored, what they mean (0028,0004), and the elements that say more."""
        one = self.dataset.group_dataset(PIXEL_GROUP)  # shares its elements: those that change are made anew
        one.add_new("NumberOfFrames", "IS", 1)
        one.file_meta = pydicom.dataset.FileMetaDataset()
        one.file_meta.TransferSyntaxUID = self.syntax
        if self.syntax.is_compressed:
            declared = codestream_size(frame)
            if declared and declared != (self.height, self.width):
                raise VideoError(
                    self.path,
                    f"declares {self.width}×{self.height} pixels, but its frame has {declared[1]}×{declared[0]}",
                )
            if _is_subsampled_jpeg(frame) and one.get("PhotometricInterpretation") == "RGB":
                one.add_new("PhotometricInterpretation", "CS", "YBR_FULL_422")  # RGB never is: the header is wrong
        one.PixelData = encapsulate([frame]) if self.syntax.is_compressed else frame
        one["PixelData"].VR = "OB" if one.get("BitsAllocated", 8) <= 8 or self.syntax.is_compressed else "OW"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels, result = get_decoder(self.syntax).as_array(one)
        return pixels, str(result["photometric_interpretation"]), one

    def close(self) -> None:
        self.file.close()


def _ends_header(tag: int, _representation: str | None, _length: int) -> bool:
    """At the pixels; and at zeros, which some copies leave where the rest of a file should be."""
    return tag >= FLOAT_PIXEL_DATA or tag == 0


def is_of_no_image(dataset: pydicom.Dataset) -> bool:
    """Whether objects of this SOP class (0008,0016) hold no image: reports, waveforms, presentation states, DICOMDIR.

    An object without a class, or of a class of images, should have one.
    """
    named = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or ""
    name = uid.UID(str(named)).name  # of private classes the number
    return bool(named) and "Image" not in name and name != "Enhanced US Volume Storage"


def to_rgb(pixels: np.ndarray, meaning: str, dataset: pydicom.Dataset) -> np.ndarray:
    """Stored values [H, W] or [H, W, 3] → uint8 [H, W, 3] RGB, by Photometric Interpretation (0028,0004)."""
    stored = int(dataset.get("BitsStored") or 8)
    if meaning.startswith("MONOCHROME"):
        gray = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset)
        gray = _to_bytes(gray, *_gray_range(dataset, stored))
        return np.repeat((255 - gray if meaning == "MONOCHROME1" else gray)[..., None], 3, axis=2)
    if meaning == "PALETTE COLOR":
        colors = apply_color_lut(pixels, dataset)
        return _to_bytes(colors, 0, 2.0 ** (8 * colors.itemsize) - 1)
    if meaning != "RGB":
        known = f" {meaning}" if meaning in RETIRED else ""  # what else stands there may be anything
        raise Unreadable(f"its photometric interpretation{known} is not known")
    return _to_bytes(pixels, 0, 2.0**stored - 1)


def _gray_range(dataset: pydicom.Dataset, stored: int) -> tuple[float, float]:
    """The values that become black and white after the look-up tables (DICOM PS3.3 C.11.1 and C.11.2)."""
    if table := dataset.get("VOILUTSequence") or dataset.get("ModalityLUTSequence"):
        return 0, 2.0 ** table[0].LUTDescriptor[2] - 1
    low = -(2.0 ** (stored - 1)) if dataset.get("PixelRepresentation") else 0
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        slope, intercept = 1, 0
    return low * float(slope) + intercept, (low + 2.0**stored - 1) * float(slope) + intercept


def _to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8 of the same shape: 0 at `low`, 255 at `high`."""
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    scaled = np.subtract(values, low, dtype=np.float32)
    scaled *= 255 / (high - low)
    scaled += 0.5
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def frame_rate(dataset: pydicom.Dataset) -> float | None:
    """Frames per second, from Frame Time (0018,1063) or Vector (0018,1065) in ms, Cine Rate (0018,0040) or
    Recommended Display Frame Rate (0008,2144), in this order."""
    times = dataset.get("FrameTimeVector")
    if times is not None and np.size(times) > 1:
        milliseconds = float(np.mean(np.asarray(times, float)[1:]))  # the first is the time before the first frame
    else:
        milliseconds = _positive(dataset.get("FrameTime"))
    if milliseconds:
        return 1000 / milliseconds
    return _positive(dataset.get("CineRate")) or _positive(dataset.get("RecommendedDisplayFrameRate"))


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """(height, width) that a JPEG, JPEG-LS or JPEG 2000 frame declares itself; None for other codings."""
    at = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at >= 0:  # JPEG 2000: SOC, SIZ; reference grid minus offset (ISO 15444-1 A.5.1)
        right, bottom, left, top = struct.unpack_from(">4I", frame, at + 8)
        return bottom - top, right - left
    frame_header = _jpeg_frame_header(frame)
    return struct.unpack_from(">HH", frame_header, 1) if frame_header else None


def _is_subsampled_jpeg(frame: bytes) -> bool:
    header = _jpeg_frame_header(frame)
    if not header or header[5] != 3:
        return False
    return len({header[7 + 3 * component] for component in range(3)}) > 1


def _jpeg_frame_header(frame: bytes) -> bytes | None:
    """Precision, height, width and components of a JPEG's start-of-frame segment (ISO 10918-1 B.2.2)."""
    if frame[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 4 <= len(frame):
        marker, size = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            header = frame[at + 4 : at + 2 + size]
            return header if len(header) >= 6 + 3 * header[5] else None
        at += 1 if frame[at + 1] == 0xFF else 2 + size
    return None


def _positive(value: object) -> float | None:
    """A number above zero, else None: machines write 0 and nothing where they do not know."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None
