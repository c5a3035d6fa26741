"""One video from one view of one patient: the data flow from anatomy to RGB frames, mode by mode."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from datasets.phantom import bmode, doppler, machine
from datasets.phantom.anatomy import Array, Scene
from datasets.phantom.bmode import Contrast, Sector
from datasets.phantom.patient import Patient
from datasets.phantom.planes import PLANES, Plane
from datasets.phantom.quality import Quality
from datasets.phantom.views import View

STRIPS = ("pw", "cw", "tdi", "mmode")
SWEEP = 2.4  # seconds of a strip


@dataclass(frozen=True)
class Shot:
    """One recording: everything that its pixels depend on."""

    patient: Patient
    view: View
    quality: Quality
    size: int
    times: Array  # [T], s after an R wave


@dataclass(frozen=True)
class Grid:
    """The polar sampling of a sector: `radii` [D] as shares of the reach, `angles` [B] in radians."""

    radii: Array
    angles: Array

    @classmethod
    def of(cls, sector: Sector, size: int) -> Grid:
        """About 1.5 samples a pixel in depth."""
        depths = int(np.clip(1.55 * sector.radius * size, 64, 288))
        beams = int(np.clip(0.95 * sector.radius * size, 48, 160))
        return cls(np.linspace(0.0, 1.0, depths), np.linspace(-sector.half, sector.half, beams))


def clumsy(plane: Plane, quality: Quality, rng: np.random.Generator) -> Plane:
    """The plane as really held: a little off in every study, well off with the defects off_axis and depth."""
    off = quality["off_axis"]
    sign, usual = rng.choice([-1.0, 1.0], 3), rng.normal(0, 1, 5)
    return plane.held(
        fan=2.2 * usual[0] + 11 * off * sign[0],
        turn=4.0 * usual[1] + 15 * off * sign[1],
        rock=6.0 * usual[2],
        slide=0.35 * usual[3] + 1.0 * off * sign[2],
        sink=0.4 * off,
        stretch=float(np.exp(0.10 * usual[4])) * (1 + 0.6 * quality["depth"]),
    )


def perfusion(mode: str, t: Array) -> Contrast | None:
    """How bright bubbles make blood and muscle at times `t`, for the contrast modes."""
    if mode not in ("lvo", "mce", "flash"):
        return None
    t = t - t[0]
    span = max(float(t[-1]), 1e-6)
    burst, muscle, blood = np.zeros_like(t), np.full_like(t, 0.003), np.full_like(t, 0.45)
    if mode == "mce":
        muscle, blood = muscle + 0.065, blood * 0.75
    if mode == "flash":
        share = t / span
        burst = ((share > 0.12) & (share < 0.28)).astype(float)
        refilled = np.where(share <= 0.12, 1.0, np.clip((share - 0.28) / 0.72, 0, 1) ** 1.3)
        muscle, blood = 0.002 + 0.075 * refilled, 0.12 + 0.2 * refilled**0.5
    return Contrast(*(a[:, None, None].astype(np.float32) for a in (blood, muscle, burst)))


def polar_image(
    shot: Shot, plane: Plane, grid: Grid, t: Array, rng: np.random.Generator, fine: bool = True
) -> tuple[Array, Scene, Array]:
    """Grey levels [T, D, B] of a plane at times `t`, the scene they were made from, and the share of blood."""
    points = plane.points(grid.radii, grid.angles)
    scene = Scene(shot.patient.heart, points, t)
    contrast = perfusion(shot.view.mode, t)
    depth = grid.radii * plane.reach
    index = bmode.lattice(scene)
    echo, blood = bmode.reflectivity(scene, bmode.grains().take(index), depth, contrast)
    if contrast is None:
        echo += bmode.chest_wall(depth, rng)
    amplitude = bmode.envelope(echo, index, blood, t, shot.quality, fine)
    amplitude = bmode.defective(amplitude, grid.radii, rng, shot.quality)
    image = bmode.compress(amplitude, shot.quality, shot.patient.gain, rng)
    cut = shot.quality["sector_cut"]
    if cut:
        side = rng.integers(2)
        lost = round(0.42 * cut * len(grid.angles))
        (image[:, :, len(grid.angles) - lost :] if side else image[:, :, :lost])[...] = 0
    return image, scene, blood


def sector_frames(
    shot: Shot, sector: Sector, t: Array, rng: np.random.Generator, plane: Plane | None = None
) -> tuple[Array, Plane, Grid]:
    """RGB frames [T, size, size, 3] uint8 of the sector alone; outside it is black."""
    plane = plane or clumsy(PLANES[shot.view.plane](shot.patient.heart), shot.quality, rng)
    grid = Grid.of(sector, shot.size)
    image, scene, blood = polar_image(shot, plane, grid, t, rng, fine=sector.radius > 0.5)
    grey = bmode.to_pixels(image, sector, shot.size)
    frames = shot.patient.machine.tint()[grey.astype(np.uint8)]
    if shot.view.mode in ("colour", "tissue_colour"):
        _paint_colour(frames, shot, sector, plane, grid, scene, blood, t, rng)
    return frames, plane, grid


def _paint_colour(
    frames: Array, shot: Shot, sector: Sector, plane: Plane, grid: Grid, scene: Scene, blood: Array, t: Array,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Lays the colour box over grey frames, in place."""
    heart, quality = shot.patient.heart, shot.quality
    area = doppler.box(plane, heart.landmarks[shot.view.at], shot.view.size, grid.radii, grid.angles)
    if shot.view.mode == "colour":
        velocity = doppler.velocity_field(shot.patient, plane, scene.points, grid.angles, t)
        where, nyquist = blood, doppler.NYQUIST
    else:
        toward = -plane.beams(grid.angles)[2][None, None, :] * np.clip(scene.points[2] / heart.length, 0, 1)
        velocity = -shot.patient.velocity("mitral annulus", t)[:, None, None] * toward
        velocity = -velocity.astype(np.float32)
        where, nyquist = bmode.inside(scene.outside, 0.1) * (1 - blood), 0.12
    rough = bmode.smooth_noise(rng, area.shape, 6)
    velocity = velocity * (0.75 + 0.5 * rough) * (1 - 0.45 * quality["off_axis"])
    speckled = rng.random((len(t), *area.shape), np.float32) * quality["clutter"]
    shown = where * area * (np.abs(velocity) > 0.1 * nyquist) * (speckled < 0.75)
    gone = np.clip(rough + 0.35 - 0.9 * max(quality["low_gain"], quality["dropout"]), 0, 1) > 0.12
    mask = bmode.to_pixels((shown * gone).astype(np.float32), sector, shot.size) > 0.5
    pixels = bmode.to_pixels(velocity, sector, shot.size)[mask]
    frames[mask] = doppler.colours(pixels, nyquist)
    _, region = bmode.scan_converter(sector, shot.size, *area.shape)
    edge = bmode.to_pixels(area[None].astype(np.float32), sector, shot.size)[0]
    frames[:, (edge > 0.25) & (edge < 0.75) & region] = (190, 190, 190)


def strip_columns(size: int) -> tuple[slice, slice]:
    """Rows and columns of the strip in a frame."""
    top, bottom, left, right = machine.CORE
    return slice(round(machine.SPLIT * size) + 1, round(bottom * size)), slice(round(left * size), round(right * size))


def scroll(image: Array, columns: int, frames: int, ahead: float) -> Array:
    """Windows [T, rows, columns] of a strip that runs to the left by `ahead` columns a frame."""
    return np.stack([image[:, (shift := round(k * ahead)) : shift + columns] for k in range(frames)])


def strip_times(t: Array, columns: int) -> tuple[Array, float]:
    """Times of all columns that a clip shows, and the columns that pass per frame."""
    per_second = columns / SWEEP
    total = columns + int(np.ceil((t[-1] - t[0]) * per_second)) + 1
    return t[0] - SWEEP + np.arange(total) / per_second, (t[1] - t[0]) * per_second if len(t) > 1 else 0.0


def spectral_strip(shot: Shot, rows: int, columns: int, rng: np.random.Generator) -> Array:
    """The scrolling spectrum, [T, rows, columns] grey levels."""
    times, ahead = strip_times(shot.times, columns)
    quality, (low, high) = shot.quality, shot.view.scale
    stretch = float(np.exp(rng.normal(0.05, 0.17))) * (1 + 1.1 * quality["depth"])
    shift = rng.uniform(-0.09, 0.09) * (high - low)
    scale = low, high = (low + shift) * stretch, (high + shift) * stretch
    beat = 0.985 + 0.015 * np.sin(times * 1.3 + rng.uniform(0, 6))  # beats differ a little
    velocity = shot.patient.velocity(shot.view.flow, times) * beat
    image = doppler.spectrum(velocity, shot.view.mode, scale, rows, quality, rng)
    image *= strip_defects(image.shape, quality, rng)
    zero = round(high / (high - low) * (rows - 1))
    image[zero] = np.maximum(image[zero], 150)
    return scroll(image, columns, len(shot.times), ahead)


def strip_defects(shape: tuple[int, int], quality: Quality, rng: np.random.Generator) -> Array:
    """What low gain, dropout and a cut do to a strip: a factor in [0, 1] per pixel, [rows, columns]."""
    rows, columns = shape
    factor = np.full(shape, 1 - 0.72 * quality["low_gain"])
    if quality["dropout"]:
        noise = np.repeat(rng.random(columns // 7 + 1), 7)[:columns]
        factor *= np.where(gaussian_filter1d(noise, 1.0) < 0.62 * quality["dropout"], 0.08, 1.0)[None, :]
    if quality["sector_cut"]:
        lost = round(0.4 * quality["sector_cut"] * rows)
        factor[rows - lost :] = 0
    return factor


def mmode_strip(shot: Shot, plane: Plane, rows: int, columns: int, rng: np.random.Generator) -> tuple[Array, float]:
    """The scrolling M-mode of one beam, [T, rows, columns] grey levels, and the beam's angle in radians."""
    times, ahead = strip_times(shot.times, columns)
    _, angle = plane.locate(shot.patient.heart.landmarks[shot.view.at])
    depths = int(1.3 * rows)
    grid = Grid(np.linspace(0, 1, depths), angle + np.linspace(-0.012, 0.012, 5))
    image, _, _ = polar_image(replace(shot, quality=_without_cut(shot.quality)), plane, grid, times, rng, fine=False)
    lines = image[:, :, 2].T  # [D, W]
    excursion = 0.8 if shot.view.plane == "vena_cava" else 0.12  # cm that breathing moves the organs
    breath = excursion * (0.5 - 0.5 * np.cos(2 * np.pi * times / shot.patient.heart.breath)) / plane.reach
    at = (np.linspace(0, 1, rows)[:, None] - breath[None, :] * np.linspace(0, 1, rows)[:, None] ** 0.3) * (depths - 1)
    strip = lines[np.clip(at, 0, depths - 1).round().astype(int), np.arange(len(times))] * strip_defects(
        (rows, len(times)), replace_gain(shot.quality), rng
    )
    return scroll(strip, columns, len(shot.times), ahead), angle


def _without_cut(quality: Quality) -> Quality:
    return Quality({k: v for k, v in quality.defects.items() if k not in ("sector_cut", "dropout")})


def replace_gain(quality: Quality) -> Quality:
    """The defects that a strip shows beyond those of its beam."""
    return Quality({k: v for k, v in quality.defects.items() if k in ("sector_cut", "dropout")})


def _guide(frames: Array, sector: Sector, depth: float | None, angle: float) -> None:
    """Draws the beam's line and, for a gate at the share `depth` of the reach, the gate across it, in place."""
    size = frames.shape[1]
    along = np.linspace(0.08, 1.0, size)
    rows = (sector.top + sector.radius * along * np.cos(angle)) * size
    columns = (sector.centre + sector.radius * along * np.sin(angle)) * size
    dots = np.arange(size) % 4 < 2 if depth is not None else np.ones(size, bool)
    frames[:, rows[dots].astype(int), columns[dots].astype(int)] = (150, 200, 150)
    if depth is None:
        return
    row, column = (
        sector.top + sector.radius * depth * np.cos(angle),
        sector.centre + sector.radius * depth * np.sin(angle),
    )
    for shift in (-0.016, 0.016):
        across = np.linspace(-0.035, 0.035, size // 6)
        r = np.clip((row + shift + across * -np.sin(angle)) * size, 0, size - 1).astype(int)
        c = np.clip((column + across * np.cos(angle)) * size, 0, size - 1).astype(int)
        frames[:, r, c] = (255, 240, 90)


def strip_video(shot: Shot, rng: np.random.Generator) -> Array:
    """A strip under a small sector: frames [T, size, size, 3] uint8."""
    device, mark = shot.patient.machine, shot.patient.heart.landmarks
    rows, columns = strip_columns(shot.size)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    live = shot.view.mode == "mmode"
    frames, plane, _ = sector_frames(shot, device.inset, shot.times if live else shot.times[:1], rng)
    frames = frames.copy() if live else np.repeat(frames, len(shot.times), axis=0)
    if live:
        strip, angle = mmode_strip(shot, plane, height, width, rng)
        _guide(frames, device.inset, None, angle)
    else:
        strip = spectral_strip(shot, height, width, rng)
        depth, angle = plane.locate(mark[shot.view.at])
        _guide(frames, device.inset, None if shot.view.mode == "cw" else depth, angle)
    frames[:, rows, columns] = device.tint()[strip.astype(np.uint8)]
    return frames


def dual_video(shot: Shot, rng: np.random.Generator) -> Array:
    """Two planes side by side: not among the 38."""
    left, _, _ = sector_frames(shot, shot.patient.machine.half_frame(0), shot.times, rng)
    other = replace(shot, view=View("apical_two"))
    right, _, _ = sector_frames(other, shot.patient.machine.half_frame(1), shot.times, rng)
    return np.maximum(left, right)


def heart_video(shot: Shot, rng: np.random.Generator) -> Array:
    """The image regions of a recording of the heart, [T, size, size, 3] uint8, black elsewhere."""
    if shot.view.mode in STRIPS:
        return strip_video(shot, rng)
    if shot.view.mode == "dual":
        return dual_video(shot, rng)
    return sector_frames(shot, shot.patient.machine.full, shot.times, rng)[0]


def regions(shot: Shot) -> list[dict]:
    """The image regions as items of DICOM's Sequence of Ultrasound Regions (0018,6011): 2-D sectors in cm, strips in
    seconds and cm or cm/s (units 3, 4, 7 of C.8.5.5.1.15)."""
    size, device = shot.size, shot.patient.machine
    strip = shot.view.mode in STRIPS
    sector = device.inset if strip else device.full
    plane = PLANES[shot.view.plane](shot.patient.heart)
    half = min(sector.radius * np.sin(sector.half), 0.5)
    left, right = max(0, round((sector.centre - half) * size)), min(size - 1, round((sector.centre + half) * size))
    top, bottom = round(sector.top * size), round((sector.top + sector.radius) * size)
    pitch = plane.reach * (1 + 0.65 * shot.quality["depth"]) / (sector.radius * size)
    found = [{"kind": 1, "data": 1, "box": (left, top, right, bottom), "units": (3, 3), "delta": (pitch, pitch)}]
    if strip:
        rows, columns = strip_columns(size)
        mode = shot.view.mode
        kind, data, unit = (2, 1, 3) if mode == "mmode" else (3, {"cw": 4, "pw": 3, "tdi": 3}[mode], 7)
        span = plane.reach if mode == "mmode" else 100 * (shot.view.scale[1] - shot.view.scale[0])
        box = (columns.start, rows.start, columns.stop - 1, rows.stop - 1)
        delta = (SWEEP / (columns.stop - columns.start), span / (rows.stop - rows.start))
        found.append({"kind": kind, "data": data, "box": box, "units": (4, unit), "delta": delta})
    return found


def dress(frames: Array, shot: Shot, rng: np.random.Generator) -> Array:
    """Puts the machine's screen around the image, in place: only black pixels are drawn on."""
    device = shot.patient.machine
    screen = machine.chrome(device, shot.size, rng)
    np.maximum(frames, screen[None], out=frames)
    mask, (rows, columns) = machine.trace(device, shot.patient.heart.cycle, shot.times, shot.size)
    frames[:, rows, columns][mask] = machine.colour_of_trace(device)
    return frames
