"""A shot: one recording as it is set up, before anything is drawn: the plane as held, the scales, the layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from echoviewclip.phantom import machine
from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.machine import Sector
from echoviewclip.phantom.patient import Patient
from echoviewclip.phantom.probe.planes import PLANES, Plane
from echoviewclip.phantom.probe.views import View
from echoviewclip.phantom.quality import Quality
from echoviewclip.phantom.variety.setting import Setting

STRIPS = ("pw", "cw", "tdi", "mmode")  # modes that show a strip under a small sector
SAMPLES = 200_000  # of polar grids that are worked on at a time
SWEEP = 2.4  # seconds that a strip shows
Box = tuple[slice, slice]  # rows and columns of a frame


class Region(TypedDict):
    """One item of DICOM's Sequence of Ultrasound Regions (0018,6011), in the codes of PS3.3 C.8.5.5.1."""

    kind: int  # spatial format
    data: int  # data type
    box: tuple[int, int, int, int]  # left, top, right, bottom, all inside
    units: tuple[int, int]
    delta: tuple[float, float]  # units a pixel to the right and down
    zero: int  # the row, counted from the region's top, where the vertical axis is 0


@dataclass(frozen=True)
class Grid:
    """The polar sampling of a sector: `radii` [D] as shares of the reach, `angles` [B] in radians."""

    radii: Array
    angles: Array

    @classmethod
    def of(cls, sector: Sector, size: int) -> Grid:
        """About 1.5 samples a pixel in depth, one in width."""
        depths = int(np.clip(1.55 * sector.radius * size * (sector.far - sector.near), 64, 288))
        beams = int(np.clip(0.95 * sector.radius * size, 48, 160) * sector.lines)
        angles = np.linspace(sector.tilt - sector.half, sector.tilt + sector.half, beams)
        return cls(np.linspace(sector.near, sector.far, depths), angles)

    def parts(self, frames: int) -> Iterator[slice]:
        """`frames` moments in parts that are small enough for the processor's cache, and large enough for numpy."""
        step = max(1, SAMPLES // (len(self.radii) * len(self.angles)))
        return (slice(start, min(start + step, frames)) for start in range(0, frames, step))


@dataclass(frozen=True)
class Shot:
    """Everything that a recording's pixels depend on, apart from noise.

    `times` [T] are seconds after an R wave, evenly spaced; `scale` is the velocities in m/s at the bottom and at the
    top of a spectral strip. A recording of a varied study has a `setting`.
    """

    patient: Patient
    view: View
    quality: Quality
    size: int
    times: Array
    plane: Plane
    scale: tuple[float, float]
    setting: Setting | None = None

    @classmethod
    def draw(
        cls, patient: Patient, view: View, quality: Quality, size: int, times: Array, rng: np.random.Generator,
        setting: Setting | None = None,
    ) -> Shot:  # fmt: skip
        """Sets up a recording: where the hand comes to lie, how the strip is scaled."""
        plane = held(PLANES[view.plane](patient.heart), quality, rng)
        low, high = view.scale
        shift = rng.uniform(-0.09, 0.09) * (high - low)
        stretch = float(np.exp(rng.normal(0.05, 0.17))) * (1 + 1.1 * quality["depth"])
        if setting is not None:
            plane = replace(plane, reach=plane.reach * setting.stretch)
            stretch *= setting.spectral.stretch
            shift += setting.spectral.shift * (high - low)
        scale = ((low + shift) * stretch, (high + shift) * stretch)
        return cls(patient, view, quality, size, times, plane, scale, setting)

    @property
    def is_strip(self) -> bool:
        """Whether a strip fills the lower half."""
        return self.view.mode in STRIPS

    @property
    def sector(self) -> Sector:
        """The sector, large or above a strip."""
        if self.setting is not None:
            return self.setting.layout.inset if self.is_strip else self.setting.layout.full
        return self.patient.machine.inset if self.is_strip else self.patient.machine.full

    @property
    def strip(self) -> Box:
        """Where the strip is."""
        if self.setting is not None:
            top, bottom, left, right = (round(edge * self.size) for edge in self.setting.layout.strip)
            return slice(top, bottom), slice(left, right)
        _, bottom, left, right = (round(edge * self.size) for edge in machine.CORE)
        return slice(round(machine.SPLIT * self.size) + 1, bottom), slice(left, right)

    @property
    def halves(self) -> tuple[Sector, Sector]:
        """Two sectors side by side."""
        if self.setting is not None:
            return self.setting.layout.halves
        left, right = (self.patient.machine.half_frame(side) for side in (0, 1))
        return left, right

    @property
    def sweep(self) -> float:
        """Seconds that a strip shows."""
        return SWEEP if self.setting is None else self.setting.spectral.sweep

    def tint(self, grey: Array, out: Array | None = None) -> Array:
        """RGB [..., 3] uint8 of grey levels [...] in [0, 255], written to `out` if it is given."""
        if self.setting is None:
            return self.patient.machine.tint(grey, out)
        out = np.empty((*grey.shape, 3), np.uint8) if out is None else out
        self.setting.tone.paint(grey, out)
        return out

    def strip_size(self) -> tuple[int, int]:
        """Rows and columns of the strip."""
        rows, columns = self.strip
        return rows.stop - rows.start, columns.stop - columns.start

    def regions(self, left: int = 0, top: int = 0) -> list[Region]:
        """The image regions as items of DICOM's Sequence of Ultrasound Regions (0018,6011), `files.write_dicom`.

        Boxes are moved by `left` and `top`, where the recording lies on a screen.
        A sector is in cm, a strip in seconds and cm or cm/s (unit codes 3, 4 and 7 of PS3.3 C.8.5.5.1.15).
        """
        size, sector = self.size, self.sector
        half = min(sector.radius * np.sin(sector.half), 0.5)
        x0, x1 = max(0, round((sector.centre - half) * size)), min(size - 1, round((sector.centre + half) * size))
        y0, y1 = round(sector.top * size), round((sector.top + sector.radius) * size)
        if self.setting is not None:
            y0, y1, x0, x1 = (min(max(round(edge * size), 0), size - 1) for edge in sector.bounds())
        pitch = self.patient.size * self.plane.reach / (sector.radius * size)
        data = 2 if self.view.mode in ("colour", "tissue_colour") else 1
        found: list[Region] = [
            {"kind": 1, "data": data, "box": (x0, y0, x1, y1), "units": (3, 3), "delta": (pitch, pitch), "zero": 0}
        ]
        if self.is_strip:
            rows, columns = self.strip
            height, width = self.strip_size()
            spectral = self.view.mode != "mmode"
            low, high = self.scale
            found.append(
                {
                    "kind": 3 if spectral else 2,
                    "data": {"mmode": 1, "cw": 4}.get(self.view.mode, 3),
                    "box": (columns.start, rows.start, columns.stop - 1, rows.stop - 1),
                    "units": (4, 7 if spectral else 3),
                    "delta": (
                        self.sweep / width,
                        -100 * (high - low) / height if spectral else self.patient.size * self.plane.reach / height,
                    ),
                    "zero": round(high / (high - low) * (height - 1)) if spectral else 0,
                }
            )
        for region in found:
            x0, y0, x1, y1 = region["box"]
            region["box"] = (x0 + left, y0 + top, x1 + left, y1 + top)
        return found


def held(plane: Plane, quality: Quality, rng: np.random.Generator) -> Plane:
    """The plane as really held: a little off in every study, well off with the defects off_axis and depth."""
    off = quality["off_axis"]
    sign, usual = rng.choice([-1.0, 1.0], 3), rng.normal(0, 1, 5)
    return plane.held(
        fan=2.2 * usual[0] + 11 * off * sign[0],
        turn=4.0 * usual[1] + 15 * off * sign[1],
        rock=5.0 * usual[2],
        slide=0.35 * usual[3] + 1.0 * off * sign[2],
        sink=0.4 * off,
        stretch=float(np.exp(0.09 * usual[4])) * (1 + 0.6 * quality["depth"]),
    )
