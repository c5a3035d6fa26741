"""Strips: what one beam shows over time, scrolling under a small sector. Spectral Doppler and M-mode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.machine import Colour, Sector
from echoviewclip.phantom.probe import doppler
from echoviewclip.phantom.probe.receiver import scan_converter
from echoviewclip.phantom.probe.render import polar_images, section, sector_frames
from echoviewclip.phantom.probe.shot import Grid, Shot
from echoviewclip.phantom.quality import Quality

DARKER = 1.7  # beams as close as those of an M-mode add up to brighter walls than machines show
LINE, GATE = (150, 200, 150), (255, 240, 90)  # RGB of the beam and of the gate on it


def strip_video(shot: Shot, rng: np.random.Generator) -> Array:
    """A strip under a small sector, frames [T, size, size, 3] uint8: live above M-mode, frozen above a spectrum."""
    live, count = shot.view.mode == "mmode", len(shot.times)
    if shot.setting is not None:
        return varied_strip(shot, rng)
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


def varied_strip(shot: Shot, rng: np.random.Generator) -> Array:
    """A strip as machines show it, frames [T, size, size, 3] uint8: it scrolls, is overwritten from the left or stands
    still; the inset is grey or in colour, live or frozen."""
    assert shot.setting is not None
    spectral, mmode, count = shot.setting.spectral, shot.view.mode == "mmode", len(shot.times)
    still = spectral.frozen and not mmode
    inset = _coloured(shot) if spectral.inset == "colour" and not mmode else shot
    frames = sector_frames(inset, shot.sector, shot.times[:1] if still else shot.times, rng)
    frames = np.repeat(frames, count, axis=0) if still else frames
    times = _column_times(shot)
    depth, angle = shot.plane.locate(shot.patient.heart.landmarks[shot.view.at])
    if mmode:
        strip = 255 * (_mmode(shot, angle, times, rng) / 255) ** DARKER
    else:
        beats = 0.96 + 0.04 * np.sin(times * 1.3 + rng.uniform(0, 6))
        flow, other = (shot.patient.velocity(name, times) * beats for name in (shot.view.flow, shot.view.beside))
        strip = spectral.image(flow, other, shot.view.mode, shot.scale, shot.strip_size()[0], shot.quality, rng)
    losses = _losses(strip.shape, shot.quality, 0.0 if mmode else shot.quality["low_gain"], rng)
    strip *= gaussian_filter1d(losses, 0.012 * losses.shape[1], axis=1)  # a lost window fades
    picture = shot.tint(strip)
    if not mmode:
        zero = shot.regions()[1]["zero"]
        if 0 <= zero < len(picture):
            picture[zero] = spectral.line
    grid = Grid.of(shot.sector, shot.size)
    within = scan_converter(shot.sector, shot.size, len(grid.radii), len(grid.angles)).mask
    _guide(frames, shot.sector, depth if shot.view.mode in ("pw", "tdi") else None, angle, spectral.guide, within)
    rows, columns = shot.strip
    move = {"scroll": _scroll, "bar": _overwrite, "still": _stand}[spectral.motion]
    frames[:, rows, columns] = move(picture, shot)
    return frames


def _coloured(shot: Shot) -> Shot:
    """The shot in colour, as insets of spectra are: tissue velocities for those of tissue, else a box at the gate."""
    tissue = shot.view.mode == "tdi"
    mode, size = ("tissue_colour", 9.0) if tissue else ("colour", 2.4)
    at = "mid" if tissue else shot.view.at
    return replace(shot, view=replace(shot.view, mode=mode, size=size, at=at))


def _stand(strip: Array, shot: Shot) -> Array:
    """The first screenful, in every frame."""
    return np.broadcast_to(strip[None, :, : shot.strip_size()[1]], (len(shot.times), *_screen(strip, shot)))


def _overwrite(strip: Array, shot: Shot) -> Array:
    """A black bar moves to the right, and new columns follow it over old ones."""
    width = shot.strip_size()[1]
    shown = np.empty((len(shot.times), *_screen(strip, shot)), np.uint8)
    seconds = shot.times - shot.times[0]
    start = int(1e4 * seconds[-1]) % width  # anywhere
    for frame, now in enumerate(np.round(seconds * width / shot.sweep).astype(int)):
        latest = np.arange(now, now + width)
        shown[frame][:, (start + latest) % width] = strip[:, latest]
        shown[frame][:, (start + now + np.arange(max(2, width // 50))) % width] = 0
    return shown


def _screen(strip: Array, shot: Shot) -> tuple[int, int, int]:
    return len(strip), shot.strip_size()[1], 3


def _column_times(shot: Shot) -> Array:
    """Times of all columns that come by during the clip, s: a sweep's worth before the first frame, and the clip."""
    width = shot.strip_size()[1]
    total = width + int(np.ceil((shot.times[-1] - shot.times[0]) * width / shot.sweep)) + 1
    return shot.times[0] - shot.sweep + np.arange(total) * shot.sweep / width


def _scroll(strip: Array, shot: Shot) -> Array:
    """The part of `strip` [rows, total, 3] that each frame shows, [T, rows, columns, 3]."""
    width = shot.strip_size()[1]
    starts = np.round((shot.times - shot.times[0]) * width / shot.sweep).astype(int)
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


def _guide(
    frames: Array, sector: Sector, depth: float | None, angle: float, line: Colour = LINE, within: Array | None = None
) -> None:
    """Draws the beam and, for a gate at the share `depth` of the reach, the gate across it, in place; nothing of it
    lies outside `within` [size, size] bool."""
    size = frames.shape[1]
    along = np.linspace(0.08, 1.0, size)
    if depth is not None:
        along = along[np.arange(size) % 4 < 2]
    _draw(frames, sector, along * np.cos(angle), along * np.sin(angle), line, within)
    across = np.linspace(-0.09, 0.09, size // 6)
    for shift in (-0.04, 0.04) if depth is not None else ():
        down = depth * np.cos(angle) + shift - across * np.sin(angle)
        _draw(frames, sector, down, depth * np.sin(angle) + across * np.cos(angle), GATE, within)


def _draw(
    frames: Array, sector: Sector, down: Array, right: Array, colour: Colour, within: Array | None = None
) -> None:
    """Sets pixels at offsets from the sector's apex, in shares of its radius."""
    size = frames.shape[1]
    rows, columns = (np.clip(at * size, 0, size - 1).astype(int) for at in sector.place(down, right))
    if within is not None:
        inside = within[rows, columns]
        rows, columns = rows[inside], columns[inside]
    frames[:, rows, columns] = colour
