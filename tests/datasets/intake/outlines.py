"""Phantom ultrasound of every outline that an image has on a screen, and where in the picture it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import ndimage

from echoviewclip.phantom.patient import Patient
from echoviewclip.phantom.probe.render import polar_images, section
from echoviewclip.phantom.probe.shot import Grid, Shot
from echoviewclip.phantom.probe.views import VIEWS
from echoviewclip.phantom.quality import Quality
from echoviewclip.phantom.study import recording

FRAMES = 10
SOURCES = (
    ("Apical 4C 2D", {}),
    ("Parasternal Long Axis 2D", {"near_field": 0.4}),
    ("Suprasternal Notch", {"low_gain": 0.3}),
    ("A4C LVO", {}),
    ("Subxiphoid IVC 2D", {"dropout": 0.3}),
    ("Parasternal Papillary Muscle Short Axis 2D", {"clutter": 0.5}),
    ("Apical 2C 2D", {"blur": 0.4, "low_gain": 0.2}),
)


@dataclass(frozen=True)
class Fan:
    """The outline of a sector in pixels: apex, angles from straight down in radians, radii, and a box that cuts it."""

    x: float
    y: float
    left: float
    right: float
    near: float
    far: float
    box: tuple[float, float, float, float] = (-9e9, -9e9, 9e9, 9e9)  # left, top, right, bottom
    down: int = 1  # −1 with the apex below

    def paint(self, polar: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Polar grey levels [T, D, B] as pixels [T, H, W] float32, and where they are."""
        rows, columns = np.mgrid[:height, :width] + 0.5
        radius = np.hypot(columns - self.x, rows - self.y)
        angle = np.arctan2(columns - self.x, self.down * (rows - self.y))
        left, top, right, bottom = self.box
        inside = (radius >= self.near) & (radius <= self.far) & (angle >= self.left) & (angle <= self.right)
        inside &= (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)
        depth = (radius[inside] - self.near) / (self.far - self.near) * (polar.shape[1] - 1)
        beam = (angle[inside] - self.left) / (self.right - self.left) * (polar.shape[2] - 1)
        frames = np.zeros((len(polar), height, width), np.float32)
        for frame, picture in zip(frames, polar, strict=True):
            frame[inside] = ndimage.map_coordinates(picture, (depth, beam), order=1, mode="nearest")
        return frames, inside


@lru_cache(maxsize=1)
def polar_sources() -> tuple[np.ndarray, ...]:
    """Recordings before scan conversion, float32 [T, D, B] in [0, 255]: each view at its quality."""
    return tuple(_polar(*source, number) for number, source in enumerate(SOURCES))


def _polar(view: str, defects: dict[str, float], number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    shot = _shot(view, 480, number, Quality(defects))
    grid = Grid.of(shot.sector, shot.size)
    parts = polar_images(shot, grid, section(shot, grid), shot.times, rng, fine=True)
    return np.concatenate([part.image for part in parts])


def _shot(view: str, size: int, number: int, quality: Quality | None = None) -> Shot:
    patient = Patient.draw(5, number)
    times = np.linspace(0.1, 0.1 + 1.2 * patient.heart.cycle.beat, FRAMES)
    quality = Quality({}) if quality is None else quality
    return Shot.draw(patient, VIEWS[view], quality, size, times, np.random.default_rng(number))


Rng = np.random.Generator
Drawn = tuple[np.ndarray, list[np.ndarray]]  # frames [T, H, W, 3], the parts of the image bool [H, W]


def _fan(rng: Rng, height: int, width: int, half: tuple[float, float] = (0.55, 0.8), near: float = 0.02) -> Fan:
    """A sector that fits the picture, with room for writing; `half` in radians, `near` as a share of the radius."""
    half = rng.uniform(*half)
    far = min(rng.uniform(0.68, 0.84) * height, 0.46 * width / np.sin(half))
    y = rng.uniform(0.08, 0.11) * height - near * far * np.cos(half)
    return Fan(rng.uniform(0.47, 0.53) * width, y, -half, half, near * far, far)


def _paint(fan: Fan, rng: Rng, height: int, width: int) -> Drawn:
    polar = polar_sources()[rng.integers(len(SOURCES))]
    tint = np.array([(1.0, 1.0, 1.0), (1.0, 0.95, 0.86), (0.9, 0.96, 1.0)][rng.integers(3)], np.float32)
    frames, inside = fan.paint(polar, height, width)
    return (frames[..., None] * tint).astype(np.uint8), [inside]


def pointed(rng: Rng, height: int, width: int) -> Drawn:
    return _paint(_fan(rng, height, width), rng, height, width)


def narrow(rng: Rng, height: int, width: int) -> Drawn:
    return _paint(_fan(rng, height, width, (0.26, 0.4)), rng, height, width)


def wide(rng: Rng, height: int, width: int) -> Drawn:
    return _paint(_fan(rng, height, width, (0.8, 0.88)), rng, height, width)


def curved_top(rng: Rng, height: int, width: int) -> Drawn:
    return _paint(_fan(rng, height, width, (0.5, 0.62), near=rng.uniform(0.2, 0.4)), rng, height, width)


def flat_top(rng: Rng, height: int, width: int) -> Drawn:
    fan = _fan(rng, height, width, (0.35, 0.6))
    top = fan.y + rng.uniform(0.2, 0.35) * fan.far
    raised = replace(fan, y=fan.y - (top - fan.y) / 2, near=(top - fan.y) / 2)
    return _paint(replace(raised, box=(-9e9, raised.y + (top - fan.y), 9e9, 9e9)), rng, height, width)


def steered(rng: Rng, height: int, width: int) -> Drawn:
    fan = _fan(rng, height, width, (0.5, 0.65))
    turn = rng.choice([-1, 1]) * rng.uniform(0.12, 0.25)
    return _paint(replace(fan, left=fan.left + turn, right=fan.right + turn, far=0.9 * fan.far), rng, height, width)


def zoomed(rng: Rng, height: int, width: int) -> Drawn:
    fan = _fan(rng, height, width, (0.6, 0.75))
    x, y = fan.x, fan.y
    box = (x - 0.36 * fan.far, y + 0.3 * fan.far, x + 0.4 * fan.far, y + 0.86 * fan.far)
    return _paint(replace(fan, box=box), rng, height, width)


def cut_sides(rng: Rng, height: int, width: int) -> Drawn:
    fan = _fan(rng, height, width, (0.65, 0.8))
    half = rng.uniform(0.72, 0.85) * fan.far * np.sin(fan.right)
    return _paint(replace(fan, box=(fan.x - half, -9e9, fan.x + half, 9e9)), rng, height, width)


def apex_down(rng: Rng, height: int, width: int) -> Drawn:
    fan = _fan(rng, height, width)
    return _paint(replace(fan, y=fan.y + fan.far, down=-1), rng, height, width)


def small(rng: Rng, height: int, width: int) -> Drawn:
    fan = _fan(rng, height, width)
    return _paint(replace(fan, y=fan.y + 0.1 * height, far=0.62 * fan.far), rng, height, width)


def band(rng: Rng, height: int, width: int) -> Drawn:
    """A sector with an echo-free band: an effusion, a stand-off."""
    fan = _fan(rng, height, width, (0.6, 0.78))
    frames, (inside,) = _paint(fan, rng, height, width)
    rows, columns = np.mgrid[:height, :width] + 0.5
    radius = np.hypot(columns - fan.x, rows - fan.y) / fan.far
    start = rng.uniform(0.15, 0.25)
    frames[:, (radius > start) & (radius < start + rng.uniform(0.12, 0.32))] = 0
    return frames, [inside]


def colour(rng: Rng, height: int, width: int) -> Drawn:
    """Colour Doppler."""
    return _native(rng, height, width, ("Apical 4C Color", "Parasternal Long Axis Color"))


def linear(rng: Rng, height: int, width: int) -> Drawn:
    """The rectangle of a linear probe."""
    polar = polar_sources()[rng.integers(len(SOURCES))]
    rows, columns = round(rng.uniform(0.6, 0.78) * height), round(rng.uniform(0.45, 0.66) * width)
    top, left = round(0.1 * height), round((width - columns) * rng.uniform(0.3, 0.7))
    frames = np.zeros((len(polar), height, width, 3), np.uint8)
    depth, beam = np.meshgrid(
        np.linspace(0.1 * polar.shape[1], polar.shape[1] - 1, rows), np.linspace(0, polar.shape[2] - 1, columns),
        indexing="ij",
    )  # fmt: skip
    for frame, picture in zip(frames, polar, strict=True):
        pixels = ndimage.map_coordinates(picture, (depth, beam), order=1)
        frame[top : top + rows, left : left + columns] = pixels[..., None]
    inside = np.zeros((height, width), bool)
    inside[top : top + rows, left : left + columns] = True
    return frames, [inside]


def dual(rng: Rng, height: int, width: int) -> Drawn:
    """Two sectors side by side."""
    half, far = rng.uniform(0.4, 0.55), 0.62 * height
    far = min(far, 0.2 * width / np.sin(half))
    fans = [Fan(x * width, 0.14 * height, -half, half, 0.02 * far, far) for x in (0.27, 0.73)]
    (first, one), (second, other) = (_paint(fan, rng, height, width) for fan in fans)
    return np.maximum(first, second), one + other


def doppler(rng: Rng, height: int, width: int) -> Drawn:
    """A spectrum under a frozen sector."""
    return _native(rng, height, width, ("Apical 4C MV PW", "Apical 5C AV CW", "Apical 4C TV Annulus TDI PW"))


def m_mode(rng: Rng, height: int, width: int) -> Drawn:
    """M-mode under a live sector."""
    return _native(rng, height, width, ("Parasternal Long Axis M-mode", "Apical 4C TAPSE"))


def strip_alone(rng: Rng, height: int, width: int) -> Drawn:
    """A spectrum that fills the screen."""
    frames, (sector, strip) = doppler(rng, height, width)
    frames[:, sector & ~strip] = 0
    return frames, [strip]


def _native(rng: Rng, height: int, width: int, views: tuple[str, ...]) -> Drawn:
    """A recording of the phantom, square, in the middle of the picture."""
    size = round(0.94 * min(height, width))
    shot = _shot(str(rng.choice(views)), size, int(rng.integers(50)))
    frames = np.zeros((FRAMES, height, width, 3), np.uint8)
    top, left = round(0.05 * height), (width - size) // 2
    frames[:, top : top + size, left : left + size] = recording.heart_video(shot, rng)[:, : height - top]
    mask = recording.image_mask(shot)
    parts = []
    for rows in (slice(0, shot.strip[0].start), slice(shot.strip[0].start, None)) if shot.is_strip else (slice(None),):
        part = np.zeros((size, size), bool)
        part[rows] = mask[rows]
        whole = np.zeros((height, width), bool)
        whole[top : top + size, left : left + size] = part[: height - top]
        parts.append(whole)
    return frames, parts


LAYOUTS: dict[str, Callable[[Rng, int, int], Drawn]] = {
    **{f.__name__: f for f in (pointed, narrow, wide, curved_top, flat_top, steered, zoomed, cut_sides, apex_down)},
    **{f.__name__: f for f in (small, band, colour, linear, dual, doppler, m_mode, strip_alone)},
    "ecg": pointed,
    "logo": pointed,
}
