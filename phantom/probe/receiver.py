"""From the amplitude of echoes to an image: attenuation, noise and gain → log compression → scan conversion.

What is the same in all frames of a recording is computed once, in `Receiver` and `Converter`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.machine import Sector
from echoviewclip.phantom.probe.bmode import binomial, smooth_noise
from echoviewclip.phantom.quality import Quality

RANGE = 52.0  # dB between black and white


@dataclass(frozen=True)
class Receiver:
    """What stands between scatterers and screen, as it is through a recording: fog, near-field noise, shadows, gain.

    `veil` [D, B] is added to amplitudes and `shade` [D, B] lets a share of them through; `noise` [T, D, B] is the
    receiver's own, which grows with depth, and comes round again where it has fewer frames; `shown` [D, B] is what log
    compression over `range` dB adds, as a share of white. Levels are smoothed by `smoothing` passes in depth and angle.
    """

    veil: Array
    shade: Array
    noise: Array
    shown: Array
    range: float = RANGE
    smoothing: tuple[int, int] = (1, 1)

    @classmethod
    def draw(
        cls, frames: int, radii: Array, beams: int, quality: Quality, gain: float, rng: np.random.Generator
    ) -> Receiver:
        """The receiver for T = `frames` and the depths `radii` [D] (shares of the reach); `gain` is in dB.

        Beams differ by a few dB, as the chest wall before them does.
        """
        depths = len(radii)
        veil = _veil(radii, beams, quality, rng)
        shade = _shadows(radii, beams, quality["dropout"], rng)
        floor = np.float32(0.0022) * (0.3 + np.linspace(0, 1, depths, dtype=np.float32) ** 2)
        noise = rng.random((frames, depths, beams), np.float32)
        noise *= np.repeat(floor[:, None], beams, axis=1)
        wide = 9 * gaussian_filter1d(rng.standard_normal(96), 10)
        window = np.interp(np.linspace(0, 95, beams), np.arange(96), wide) if beams > 8 else np.zeros(beams)
        shown = (RANGE + gain - 16 * quality["low_gain"] + window) / RANGE
        return cls(veil, shade, noise, np.tile(shown.astype(np.float32), (depths, 1)))

    def receive(self, amplitude: Array, frames: slice = slice(None)) -> Array:
        """Grey levels [0, 255] float32 of the amplitudes [T, D, B] of some frames, by log compression and speckle
        reduction: neighbours in depth and angle are averaged after compression."""
        level = amplitude + self.veil
        level *= self.shade
        count = len(self.noise)
        level += (
            self.noise[frames] if (frames.stop or 0) <= count else self.noise[np.arange(*frames.indices(9**9)) % count]
        )
        level = np.log10(level, out=level)
        for axis, passes in zip((1, 2), self.smoothing, strict=True):
            for _ in range(passes):
                level = binomial(level, axis, 4.0)
        level *= np.float32(20 / self.range / 4 ** sum(self.smoothing))
        level += self.shown
        np.clip(level, 0, 1, out=level)
        grey = level * np.float32(255 * 0.55)
        grey += np.float32(255 * 0.45)
        grey *= level
        return grey


def _veil(radii: Array, beams: int, quality: Quality, rng: np.random.Generator) -> Array:
    """Fog and near-field noise [D, B], with a speckle that stands still."""
    speckle = np.abs(rng.standard_normal((2, len(radii), beams), np.float32)).sum(0) * np.float32(0.6)
    veil = np.zeros((len(radii), beams), np.float32)
    if quality["clutter"]:
        fog = gaussian_filter(smooth_noise(rng, veil.shape, 16), 3) * np.exp(-(((radii - 0.45) / 0.4) ** 2))[:, None]
        veil += 0.19 * quality["clutter"] ** 1.2 * (0.25 + fog)
    if quality["near_field"]:
        near = np.exp(-((radii / (0.22 + 0.24 * quality["near_field"])) ** 4))[:, None]
        bands = 0.6 + 0.4 * np.sin(radii * rng.uniform(60, 90))[:, None]
        veil += quality["near_field"] * near * bands * 0.75
    return veil * speckle


def _shadows(radii: Array, beams: int, dropout: float, rng: np.random.Generator) -> Array:
    """What ribs and poor contact let through, a share [D, B]."""
    angle = np.linspace(-1, 1, beams)
    share = np.ones((len(radii), beams))
    for _ in range(3 if dropout else 0):
        centre, width = rng.uniform(-0.85, 0.85), 0.05 + 0.13 * dropout
        shade = np.exp(-(((angle - centre) / width) ** 4))[None, :] * np.clip((radii - 0.06) / 0.1, 0, 1)[:, None]
        share *= 1 - 0.97 * min(1.0, 0.3 + dropout) * shade
    return share.astype(np.float32)


class Converter:
    """The bilinear map from the polar grid of a sector to pixels.

    `box` are the rows and columns of the frame that the sector fills, `mask` [size, size] its pixels, `matrix`
    [pixels of the box, D·B] the weights.
    """

    def __init__(self, sector: Sector, size: int, depths: int, beams: int):
        rows, columns = np.mgrid[0:size, 0:size] + 0.5
        y, x = sector.locate(rows / size, columns / size)
        radius, angle = np.hypot(x, y) / sector.radius, np.arctan2(x, y) - sector.tilt
        self.mask = (radius <= sector.far) & (np.abs(angle) <= sector.half) & (radius > max(sector.near, sector.crown))
        self.mask &= _kept(sector, y, rows / size, columns / size)
        ends = (np.flatnonzero(self.mask.any(axis)) for axis in (1, 0))
        self.box = tuple(slice(at[0], at[-1] + 1) for at in ends)
        inside = self.mask[self.box]
        share = (radius[self.mask] - sector.near) / (sector.far - sector.near)
        depth = np.clip(share * (depths - 1), 0, depths - 1.001)
        beam = np.clip((angle[self.mask] / sector.half + 1) / 2 * (beams - 1), 0, beams - 1.001)
        d, b = depth.astype(int), beam.astype(int)
        fd, fb = depth - d, beam - b
        index = np.concatenate([(d + i) * beams + b + j for i in (0, 1) for j in (0, 1)])
        weight = np.concatenate([(fd if i else 1 - fd) * (fb if j else 1 - fb) for i in (0, 1) for j in (0, 1)])
        where = np.tile(np.flatnonzero(inside), 4), index
        self.matrix = sparse.csr_matrix((weight.astype(np.float32), where), shape=(inside.size, depths * beams))

    def pixels(self, image: Array) -> Array:
        """Scan conversion: polar [T, D, B] to the box's pixels [T, rows, columns] float32, 0 outside the sector."""
        rows, columns = (part.stop - part.start for part in self.box)
        values = self.matrix @ np.ascontiguousarray(image.reshape(len(image), -1).T)
        return np.ascontiguousarray(values.T).reshape(-1, rows, columns)


def _kept(sector: Sector, down: Array, row: Array, column: Array) -> Array:
    """Which pixels are not cut off by a straight face, the window and lines; `down` is the offset from the apex."""
    top, bottom, left, right = sector.window
    kept = (row >= top) & (row <= bottom) & (column >= left) & (column <= right)
    if sector.flat:
        kept &= down > sector.crown * sector.radius
    for x, y, most in sector.cuts:
        kept &= x * column + y * row <= most
    return kept


@lru_cache(maxsize=32)
def scan_converter(sector: Sector, size: int, depths: int, beams: int) -> Converter:
    """The converter of a sector; a study uses two or three."""
    return Converter(sector, size, depths, beams)
