"""The machine around the image: text, logo, scales, colour bar and electrocardiogram.

All of it is drawn from the machine's style and the video's own random numbers, never from the class: classifiers are
known to read what stands beside the sector (BackMix, arXiv 2406.19148). Everything class-bound (sector, strip and
the strip's scale) stays inside `CORE`; the chrome stays outside the sector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.heart.cycle import Cycle

CORE = (0.06, 0.91, 0.045, 0.955)  # top, bottom, left, right of the rectangle that image regions stay in
SPLIT = 0.46  # where an inset ends and the strip begins
Colour = tuple[int, int, int]  # RGB


@dataclass(frozen=True)
class Style:
    """What a maker's screen looks like."""

    tint: tuple[float, float, float]  # RGB shares of a grey level
    logo: str
    ecg: Colour
    text: Colour
    side: int  # 1 where the logo is on the left


STYLES = {
    "Aurora": Style((1.00, 0.98, 0.94), logo="disc", ecg=(60, 230, 90), text=(200, 210, 220), side=0),
    "Borealis": Style((0.92, 0.97, 1.00), logo="bars", ecg=(240, 220, 70), text=(235, 235, 160), side=1),
    "Cirrus": Style((1.00, 1.00, 1.00), logo="wedge", ecg=(90, 210, 240), text=(170, 190, 255), side=0),
    "Delta": Style((1.00, 0.94, 0.84), logo="ring", ecg=(240, 90, 90), text=(225, 200, 170), side=1),
    "Ember": Style((0.96, 1.00, 0.97), logo="cross", ecg=(230, 230, 230), text=(160, 225, 190), side=1),
}


@dataclass(frozen=True)
class Sector:
    """Where a sector lies in a square frame, as shares of its side: apex, radius, half angle in radians.

    The other fields describe other scans than the plain one: the middle beam is steered by `tilt` radians, only the
    depths from `near` to `far` (shares of the radius) are shown, from the curved or `flat` face at `crown` on; the
    picture is turned about the apex by `turn` radians after it was mirrored. Of the frame nothing is shown beyond
    `window` (top, bottom, left, right) and beyond the lines `cuts`: (x, y, d) keeps x·column + y·row <= d. `lines` is
    the density of beams, 1 where there is about one a pixel.
    """

    top: float
    centre: float
    radius: float
    half: float
    tilt: float = 0.0
    near: float = 0.0
    far: float = 1.0
    crown: float = 0.03
    flat: bool = False
    turn: float = 0.0
    mirror: bool = False
    window: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)
    cuts: tuple[tuple[float, float, float], ...] = ()
    lines: float = 1.0

    def place(self, down: Array, right: Array) -> tuple[Array, Array]:
        """Rows and columns, as shares of the frame, of points at offsets from the apex in shares of the radius."""
        c, s, right = np.cos(self.turn), np.sin(self.turn), right * (-1.0 if self.mirror else 1.0)
        return self.top + self.radius * (down * c - right * s), self.centre + self.radius * (down * s + right * c)

    def locate(self, row: Array, column: Array) -> tuple[Array, Array]:
        """Offsets down and right from the apex, in shares of the frame, of points at shares of the frame."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        y, x = row - self.top, column - self.centre
        return y * c + x * s, (x * c - y * s) * (-1.0 if self.mirror else 1.0)

    def bounds(self) -> tuple[float, float, float, float]:
        """Top, bottom, left and right of what is shown, as shares of the frame."""
        angles = self.tilt + np.linspace(-self.half, self.half, 33)
        radii = np.array([max(self.near, self.crown), self.far])[:, None]
        rows, columns = self.place(radii * np.cos(angles), radii * np.sin(angles))
        top, bottom, left, right = self.window
        return (
            max(top, float(rows.min())), min(bottom, float(rows.max())),
            max(left, float(columns.min())), min(right, float(columns.max())),
        )  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """One scanner as one operator has set it up."""

    style: str
    half: float  # radians
    shift: float
    radius: float
    bar: str
    ticks: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Machine:
        """A scanner of one of the styles."""
        return cls(
            style=str(rng.choice(list(STYLES))),
            half=float(rng.choice([0.60, 0.65, 0.70, 0.75])),
            shift=float(rng.uniform(-0.02, 0.02)),
            radius=float(rng.choice([0.76, 0.80, 0.84])),
            bar=str(rng.choice(["grey", "colour", "none"])),
            ticks=int(rng.integers(6, 12)),
        )

    @property
    def full(self) -> Sector:
        """The sector of a plain two-dimensional recording."""
        return Sector(0.065, 0.5 + self.shift, self.radius, self.half)

    @property
    def inset(self) -> Sector:
        """The small sector above a strip."""
        return Sector(0.065, 0.5 + self.shift, 0.395, self.half)

    def half_frame(self, side: int) -> Sector:
        """One of two sectors side by side."""
        return Sector(0.12, 0.275 + 0.45 * side, 0.62, 0.36)

    def tint(self, grey: Array, out: Array | None = None) -> Array:
        """RGB [..., 3] uint8 of grey levels [...] in [0, 255], written to `out` if it is given."""
        out = np.empty((*grey.shape, 3), np.uint8) if out is None else out
        for channel, share in enumerate(STYLES[self.style].tint):
            np.multiply(grey, np.float32(share), out=out[..., channel], casting="unsafe")
        return out


@lru_cache(maxsize=64)
def font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface, `pixels` high."""
    return ImageFont.load_default(size=pixels)


def _logo(draw: ImageDraw.ImageDraw, kind: str, x: float, y: float, r: float, colour: Colour) -> None:
    m = r / 2
    lines = {
        "bars": [(x + k * m, y, x + k * m, y + r) for k in range(3)],
        "cross": [(x, y + m, x + r, y + m), (x + m, y, x + m, y + r)],
    }
    if kind == "disc":
        draw.ellipse((x, y, x + r, y + r), fill=colour)
    elif kind == "ring":
        draw.ellipse((x, y, x + r, y + r), outline=colour)
    elif kind == "wedge":
        draw.polygon((x, y + r, x + m, y, x + r, y + r), fill=colour)
    else:
        for line in lines[kind]:
            draw.line(line, fill=colour)


def _bar(canvas: Array, kind: str, side: int) -> None:
    size = len(canvas)
    top, bottom, width = round(0.1 * size), round(0.4 * size), max(2, round(0.022 * size))
    left = round(0.012 * size) if side else size - width - round(0.012 * size)
    ramp = np.linspace(1, -1, bottom - top)[:, None]
    if kind == "grey":
        canvas[top:bottom, left : left + width] = (127.5 * (ramp + 1))[..., None].astype(np.uint8)
    elif kind == "colour":
        rgb = np.stack([255 * np.maximum(ramp, 0), 200 * np.abs(ramp) ** 2, 255 * np.maximum(-ramp, 0)], -1)
        canvas[top:bottom, left : left + width] = rgb.astype(np.uint8)


def chrome(machine: Machine, size: int, rng: np.random.Generator) -> Array:
    """The still part of the screen [size, size, 3] uint8, black where the image is to go."""
    style = STYLES[machine.style]
    image = Image.new("RGB", (size, size))
    draw = ImageDraw.Draw(image)
    letters, r = font(max(7, round(0.042 * size))), 0.04 * size
    left = 0.02 * size if style.side else 0.955 * size - r
    _logo(draw, style.logo, left, 0.008 * size, r, style.text)
    words = f"{machine.style} {rng.integers(1, 99):02d}  {rng.integers(10, 90)}Hz  {rng.integers(0, 99):02d}%"
    draw.text((0.09 * size if style.side else 0.03 * size, 0.004 * size), words, fill=style.text, font=letters)
    draw.text((0.03 * size, 0.945 * size), f"MI {rng.uniform(0.1, 1.6):.1f}", fill=style.text, font=letters)
    x = 0.975 * size if style.side else 0.012 * size
    for k in range(machine.ticks):
        y = (0.1 + 0.78 * k / (machine.ticks - 1)) * size
        draw.line((x, y, x + 0.012 * size, y), fill=style.text)
    canvas = np.array(image)
    _bar(canvas, machine.bar, style.side)
    return canvas


def trace_box(size: int) -> tuple[slice, slice]:
    """Rows and columns of the electrocardiogram."""
    return slice(round(0.925 * size), round(0.99 * size)), slice(round(0.24 * size), round(0.95 * size))


def trace(cycle: Cycle, t: Array, box: tuple[int, int], seconds: float = 2.4) -> Array:
    """The electrocardiogram of the last `seconds` at times `t` [T] in `box` (height, width): a mask [T, h, w]."""
    height, width = box
    past = t[:, None] - np.linspace(seconds, 0, width)[None, :]
    y = (0.75 - 0.65 * cycle.electrocardiogram(past)) * (height - 1)
    before = np.concatenate([y[:, :1], y[:, :-1]], axis=1)
    low, high = np.minimum(y, before), np.maximum(y, before)
    row = np.arange(height)[None, :, None]
    return (row >= low[:, None] - 0.6) & (row <= high[:, None] + 0.6)
