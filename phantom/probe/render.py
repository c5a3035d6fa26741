"""A sector: from the anatomy in the plane to RGB frames, with colour Doppler or contrast where the view asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.heart.scene import Scene
from echoviewclip.phantom.heart.section import Section
from echoviewclip.phantom.machine import Sector
from echoviewclip.phantom.probe import bmode
from echoviewclip.phantom.probe.bmode import Contrast
from echoviewclip.phantom.probe.colour import ColourBox
from echoviewclip.phantom.probe.receiver import Receiver, scan_converter
from echoviewclip.phantom.probe.shot import Grid, Shot

FLASH = (0.12, 0.28)  # when in the clip the flash is, as shares of its length


@dataclass(frozen=True)
class Part:
    """Some frames of a recording on the polar grid: grey levels [T, D, B], the scene they show, the share of blood."""

    frames: slice
    image: Array
    scene: Scene
    blood: Array


def sector_frames(shot: Shot, sector: Sector, t: Array, rng: np.random.Generator) -> Array:
    """RGB frames [T, size, size, 3] uint8 of the sector at times `t` [T]; black around it."""
    grid = Grid.of(sector, shot.size)
    cut = section(shot, grid)
    converter = scan_converter(sector, shot.size, len(grid.radii), len(grid.angles))
    box = ColourBox(shot, grid, cut, converter) if shot.view.mode in ("colour", "tissue_colour") else None
    frames, moving = np.zeros((len(t), shot.size, shot.size, 3), np.uint8), []
    for part in polar_images(shot, grid, cut, t, rng, fine=sector.radius > 0.5):
        shot.tint(converter.pixels(part.image), out=frames[(part.frames, *converter.box)])
        if box is not None:
            moving.append(box.moving(part.scene, part.blood))
    if box is not None:
        box.paint(frames, np.concatenate(moving), t, rng)
    return frames


def section(shot: Shot, grid: Grid) -> Section:
    """The heart in the shot's plane, at the samples of `grid`."""
    return Section(shot.patient.heart, shot.plane.points(grid.radii, grid.angles))


def polar_images(
    shot: Shot, grid: Grid, cut: Section, t: Array, rng: np.random.Generator, fine: bool
) -> Iterator[Part]:
    """The images at times `t` [T], a few frames at a time."""
    contrast = perfusion(shot.view.mode, t)
    depth = grid.radii * shot.plane.reach
    setting = shot.setting
    texture = setting.texture if setting else None
    tissue = texture.tissue if texture else bmode.PLAIN
    medium = bmode.Medium(cut, depth, contrast is not None, shot.quality["off_axis"], tissue)
    chest = bmode.chest_wall(depth, rng) if contrast is None else None
    if chest is not None and texture:
        chest *= np.float32(texture.chest)
    draw = setting.clutter.receiver if setting else Receiver.draw
    receiver = draw(len(t), grid.radii, len(grid.angles), shot.quality, shot.patient.gain, rng)
    before = None
    lost = round(0.42 * shot.quality["sector_cut"] * len(grid.angles))
    cut_away = (slice(None, lost) if rng.integers(2) else slice(-lost, None)) if lost else slice(0)
    for frames in grid.parts(len(t)):
        scene = cut.at(t[frames])
        index = bmode.lattice(scene)
        bubbles = None if contrast is None else contrast.part(frames)
        echo, blood = bmode.reflectivity(scene, bmode.grains().take(index), medium, bubbles)
        if chest is not None:
            echo += chest
        amplitude = bmode.envelope(
            echo, index, blood, t[frames], shot.quality, fine, texture.passes if texture and fine else None
        )
        image = receiver.receive(amplitude, frames)
        if texture and texture.persistence:
            before = _persist(image, before, texture.persistence)
        image[:, :, cut_away] = 0
        yield Part(frames, image, scene, blood)


def _persist(image: Array, before: Array | None, share: float) -> Array:
    """Leaves a share of the frame before in each of the frames [T, D, B], in place; returns a copy of the last."""
    for frame in image:
        if before is not None:
            frame += np.float32(share) * (before - frame)
        before = frame
    return image[-1].copy()


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
