"""Grey values as brightness: modality transform, then that of the values of interest (PS3.3 C.11.1 and C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pydicom

from echoviewclip.datasets.video.dicom.colour import to_bytes
from echoviewclip.datasets.video.dicom.header import PixelHeader, numbers
from echoviewclip.datasets.video.dicom.tables import Table, read_table


@dataclass(frozen=True)
class Window:
    """The values that become black and white, and the curve between them (C.11.2.1.2, C.11.2.1.3)."""

    center: float
    width: float
    curve: str  # LINEAR, LINEAR_EXACT or SIGMOID

    def apply(self, values: np.ndarray) -> np.ndarray:
        """float [H, W]: 0 is black, 1 white."""
        if self.curve == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (values - self.center) / self.width, -50, 50)))
        shift = 0 if self.curve == "LINEAR_EXACT" else 1
        if self.width <= shift:  # a step
            return (values > self.center - shift / 2).astype(np.float32)
        return (values - (self.center - shift / 2)) / (self.width - shift) + 0.5


@dataclass(frozen=True)
class GrayScale:
    """What the elements of an object make of its grey values.

    Attributes:
        inverted: whether the lowest value is white (MONOCHROME1).
        table: of the modality; None where there is none.
        slope, intercept: of the modality; 1 and 0 where there are none.
        interest: the table of values of interest or the window; None where there is none.
    """

    inverted: bool
    table: Table | None
    slope: float
    intercept: float
    interest: Table | Window | None

    def to_bytes(self, values: np.ndarray, header: PixelHeader, bits: int) -> np.ndarray:
        """Values [H, W] of `bits` bits → uint8 [H, W]."""
        low = -(2.0 ** (bits - 1)) if header.signed else 0.0
        ends = [low, low + 2.0**bits - 1]
        if self.table is not None:
            values, ends = self.table.look_up(values), [0, self.table.full]
        elif (self.slope, self.intercept) != (1, 0):
            values = values * self.slope + self.intercept
            ends = sorted(end * self.slope + self.intercept for end in ends)
        if isinstance(self.interest, Table):
            values, ends = self.interest.look_up(values), [0, self.interest.full]
        elif self.interest is not None:
            values, ends = self.interest.apply(values), [0, 1]
        gray = to_bytes(values, *ends)
        return 255 - gray if self.inverted else gray


def read_gray_scale(dataset: pydicom.Dataset, header: PixelHeader, little: bool) -> GrayScale:
    """The modality and VOI elements; a slope or window that is not possible is as none."""
    sequence = dataset.get("ModalityLUTSequence")
    table = read_table(sequence[0], little, header.signed) if sequence else None
    slope, intercept = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    if not (slope and intercept and slope[0]):
        slope, intercept = [1.0], [0.0]
    is_signed = table is None and (header.signed or intercept[0] < 0)
    sequence = dataset.get("VOILUTSequence")
    interest = read_table(sequence[0], little, is_signed) if sequence else _window(dataset)
    return GrayScale(header.meaning == "MONOCHROME1", table, slope[0], intercept[0], interest)


def _window(dataset: pydicom.Dataset) -> Window | None:
    curve = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    curve = curve if curve in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
    for center, width in zip(numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth"), strict=False):
        if width >= 1 if curve == "LINEAR" else width > 0:
            return Window(center, width, curve)
    return None
