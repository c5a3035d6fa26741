"""B-mode: from signed distances to the amplitude of echoes.

Scatterers with per-tissue strength, fixed to the tissue → point-spread function (constant in angle, so it widens with
depth) → envelope, whose speckle is Rayleigh distributed; `receiver` makes an image of it. All of it happens on a polar
grid [T, D, B] of float32, a few frames at a time so that arrays stay in the processor's cache; what is the same in all
frames is computed once, in `Medium`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.heart.cut import Cut
from echoviewclip.phantom.heart.scene import Scene
from echoviewclip.phantom.quality import Quality
from echoviewclip.utils.seeding import generator

LATTICE = 0.11  # cm between scatterers


@dataclass(frozen=True)
class Tissue:
    """How strongly tissues scatter, as amplitudes of which 1 is white.

    `around` is lung and fat, which fall off over `decay` cm of depth; `skin` the heart's outer surface, over
    `pericardium` cm. Muscle keeps the share `isotropy` where sound meets walls at a glance, over 1.4; its grain varies
    by `roughness` powers of two.
    """

    blood: float = 0.0016
    muscle: float = 0.13
    lining: float = 0.45
    valve: float = 0.5
    around: float = 0.06
    liver: float = 0.085
    skin: float = 0.6
    decay: float = 6.0
    isotropy: float = 0.4
    roughness: float = 0.9
    pericardium: float = 0.2


PLAIN = Tissue()


@lru_cache(maxsize=1)
def scatterers() -> Array:
    """A periodic block of complex scatterers [64³], standard normal: looked up by position, so speckle travels."""
    rng = generator(64)
    return (rng.standard_normal(64**3) + 1j * rng.standard_normal(64**3)).astype(np.complex64)


@lru_cache(maxsize=1)
def grains() -> Array:
    """A periodic block of smooth noise [64³] in about [-1, 1], features of half a centimetre: tissue's unevenness."""
    rng = generator(65)
    block = rng.standard_normal((64, 64, 64)).astype(np.float32)
    block = sum(
        weight * (field := gaussian_filter(block, sigma, mode="wrap")) / field.std()
        for sigma, weight in ((1.2, 0.25), (3.0, 0.5))
    )
    return np.clip(block, -1.2, 1.2).reshape(-1)


@dataclass(frozen=True)
class Contrast:
    """What microbubbles add: blood's and muscle's brightness [T, 1, 1], 0 dark to 1 white, and the flash [T, 1, 1]."""

    blood: Array
    muscle: Array
    flash: Array

    def part(self, frames: slice) -> Contrast:
        """The same of some frames."""
        return Contrast(self.blood[frames], self.muscle[frames], self.flash[frames])


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> Array:
    """A smooth random field of `shape` with values about 0 to 1 and features of about `cell` samples."""
    coarse = rng.random((shape[0] // cell + 2, shape[1] // cell + 2))
    field = zoom(coarse, cell, order=1, grid_mode=False, mode="nearest", prefilter=False)
    return field[: shape[0], : shape[1]].astype(np.float32)


def inside(distance: Array, width: float) -> Array:
    """Share of a sample inside a structure, for a border `width` cm wide."""
    share = distance * np.float32(-1.0 / width)
    share += np.float32(0.5)
    return np.clip(share, 0.0, 1.0, out=share)


def rim(distance: Array, at: float, width: float) -> Array:
    """A bright line where `distance` equals `at`, falling to 0 over `width` cm."""
    line = distance - np.float32(at)
    np.abs(line, out=line)
    line *= np.float32(-1.0 / width)
    line += np.float32(1.0)
    return np.maximum(line, 0.0, out=line)


def _slope(distance: Array, spacing: float) -> Array:
    """Squared cosine between beam and surface: how squarely the sound meets it."""
    slope = np.empty_like(distance)
    np.subtract(distance[:, 2:], distance[:, :-2], out=slope[:, 1:-1])
    slope[:, 0], slope[:, -1] = slope[:, 1], slope[:, -2]
    slope *= np.float32(0.5 / spacing)
    slope *= slope
    return np.minimum(slope, 1.0, out=slope)


class Medium:
    """What stands still in a plane [D, B]: lung and fat around the heart, the diaphragm, and the liver below it.

    `depth` [D] is in cm; in `contrast` only bubbles are bright. `oblique` in [0, 1] is how far the plane is off its
    axis: walls then cross the slice's thickness slantwise, blur into the blood and lose their bright lining.
    """

    def __init__(self, cut: Cut, depth: Array, contrast: bool, oblique: float, tissue: Tissue = PLAIN):
        self.oblique, self.tissue = oblique, tissue
        self.effusion = cut.heart.effusion
        self.spacing = float(depth[1] - depth[0])
        x, y, z = cut.points
        caudal = (x + y) * np.float32(-0.7071) - np.float32(5.6)
        depth = np.broadcast_to(depth[:, None], x.shape).astype(np.float32)
        self.lung = np.float32(tissue.around * (0.5 if contrast else 1.0)) * np.exp(depth / -tissue.decay)
        self.diaphragm = np.float32(0.4) * rim(caudal, 0.05, 0.16) * (np.abs(z - 4) < 6)
        self.bubbles = np.exp(depth / -14.0)
        liver = inside(-caudal, 0.4)
        columns = np.flatnonzero(liver.any(0))
        self.beams = slice(columns[0], columns[-1] + 1) if len(columns) else slice(0)
        self.liver = liver[:, self.beams]

    def around(self, texture: Array) -> Array:
        """Strength of what surrounds the heart, [T, D, B]."""
        echo = texture * texture
        echo *= self.lung
        if self.liver.size:
            part = np.sqrt(texture[:, :, self.beams])
            part *= np.float32(self.tissue.liver)
            part -= echo[:, :, self.beams]
            part *= self.liver
            echo[:, :, self.beams] += part
        echo += self.diaphragm
        return echo


def reflectivity(scene: Scene, grain: Array, medium: Medium, contrast: Contrast | None) -> tuple[Array, Array]:
    """Strength of scatterers [T, D, B], and the share of blood in each sample.

    `grain` [T, D, B] in about [-1, 1] varies slowly through the tissue and travels with it; it roughens walls too.
    """
    dim, kind = 1.0 if contrast is None else 0.1, medium.tissue
    edge = np.float32(0.07) * grain
    edge += scene.blood
    blood = inside(edge, 0.14 + 1.0 * medium.oblique)
    square = scene.outside + np.float32(1.0)
    square = _slope(np.minimum(scene.blood, square, out=square), medium.spacing)
    texture = np.float32(kind.roughness) * grain
    np.exp2(texture, out=texture)
    echo = medium.around(texture)
    tissue = square + np.float32(kind.isotropy)
    tissue *= np.float32(kind.muscle * (1.0 if contrast is None else 0.12))
    if contrast is not None and scene.muscle is not None:
        tissue[scene.muscle.window] += contrast.muscle * inside(scene.muscle.distance, 0.2)
    tissue *= texture
    tissue -= echo
    tissue *= inside(scene.outside, 0.15)
    echo += tissue
    if medium.effusion:
        echo *= 1 - inside(np.abs(scene.outside - 0.5 * medium.effusion) - 0.5 * medium.effusion, 0.1)
    skin = _slope(scene.outside, medium.spacing)
    skin += np.float32(0.06)
    skin *= rim(scene.outside, 0.1 + medium.effusion, kind.pericardium)
    skin *= np.float32(kind.skin if contrast is None else 0.25 * kind.skin)
    square *= np.float32(kind.lining * dim * (1 - 0.8 * medium.oblique))
    square *= rim(edge, 0.07, 0.13)
    np.maximum(skin, square, out=skin)
    skin *= texture
    np.maximum(echo, skin, out=echo)
    pool = np.float32(kind.blood) if contrast is None else contrast.blood * medium.bubbles
    filled = pool - echo
    filled *= blood
    echo += filled
    for valve in scene.valves:
        leaflets = rim(valve.distance, 0.0, 0.15)
        leaflets *= np.float32(kind.valve * dim * (1 - 0.7 * medium.oblique))
        np.maximum(echo[valve.window], leaflets, out=echo[valve.window])
    if contrast is not None and contrast.flash.any():
        texture *= np.float32(0.5) * contrast.flash
        echo += texture
    return echo, blood


def chest_wall(depth: Array, rng: np.random.Generator) -> Array:
    """Bright layers of skin, fat and muscle under the probe, [D, 1]: strength to add."""
    layers = 0.5 + 0.5 * np.sin(depth * rng.uniform(9, 14) + rng.uniform(0, 6))
    return (0.55 * layers * np.exp(-((depth / 0.85) ** 2)) + 0.5 * np.exp(-depth / 0.25))[:, None].astype(np.float32)


def binomial(field: Array, axis: int, edge: float) -> Array:
    """Sums of neighbours along `axis` (1 or 2) weighted [1, 2, 1]; the first and last samples times `edge`.

    The array is taken as one line, where neighbours along an axis are `stride` apart: that is several times faster than
    many short lines, and what crosses from one line to the next falls on edges.
    """
    stride = field.shape[2] if axis == 1 else 1
    line, total = field.reshape(-1), np.empty_like(field)
    pairs = line[stride:] + line[:-stride]
    np.add(pairs[stride:], pairs[:-stride], out=total.reshape(-1)[stride:-stride])
    for end in (0, -1):
        border = (slice(None), end) if axis == 1 else (slice(None), slice(None), end)
        np.multiply(field[border], np.float32(edge), out=total[border])
    return total


def speckle(field: Array, passes: tuple[int, int]) -> Array:
    """Amplitude of the complex scatterers `field` [T, D, B] through a binomial point-spread function: [1, 2, 1] / 4 so
    many `passes` in depth and in angle. White noise keeps its energy."""
    for axis, count in zip((1, 2), passes, strict=True):
        for _ in range(count):
            field = binomial(field, axis, 1.0)
    amplitude = np.abs(field)
    amplitude *= np.float32(np.prod([comb(4 * count, 2 * count) for count in passes], dtype=float) ** -0.5)
    return amplitude


def lattice(scene: Scene) -> Array:
    """The index of the scatterer at each sample [T, D, B] int32: it follows the tissue through the beat."""
    x, y, z = scene.material()
    index = _cell(x)
    for coordinate in (y, z):
        index <<= 6
        index |= _cell(coordinate)
    return index


def _cell(coordinate: Array) -> Array:
    """The scatterer's number along one axis, int32 in [0, 63]; `coordinate` (cm) is overwritten."""
    coordinate *= np.float32(1.0 / LATTICE)
    cell = coordinate.astype(np.int32)
    cell &= 63
    return cell


def envelope(
    echo: Array, index: Array, blood: Array, t: Array, quality: Quality, fine: bool,
    passes: tuple[int, int] | None = None,
) -> Array:  # fmt: skip
    """Speckled amplitude [T, D, B]: the scatterers at each sample's tissue, seen through the point-spread function.

    `passes` of it in depth and angle are 2 each in `fine` pictures and 1 in others, unless they are given.
    """
    flow = (t * 9973).astype(np.int32)[:, None, None]
    moved = (blood > 0.5) * flow  # blood is shuffled from frame to frame
    moved += index
    moved &= 64**3 - 1
    field = scatterers().take(moved)
    field *= echo
    soft = quality["blur"]
    down, across = passes or ((2, 2) if fine else (1, 1))
    return speckle(field, (down + round(11 * soft), across + round(15 * soft)))
