"""Strips: what one beam shows over time, scrolling under a small sector. Spectral Doppler and M-mode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.machine import Sector
from echoviewclip.phantom.probe import doppler
from echoviewclip.phantom.probe.render import polar_images, section, sector_frames
from echoviewclip.phantom.probe.shot import SWEEP, Grid, Shot
from echoviewclip.phantom.quality import Quality

LINE, GATE = (150, 200, 150), (255, 240, 90)  # RGB of the beam and of the gate on it


def strip_video(shot: Shot, rng: np.random.Generator) -> Array:
    """A strip under a small sector, frames [T, size, size, 3] uint8: live above M-mode, frozen above a spectrum."""
    live, count = shot.view.mode == "mmode", len(shot.times)
    frames = sector_frames(shot, shot.sector, shot.times if live else shot.times[:1], rng)
    frames = frames if live else np.repeat(frames, count, axis=0)
    times = _column_times(shot)
    depth, angle = shot.plane.locate(shot.patient.heart.landmarks[shot.view.at])
    strip = _mmode(shot, angle, times, rng) if live else _spectrum(shot, times, rng)
    strip *= _losses(strip.shape, shot.quality, 0.0 if live else shot.quality["low_gain"], rng)
    if not live:
        zero = shot.regions()[1]["zero"]
        strip[zero] = np.maximum(strip[zero], 150)
    _guide(frames, shot.sector, depth if shot.view.mode in ("pw", "tdi") else None, angle)
    rows, columns = shot.strip
    frames[:, rows, columns] = _scroll(shot.patient.machine.tint(strip), shot)
    return frames


def _column_times(shot: Shot) -> Array:
    """Times of all columns that come by during the clip, s: a sweep's worth before the first frame, and the clip."""
    width = shot.strip_size()[1]
    total = width + int(np.ceil((shot.times[-1] - shot.times[0]) * width / SWEEP)) + 1
    return shot.times[0] - SWEEP + np.arange(total) * SWEEP / width


def _scroll(strip: Array, shot: Shot) -> Array:
    """The part of `strip` [rows, total, 3] that each frame shows, [T, rows, columns, 3]."""
    width = shot.strip_size()[1]
    starts = np.round((shot.times - shot.times[0]) * width / SWEEP).astype(int)
    return np.stack([strip[:, start : start + width] for start in starts])


def _spectrum(shot: Shot, times: Array, rng: np.random.Generator) -> Array:
    beats = 0.985 + 0.015 * np.sin(times * 1.3 + rng.uniform(0, 6))  # no two beats are quite the same
    velocity = shot.patient.velocity(shot.view.flow, times) * beats
    return doppler.spectrum(velocity, shot.view.mode, shot.scale, shot.strip_size()[0], shot.quality, rng)


def _mmode(shot: Shot, angle: float, times: Array, rng: np.random.Generator) -> Array:
    """One beam over time, [rows, columns] grey levels; breathing moves the organs along it."""
    rows = shot.strip_size()[0]
    depths = int(1.3 * rows)
    grid = Grid(np.linspace(0, 1, depths), angle + np.linspace(-0.012, 0.012, 5))
    whole = {k: v for k, v in shot.quality.defects.items() if k not in ("sector_cut", "dropout")}  # see `_losses`
    shot = replace(shot, quality=Quality(whole))
    parts = polar_images(shot, grid, section(shot, grid), times, rng, fine=False)
    lines = np.concatenate([part.image[:, :, 2] for part in parts])
    lines[1:-1] = 0.25 * lines[:-2] + 0.5 * lines[1:-1] + 0.25 * lines[2:]
    excursion = 0.8 if shot.view.plane == "vena_cava" else 0.12  # cm
    breath = excursion * (0.5 - 0.5 * np.cos(2 * np.pi * times / shot.patient.heart.breath)) / shot.plane.reach
    share = np.linspace(0, 1, rows)[:, None]
    at = np.clip((share - breath[None, :] * share**0.3) * (depths - 1), 0, depths - 1.001)
    first, column = at.astype(int), np.arange(len(times))
    return lines[column, first] + (at - first) * (lines[column, first + 1] - lines[column, first])


def _losses(shape: tuple[int, int], quality: Quality, low_gain: float, rng: np.random.Generator) -> Array:
    """What low gain, dropout and a cut take from a strip: a factor in [0, 1] per pixel, [rows, columns]."""
    rows, columns = shape
    factor = np.full(shape, 1 - 0.72 * low_gain)
    if quality["dropout"]:
        noise = gaussian_filter1d(np.repeat(rng.random(columns // 7 + 1), 7)[:columns], 1.0)
        factor *= np.where(noise < 0.62 * quality["dropout"], 0.08, 1.0)[None, :]
    if quality["sector_cut"]:
        factor[rows - round(0.4 * quality["sector_cut"] * rows) :] = 0
    return factor


def _guide(frames: Array, sector: Sector, depth: float | None, angle: float) -> None:
    """Draws the beam and, for a gate at the share `depth` of the reach, the gate across it, in place."""
    size = frames.shape[1]
    along = np.linspace(0.08, 1.0, size)
    if depth is not None:
        along = along[np.arange(size) % 4 < 2]
    _draw(frames, sector, along * np.cos(angle), along * np.sin(angle), LINE)
    across = np.linspace(-0.09, 0.09, size // 6)
    for shift in (-0.04, 0.04) if depth is not None else ():
        down = depth * np.cos(angle) + shift - across * np.sin(angle)
        _draw(frames, sector, down, depth * np.sin(angle) + across * np.cos(angle), GATE)


def _draw(frames: Array, sector: Sector, down: Array, right: Array, colour: tuple[int, int, int]) -> None:
    """Sets pixels at offsets from the sector's apex, in shares of its radius."""
    size = frames.shape[1]
    rows = np.clip((sector.top + sector.radius * down) * size, 0, size - 1).astype(int)
    columns = np.clip((sector.centre + sector.radius * right) * size, 0, size - 1).astype(int)
    frames[:, rows, columns] = colour
