"""What the header of a DICOM object says of its pixels (Image Pixel module, PS3.3 C.7.6.3), as far as it can be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pydicom

from echoviewclip.datasets.video.reasons import Unreadable

GRAYS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
RETIRED = ("HSV", "ARGB", "CMYK")  # of earlier editions; nothing here reads them


@dataclass(frozen=True)
class PixelHeader:
    """The elements that say how the pixels lie in the file.

    Attributes:
        height, width: Rows and Columns.
        frames: Number of Frames (0028,0008); None where the header does not say.
        meaning: Photometric Interpretation (0028,0004), which may be anything.
        samples: values a pixel, 1 or 3.
        planar: whether the three colours of a frame follow one another as planes.
        allocated: bits that a value takes, 8, 16 or 32.
        stored: bits of them that hold the value.
        high: the place of the uppermost of those.
        signed: whether values are signed.
    """

    height: int
    width: int
    frames: int | None
    meaning: str
    samples: int
    planar: bool
    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.height * self.width

    def values(self, raw: np.ndarray) -> np.ndarray:
        """Values of raw words (unsigned, `allocated` bits): other bits, as of overlays, cleared; signs extended."""
        if self.stored == self.allocated:
            return raw.view(raw.dtype.str.replace("u", "i")) if self.signed else raw
        return signed_values((raw >> (self.high + 1 - self.stored)) & (2**self.stored - 1), self.stored, self.signed)


def signed_values(values: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Unsigned values of `bits` bits as what they stand for: themselves, or numbers in two's complement."""
    if not signed:
        return values
    values = values.astype(np.int64)
    return np.where(values >> (bits - 1) & 1, values - 2**bits, values)


def read_pixel_header(dataset: pydicom.Dataset) -> PixelHeader:
    """The pixel elements of an object; raises Unreadable where what they say cannot be."""
    height, width = (whole(dataset, keyword) for keyword in ("Rows", "Columns"))
    if height is None or width is None:
        raise Unreadable("its number of rows or columns is not a number")
    meaning = _meaning(dataset)
    samples = whole(dataset, "SamplesPerPixel")
    if samples is None:
        samples = 3 if meaning in COLOURS else 1
    allocated = whole(dataset, "BitsAllocated")
    stored = whole(dataset, "BitsStored") or 0
    if allocated == 8 and not 0 < stored <= 8:
        stored = 8
    if allocated not in (8, 16, 32) or not 0 < stored <= allocated:
        raise Unreadable("it states numbers of bits a pixel that are not possible, or not supported")
    planar = whole(dataset, "PlanarConfiguration") or 0
    if samples not in (1, 3) or planar not in (0, 1):
        raise Unreadable("it states numbers of colours or of their planes that are not possible")
    high = whole(dataset, "HighBit")
    if high is None or not stored <= high + 1 <= allocated:
        high = stored - 1
    signed = whole(dataset, "PixelRepresentation") == 1
    return PixelHeader(
        height, width, _frames(dataset), meaning, samples, planar == 1, allocated, stored, high, signed
    )  # fmt: skip


def _meaning(dataset: pydicom.Dataset) -> str:
    try:
        return " ".join(str(dataset.get("PhotometricInterpretation") or "").upper().split())
    except Exception:  # whatever pydicom makes of a value that is not of its kind
        return "?"


def _frames(dataset: pydicom.Dataset) -> int | None:
    """Number of Frames; None where it is absent, empty or zero."""
    count = whole(dataset, "NumberOfFrames")
    if count is None and _is_stated(dataset, "NumberOfFrames"):
        raise Unreadable("its number of frames is not a number")
    if count is not None and count < 0:
        raise Unreadable("its number of frames is negative")
    return count or None


def _is_stated(dataset: pydicom.Dataset, keyword: str) -> bool:
    try:
        return dataset.get(keyword) not in (None, "")
    except Exception:
        return True


def numbers(dataset: pydicom.Dataset, keyword: str) -> list[float]:
    """All values of an element as finite numbers; none if it is absent or one of them is something else."""
    try:
        value = dataset.get(keyword)
        values = [] if value is None or value == "" else [float(part) for part in np.atleast_1d(value)]
    except Exception:  # whatever pydicom makes of a value that is not of its kind
        return []
    return values if all(map(math.isfinite, values)) else []


def number(dataset: pydicom.Dataset, keyword: str) -> float | None:
    """The first value of an element as a finite number, else None."""
    return next(iter(numbers(dataset, keyword)), None)


def whole(dataset: pydicom.Dataset, keyword: str) -> int | None:
    """The first value of an element as a whole number, else None."""
    value = number(dataset, keyword)
    return int(value) if value is not None and value.is_integer() else None
