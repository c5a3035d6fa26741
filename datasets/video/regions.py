"""The regions that an ultrasound machine declares in a DICOM object: where in the picture lies what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pydicom

# DICOM PS3.3 C.8.5.5.1.1 and C.8.5.5.1.2
SPATIAL_FORMATS = ("none", "2d", "m-mode", "spectral", "waveform", "graphics")
DATA_TYPES = {
    0x01: "tissue",
    0x02: "color flow",
    0x03: "pw",
    0x04: "cw",
    0x0A: "ecg",
    0x0B: "pulse",
    0x0C: "phonocardiogram",
    0x0D: "gray bar",
    0x0E: "color bar",
}


@dataclass(frozen=True)
class Region:
    """One box of the picture, in pixels (right and bottom exclusive), and what is drawn in it."""

    left: int
    top: int
    right: int
    bottom: int
    spatial_format: str  # one of SPATIAL_FORMATS
    data_type: str  # a value of DATA_TYPES, or "other"

    @property
    def is_image(self) -> bool:
        """Whether it shows ultrasound, and not a scale, a bar or a trace of something else."""
        return self.spatial_format in ("2d", "m-mode", "spectral")

    def __str__(self) -> str:
        box = f"{self.left},{self.top},{self.right},{self.bottom}"
        return f"{self.spatial_format}/{self.data_type}@{box}"


def read_regions(dataset: pydicom.Dataset) -> tuple[Region, ...]:
    """Sequence of Ultrasound Regions (0018,6011); regions without a box are left out."""
    regions = []
    for item in dataset.get("SequenceOfUltrasoundRegions") or ():
        corners = [item.get(f"RegionLocation{k}") for k in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
        if None in corners:
            continue
        left, top, right, bottom = map(int, corners)
        spatial = int(item.get("RegionSpatialFormat") or 0)
        regions.append(
            Region(
                left,
                top,
                right + 1,
                bottom + 1,
                SPATIAL_FORMATS[spatial] if spatial < len(SPATIAL_FORMATS) else "none",
                DATA_TYPES.get(int(item.get("RegionDataType") or 0), "other"),
            )
        )
    return tuple(regions)


def fitting_regions(regions: Sequence[Region], height: int, width: int) -> tuple[Region, ...]:
    """The regions, if their boxes lie in a picture of that size, else none.

    Where a later program has scaled or cut the picture they do not, and say nothing. One pixel more is forgiven
    (some machines give exclusive corners) and cut off.
    """
    for r in regions:
        if not (0 <= r.left < r.right <= width + 1 and 0 <= r.top < r.bottom <= height + 1):
            return ()
    return tuple(replace(r, right=min(r.right, width), bottom=min(r.bottom, height)) for r in regions)
