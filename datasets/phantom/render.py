"""A sector: from the anatomy in the plane to RGB frames, with colour Doppler or contrast where the view asks for it."""

from __future__ import annotations

import numpy as np

from datasets.phantom import bmode, doppler
from datasets.phantom.anatomy import Array, Scene
from datasets.phantom.bmode import Contrast
from datasets.phantom.machine import Sector
from datasets.phantom.shot import Grid, Shot

FLASH = (0.12, 0.28)  # when in the clip the flash is, as shares of its length
MARK = (190, 190, 190)  # RGB of the colour box's border


def sector_frames(shot: Shot, sector: Sector, t: Array, rng: np.random.Generator) -> Array:
    """RGB frames [T, size, size, 3] uint8 of the sector at times `t` [T]; black around it."""
    grid = Grid.of(sector, shot.size)
    image, scene, blood = polar_image(shot, grid, t, rng, fine=sector.radius > 0.5)
    grey = bmode.to_pixels(image, sector, shot.size)
    frames = shot.patient.machine.tint()[grey.astype(np.uint8)]
    if shot.view.mode in ("colour", "tissue_colour"):
        _paint_colour(frames, shot, sector, grid, scene, blood, t, rng)
    return frames


def polar_image(shot: Shot, grid: Grid, t: Array, rng: np.random.Generator, fine: bool) -> tuple[Array, Scene, Array]:
    """Grey levels [T, D, B] at times `t`, the scene they were made from, and the share of blood in each sample."""
    scene = Scene(shot.patient.heart, shot.plane.points(grid.radii, grid.angles), t)
    contrast = perfusion(shot.view.mode, t)
    depth = grid.radii * shot.plane.reach
    index = bmode.lattice(scene)
    echo, blood = bmode.reflectivity(scene, bmode.grains().take(index), depth, contrast, shot.quality["off_axis"])
    if contrast is None:
        echo += bmode.chest_wall(depth, rng)
    amplitude = bmode.envelope(echo, index, blood, t, shot.quality, fine)
    amplitude = bmode.defective(amplitude, grid.radii, rng, shot.quality)
    image = bmode.compress(amplitude, shot.quality, shot.patient.gain, rng)
    lost = round(0.42 * shot.quality["sector_cut"] * len(grid.angles))
    if lost:
        image[:, :, slice(None, lost) if rng.integers(2) else slice(-lost, None)] = 0
    return image, scene, blood


def perfusion(mode: str, t: Array) -> Contrast | None:
    """How strongly bubbles make blood and muscle scatter at times `t` [T], in the contrast modes.

    LVO fills the cavities only; MCE the muscle too; a flash whitens a few frames, bursts the muscle's bubbles, and
    the muscle refills.
    """
    if mode not in ("lvo", "mce", "flash"):
        return None
    burst, muscle, blood = np.zeros_like(t), np.full_like(t, 0.003), np.full_like(t, 0.45)
    if mode == "mce":
        muscle, blood = muscle + 0.065, blood * 0.75
    if mode == "flash":
        share = (t - t[0]) / max(float(t[-1] - t[0]), 1e-6)
        start, end = FLASH
        burst = ((share > start) & (share < end)).astype(float)
        refilled = np.where(share <= start, 1.0, np.clip((share - end) / (1 - end), 0, 1) ** 1.3)
        muscle, blood = 0.002 + 0.075 * refilled, 0.12 + 0.2 * refilled**0.5
    return Contrast(*(a[:, None, None].astype(np.float32) for a in (blood, muscle, burst)))


def _paint_colour(
    frames: Array, shot: Shot, sector: Sector, grid: Grid, scene: Scene, blood: Array, t: Array,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Lays the colour box over grey frames, in place."""
    heart, quality, plane = shot.patient.heart, shot.quality, shot.plane
    area = doppler.box(plane, heart.landmarks[shot.view.at], shot.view.size, grid.radii, grid.angles)
    if shot.view.mode == "colour":
        velocity = doppler.velocity_field(shot.patient, plane, scene.points, grid.angles, t)
        where, nyquist = blood, doppler.NYQUIST
    else:
        velocity = doppler.tissue_field(shot.patient, plane, scene.points, grid.angles, t)
        where, nyquist = bmode.inside(scene.outside, 0.1) * (1 - blood), doppler.TISSUE_NYQUIST
    rough = bmode.smooth_noise(rng, area.shape, 6)
    velocity = velocity * (0.75 + 0.5 * rough) * np.float32(1 - 0.45 * quality["off_axis"])
    holes = rng.random((len(t), *area.shape), np.float32) * np.float32(quality["clutter"]) > 0.75
    weak = rough + 0.35 - 0.9 * max(quality["low_gain"], quality["dropout"]) <= 0.12
    shown = where * area * ~weak * (np.abs(velocity) > 0.1 * nyquist) * ~holes
    mask = bmode.to_pixels(shown.astype(np.float32), sector, shot.size) > 0.5
    frames[mask] = doppler.colours(bmode.to_pixels(velocity, sector, shot.size)[mask], nyquist)
    border = bmode.to_pixels(area[None].astype(np.float32), sector, shot.size)[0]
    frames[:, (border > 0.25) & (border < 0.75)] = MARK
