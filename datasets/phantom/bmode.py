"""B-mode: from signed distances to an ultrasound image.

Scatterers with per-tissue strength, fixed to the tissue → point-spread function (constant in angle, so it widens with
depth) → envelope, whose speckle is Rayleigh distributed → attenuation and gain → log compression → scan conversion.
Everything up to scan conversion happens on a small polar grid [T, D, B] of float32, vectorised over frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter, gaussian_filter1d, zoom

from datasets.phantom.anatomy import Array, Scene
from datasets.phantom.machine import Sector
from datasets.phantom.quality import Quality
from utils.seeding import generator

RANGE = 52.0  # dB between black and white
LATTICE = 0.11  # cm between scatterers
STRENGTH = {"blood": 0.0016, "muscle": 0.13, "lining": 0.45, "valve": 0.5, "around": 0.06, "liver": 0.085}


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
    slope[:, 1:-1] = distance[:, 2:] - distance[:, :-2]
    slope[:, 0], slope[:, -1] = slope[:, 1], slope[:, -2]
    slope *= np.float32(0.5 / spacing)
    slope *= slope
    return np.minimum(slope, 1.0, out=slope)


def reflectivity(
    scene: Scene, grain: Array, depth: Array, contrast: Contrast | None, oblique: float
) -> tuple[Array, Array]:
    """Strength of scatterers [T, D, B], and the share of blood in each sample.

    `grain` [T, D, B] in about [-1, 1] varies slowly through the tissue and travels with it; it roughens walls too.
    `oblique` in [0, 1] is how far the plane is off its axis: walls then cross the slice's thickness slantwise, blur
    into the blood and lose their bright lining.
    """
    spacing = float(depth[1] - depth[0])
    edge = scene.blood + np.float32(0.07) * grain
    blood = inside(edge, 0.14 + 1.0 * oblique)
    plain = contrast is None
    square = _slope(np.minimum(scene.blood, scene.outside + 1.0), spacing)
    texture = np.exp2(np.float32(0.9) * grain)
    tissue = np.float32(STRENGTH["muscle"] * (1.0 if plain else 0.12)) * texture * (np.float32(0.4) + square)
    if not plain:
        tissue += contrast.muscle * inside(scene.muscle, 0.2) * texture
    echo = _surroundings(scene, texture, depth, plain)
    echo += inside(scene.outside, 0.15) * (tissue - echo)
    skin = rim(scene.outside, 0.1, 0.2) * texture
    skin *= np.float32(0.06) + _slope(scene.outside, spacing)
    lining = rim(edge, 0.07, 0.13) * texture
    lining *= square * np.float32(STRENGTH["lining"] * (1.0 if plain else 0.1) * (1 - 0.8 * oblique))
    np.maximum(echo, skin * np.float32(0.6 if plain else 0.15), out=echo)
    np.maximum(echo, lining, out=echo)
    pool = (
        np.float32(STRENGTH["blood"]) if plain else contrast.blood * np.exp(-depth / 14.0).astype(np.float32)[:, None]
    )
    echo += blood * (pool - echo)
    leaflets = rim(scene.valves, 0.0, 0.15) * np.float32(
        STRENGTH["valve"] * (1.0 if plain else 0.1) * (1 - 0.7 * oblique)
    )
    np.maximum(echo, leaflets, out=echo)
    if not plain:
        echo += contrast.flash * np.float32(0.5) * texture
    return echo, blood


def _surroundings(scene: Scene, texture: Array, depth: Array, plain: bool) -> Array:
    """Lung and fat around the heart, the diaphragm and the liver below it: strengths [T, D, B]."""
    caudal = (scene.points[0] + scene.points[1]) * np.float32(-0.7071) - np.float32(5.6)
    liver = inside(-caudal, 0.4)
    lung = np.float32(STRENGTH["around"] * (1.0 if plain else 0.5)) * np.exp(-depth / 6.0).astype(np.float32)[:, None]
    echo = texture * texture * lung
    echo += liver * (np.float32(STRENGTH["liver"]) * np.sqrt(texture) - echo)
    echo += np.float32(0.4) * rim(caudal, 0.05, 0.16) * (np.abs(scene.points[2] - 4) < 6)
    return echo


def chest_wall(depth: Array, rng: np.random.Generator) -> Array:
    """Bright layers of skin, fat and muscle under the probe, [D, 1]: strength to add."""
    layers = 0.5 + 0.5 * np.sin(depth * rng.uniform(9, 14) + rng.uniform(0, 6))
    return (0.55 * layers * np.exp(-((depth / 0.85) ** 2)) + 0.5 * np.exp(-depth / 0.25))[:, None].astype(np.float32)


def spread(field: Array, axis: int, passes: int) -> Array:
    """Binomial smoothing along `axis`, `passes` times [1, 2, 1] / 4; white noise keeps its energy."""
    middle, before, after = ([slice(None)] * 3 for _ in range(3))
    middle[axis], before[axis], after[axis] = slice(1, -1), slice(0, -2), slice(2, None)
    middle, before, after = tuple(middle), tuple(before), tuple(after)
    for _ in range(passes):
        smoothed = field.copy()
        part = smoothed[middle]
        part += part
        part += field[before]
        part += field[after]
        smoothed *= np.float32(0.25)
        field = smoothed
    field *= np.float32((comb(4 * passes, 2 * passes) / 16.0**passes) ** -0.5)
    return field


def lattice(scene: Scene) -> Array:
    """The index of the scatterer at each sample [T, D, B]: it follows the tissue through the beat."""
    x, y, z = scene.material()
    scale = np.float32(1.0 / LATTICE)
    index = (x * scale).astype(np.int32) & 63
    index <<= 6
    index |= (y * scale).astype(np.int32) & 63
    index <<= 6
    index |= (z * scale).astype(np.int32) & 63
    return index


def envelope(echo: Array, index: Array, blood: Array, t: Array, quality: Quality, fine: bool) -> Array:
    """Speckled amplitude [T, D, B]: the scatterers at each sample's tissue, seen through the point-spread function."""
    flow = (t * 9973).astype(np.int32)[:, None, None]
    moved = index + (blood > 0.5) * flow  # blood is shuffled from frame to frame
    field = scatterers().take(moved, mode="wrap")
    field *= echo
    soft = quality["blur"]
    field = spread(field, 1, (2 if fine else 1) + round(11 * soft))
    field = spread(field, 2, (2 if fine else 1) + round(15 * soft))
    return np.abs(field)


def defective(amplitude: Array, radii: Array, rng: np.random.Generator, quality: Quality) -> Array:
    """Adds what stands between probe and heart: fog, near-field noise, shadows and a cut sector."""
    _, depths, beams = amplitude.shape
    speckle = np.abs(rng.standard_normal((2, depths, beams), np.float32)).sum(0) * np.float32(0.6)
    veil = np.zeros((depths, beams), np.float32)
    if quality["clutter"]:
        fog = (
            gaussian_filter(smooth_noise(rng, (depths, beams), 16), 3) * np.exp(-(((radii - 0.45) / 0.4) ** 2))[:, None]
        )
        veil += 0.19 * quality["clutter"] ** 1.2 * (0.25 + fog)
    if quality["near_field"]:
        near = np.exp(-((radii / (0.22 + 0.24 * quality["near_field"])) ** 4))[:, None]
        bands = 0.6 + 0.4 * np.sin(radii * rng.uniform(60, 90))[:, None]
        veil += quality["near_field"] * near * bands * 0.75
    amplitude = amplitude + veil * speckle
    angle = np.linspace(-1, 1, beams)
    gain = np.ones((depths, beams))
    for _ in range(3 if quality["dropout"] else 0):
        centre, width = rng.uniform(-0.85, 0.85), 0.05 + 0.13 * quality["dropout"]
        shade = np.exp(-(((angle - centre) / width) ** 4))[None, :] * np.clip((radii - 0.06) / 0.1, 0, 1)[:, None]
        gain *= 1 - 0.97 * min(1.0, 0.3 + quality["dropout"]) * shade
    return amplitude * gain.astype(np.float32)


def compress(amplitude: Array, quality: Quality, gain: float, rng: np.random.Generator) -> Array:
    """Log compression to grey levels [0, 255] float32, `gain` in dB; a floor of receiver noise grows with depth.

    Beams differ by a few dB, as the chest wall before them does.
    """
    _, depths, beams = amplitude.shape
    floor = np.float32(0.0022) * (0.3 + np.linspace(0, 1, depths, dtype=np.float32)[:, None] ** 2)
    noise = rng.random(amplitude.shape, np.float32)
    noise *= floor
    noise += amplitude
    level = np.log10(noise, out=noise)
    level = soften(level)
    wide = 9 * gaussian_filter1d(rng.standard_normal(96), 10)
    window = np.interp(np.linspace(0, 95, beams), np.arange(96), wide) if beams > 8 else np.zeros(beams)
    shown = RANGE + gain - 16 * quality["low_gain"] + window
    level *= np.float32(20 / RANGE)
    level += (shown / RANGE).astype(np.float32)
    np.clip(level, 0, 1, out=level)
    return np.float32(255) * level * (np.float32(0.45) + np.float32(0.55) * level)


def soften(level: Array) -> Array:
    """The scanner's speckle reduction: neighbours in depth and angle averaged after compression."""
    level[:, 1:-1] = 0.5 * level[:, 1:-1] + 0.25 * (level[:, :-2] + level[:, 2:])
    level[:, :, 1:-1] = 0.5 * level[:, :, 1:-1] + 0.25 * (level[:, :, :-2] + level[:, :, 2:])
    return level


@lru_cache(maxsize=32)
def scan_converter(sector: Sector, size: int, depths: int, beams: int) -> tuple[sparse.csr_matrix, Array]:
    """The bilinear map from a polar image [D·B] to pixels [size²], and the mask [size, size] of the sector."""
    rows, columns = np.mgrid[0:size, 0:size] + 0.5
    x, y = columns / size - sector.centre, rows / size - sector.top
    radius, angle = np.hypot(x, y) / sector.radius, np.arctan2(x, y)
    mask = (radius <= 1) & (np.abs(angle) <= sector.half) & (radius > 0.03)
    depth = np.clip(radius[mask] * (depths - 1), 0, depths - 1.001)
    beam = np.clip((angle[mask] / sector.half + 1) / 2 * (beams - 1), 0, beams - 1.001)
    d, b = depth.astype(int), beam.astype(int)
    fd, fb = depth - d, beam - b
    pixel = np.flatnonzero(mask)
    index = np.concatenate([(d + i) * beams + b + j for i in (0, 1) for j in (0, 1)])
    weight = np.concatenate([(fd if i else 1 - fd) * (fb if j else 1 - fb) for i in (0, 1) for j in (0, 1)])
    shape = (size * size, depths * beams)
    matrix = sparse.csr_matrix((weight.astype(np.float32), (np.tile(pixel, 4), index)), shape=shape)
    return matrix, mask


def to_pixels(image: Array, sector: Sector, size: int) -> Array:
    """Scan conversion: polar [T, D, B] to pixels [T, size, size] float32, 0 outside the sector."""
    frames, depths, beams = image.shape
    matrix, _ = scan_converter(sector, size, depths, beams)
    return (matrix @ image.reshape(frames, -1).T).T.reshape(frames, size, size)
