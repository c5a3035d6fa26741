"""Where things lie in the picture: sectors of all shapes, strips with their insets, and how the screen is cut.

A screen is 1 high and `aspect` wide. The square frame shows all of it, the square in its middle, or the image alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from echoviewclip.phantom.machine import Sector

Edges = tuple[float, float, float, float]  # top, bottom, left, right, as shares of the frame
EVERYWHERE = (-9.0, 9.0, -9.0, 9.0)
RNG = np.random.Generator


@dataclass(frozen=True)
class Framing:
    """How a screen lies in the square frame: `aspect` is its width, `scale` the frame's height of one screen height."""

    aspect: float
    scale: float
    tight: bool  # the image alone, without the screen around it

    @classmethod
    def draw(cls, rng: RNG) -> Framing:
        """A third each: the image alone, the middle of the screen, the whole screen."""
        aspect = float(rng.choice([1.0, 1.25, 4 / 3, 4 / 3, 1.5]))
        kind = int(rng.choice(3, p=[0.34, 0.4, 0.26]))
        return cls(aspect, (1.0, float(rng.uniform(0.95, 1.15)), 1 / aspect)[kind], kind == 0)

    def x(self, column: float) -> float:
        """Where in the frame a column of the screen lies; 0 and `aspect` are the screen's sides."""
        return 0.5 + (column - self.aspect / 2) * self.scale

    def y(self, row: float) -> float:
        """Where in the frame a row of the screen, in [0, 1], lies."""
        return 0.5 + (row - 0.5) * self.scale

    def box(self, top: float, bottom: float, left: float, right: float) -> Edges:
        """A box of the screen, `left` and `right` as shares of its width, in the frame."""
        return self.y(top), self.y(bottom), self.x(left * self.aspect), self.x(right * self.aspect)


@dataclass(frozen=True)
class Layout:
    """Where a recording's parts lie: a `full` sector, or an `inset` with a `strip`, its `axis` of velocities or depths,
    or two `halves`; the electrocardiogram is at `trace`, with a strip at `strip_trace`."""

    full: Sector
    inset: Sector
    halves: tuple[Sector, Sector]
    strip: Edges
    axis: Edges
    trace: Edges
    strip_trace: Edges


@dataclass(frozen=True)
class Scan:
    """The shape of a machine's sectors: half angle and steering in radians, the probe's face, orientation, density."""

    half: float
    crown: float
    flat: bool
    mirror: bool
    flip: bool
    lines: float

    @classmethod
    def draw(cls, rng: RNG) -> Scan:
        """From 30 to 100 degrees; one study in 14 has the probe's mark on the other side, one in 20 the apex down."""
        return cls(
            half=float(np.radians(np.clip(rng.normal(40, 6), 27, 50))),
            crown=float(rng.choice([0.01, rng.uniform(0.02, 0.06), rng.uniform(0.06, 0.13)])),
            flat=bool(rng.random() < 0.3),
            mirror=bool(rng.random() < 0.07),
            flip=bool(rng.random() < 0.05),
            lines=float(rng.uniform(0.65, 1.0)),
        )

    def shape(self, rng: RNG) -> Sector:
        """A recording's sector of radius 1 at the origin: as usual, narrower, wider or steered."""
        half = float(np.clip(self.half * rng.choice([1, 1, rng.uniform(0.6, 1.15)]), 0.26, 0.87))
        tilt = float(rng.choice([0, 0, 0, rng.uniform(-0.22, 0.22)]))
        return Sector(
            0.0, 0.0, 1.0, half, tilt=tilt, crown=self.crown, flat=self.flat, window=EVERYWHERE,
            turn=np.pi if self.flip else 0.0, mirror=self.mirror != self.flip,
            lines=self.lines * max(half / 0.75, 0.55),
        )  # fmt: skip


def draw_layout(scan: Scan, framing: Framing, rng: RNG) -> Layout:
    """How a recording lies on its screen; the same numbers are drawn for every view."""
    shape = scan.shape(rng)
    full = _full(shape, framing, rng)
    strip, axis, inset, strip_trace = _strip(framing, rng)
    halves = tuple(
        fitted(replace(shape, tilt=0.0, half=min(shape.half, 0.6)), framing.box(0.12, 0.86, left, left + 0.46), rng)
        for left in (0.02, 0.52)
    )
    low = rng.uniform(0.87, 0.92)
    wide = rng.choice([0.25, 0.5, 0.9])
    trace = framing.box(low, low + rng.uniform(0.05, 0.08), 0.04, 0.04 + wide)
    small = replace(shape, crown=0.02, tilt=shape.tilt / 2, lines=0.9)
    return Layout(full, fitted(small, inset, rng), (halves[0], halves[1]), strip, axis, _visible(trace), strip_trace)


def _full(shape: Sector, framing: Framing, rng: RNG) -> Sector:
    """One sector: usually whole, else zoomed, cut at its sides, or cut and turned as slices of volumes are."""
    top, bottom = rng.uniform(0.02, 0.12), rng.uniform(0.86, 0.99)
    box = (0.0, 1.0, 0.0, 1.0) if framing.tight else framing.box(top, bottom, 0.02, 0.98)
    kind = rng.random()
    zoom = (float(rng.uniform(0.42, 0.66)), float(rng.uniform(0.5, 0.8)), float(rng.uniform(-0.08, 0.08)))
    turn, cut = float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(0.6, 0.9))
    corners = rng.uniform(0, 2 * np.pi, int(rng.integers(1, 3)))
    if kind < 0.08:
        middle, extent, tilt = zoom
        half = min(0.45 * extent / middle, shape.half)
        near, far = max(middle - extent / 2, 0.08), min(middle + extent / 2, 1.0)
        shape = replace(shape, near=near, far=far, half=half, tilt=tilt, lines=min(1.0, 1.5 * shape.lines))
    elif kind < 0.13:
        shape = replace(shape, turn=turn if kind < 0.11 else turn / 12)
    sector = fitted(shape, box, rng)
    if 0.09 < kind < 0.16:
        sector = replace(sector, cuts=tuple(_corner(sector, angle, rng.uniform(0.06, 0.2)) for angle in corners))
    elif 0.16 < kind < 0.26:
        t, b, left, right = sector.bounds()
        trim = (1 - cut) * (right - left) * rng.dirichlet([1, 1])
        sector = replace(sector, window=(t, b, left + trim[0], right - trim[1]))
    return sector


def _corner(sector: Sector, angle: float, share: float) -> tuple[float, float, float]:
    """A line that cuts a share of the sector's extent off on the side of `angle`."""
    top, bottom, left, right = sector.bounds()
    x, y = float(np.cos(angle)), float(np.sin(angle))
    reach = 0.5 * (abs(x) * (right - left) + abs(y) * (bottom - top))
    return x, y, x * (left + right) / 2 + y * (top + bottom) / 2 + reach * (1 - 2 * share)


def fitted(shape: Sector, box: Edges, rng: RNG) -> Sector:
    """The sector as large as it fits in a box of the frame; a wide one may lose its lower corners."""
    top, bottom, left, right = shape.bounds()
    room = min(box[1], 1.0) - max(box[0], 0.0), min(box[3], 1.0) - max(box[2], 0.0)
    radius = min(room[0] / (bottom - top), rng.uniform(1.0, 1.18) * room[1] / (right - left))
    spare = room[0] - radius * (bottom - top)
    row = max(box[0], 0.0) + rng.uniform(0.0, 0.7) * spare - radius * top
    column = max(box[2], 0.0) + room[1] / 2 - radius * (left + right) / 2
    window = _visible((box[0] - 0.02, box[1] + 0.02, box[2], box[3]))
    return replace(shape, top=row, centre=column, radius=radius, window=window)


def _strip(framing: Framing, rng: RNG) -> tuple[Edges, Edges, Edges, Edges]:
    """Strip, axis, inset and electrocardiogram: the strip in the lower two thirds, in the lower half, or beside."""
    kind = rng.choice(["small", "equal", "left", "beside"], p=[0.62, 0.16, 0.1, 0.12])
    left, right, bottom = rng.uniform(0.0, 0.06), rng.uniform(0.86, 0.95), rng.uniform(0.92, 0.985)
    top = rng.uniform(0.31, 0.42) if kind != "equal" else rng.uniform(0.44, 0.52)
    roof, middle, wide = rng.uniform(0.0, 0.09), rng.uniform(0.36, 0.62), rng.uniform(0.13, 0.2)
    inset = (roof, top - rng.uniform(0.02, 0.07), middle - wide, middle + wide)
    if kind == "left":
        inset = (roof, top - 0.02, left, left + 2 * wide)
    elif kind == "beside":
        split = rng.uniform(0.3, 0.4)
        inset, left, top = (0.12, 0.62, 0.01, split - 0.01), split, rng.uniform(0.08, 0.2)
    elif framing.tight:
        inset = (0.0, top - 0.01, middle - wide, middle + wide)
    if framing.tight:
        bottom, right = 1.0, 0.97 if rng.random() < 0.5 else 0.92
    strip = _visible(framing.box(top, bottom, left, right))
    axis = (strip[0], strip[1], strip[3], min(1.0, strip[3] + 0.1))
    rise = rng.uniform(0.0, 0.05) if rng.random() < 0.7 else bottom - top - 0.06
    trace = (strip[0] + (rise - 0.04) * framing.scale, strip[0] + (rise + 0.03) * framing.scale, strip[2], strip[3])
    return strip, axis, framing.box(*inset), _visible(trace)


def _visible(box: Edges) -> Edges:
    top, bottom, left, right = (float(np.clip(edge, 0, 1)) for edge in box)
    return top, bottom, left, right
