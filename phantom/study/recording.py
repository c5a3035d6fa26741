"""A whole recording: the image of a view in its layout, and the machine's screen around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from echoviewclip.phantom import machine
from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.probe.planes import apical_two
from echoviewclip.phantom.probe.receiver import scan_converter
from echoviewclip.phantom.probe.render import sector_frames
from echoviewclip.phantom.probe.shot import Grid, Shot, held
from echoviewclip.phantom.probe.strips import strip_video
from echoviewclip.phantom.study.chrome import dress_varied


def heart_video(shot: Shot, rng: np.random.Generator) -> Array:
    """The image of a recording of the heart, [T, size, size, 3] uint8, black outside the image regions."""
    if shot.is_strip:
        return strip_video(shot, rng)
    if shot.view.mode == "dual":
        left, right = shot.halves
        other = replace(shot, plane=held(apical_two(shot.patient.heart), shot.quality, rng))
        return np.maximum(sector_frames(shot, left, shot.times, rng), sector_frames(other, right, shot.times, rng))
    if _compared(shot):
        left, right = shot.halves
        grey = replace(shot, view=replace(shot.view, mode="bmode")) if shot.view.mode == "colour" else shot
        return np.maximum(sector_frames(grey, left, shot.times, rng), sector_frames(shot, right, shot.times, rng))
    return sector_frames(shot, shot.sector, shot.times, rng)


def _compared(shot: Shot) -> bool:
    """Whether the view is shown twice, side by side."""
    return shot.setting is not None and shot.setting.compared and not shot.is_strip


def image_mask(shot: Shot) -> Array:
    """Which pixels of a recording of the heart belong to the image (sectors, strip and its axis), [size, size] bool."""
    sectors = shot.halves if shot.view.mode == "dual" or _compared(shot) else (shot.sector,)
    mask = np.zeros((shot.size, shot.size), bool)
    for sector in sectors:
        grid = Grid.of(sector, shot.size)
        mask |= scan_converter(sector, shot.size, len(grid.radii), len(grid.angles)).mask
    if shot.is_strip:
        mask[shot.strip] = True
        if shot.setting is not None:
            top, bottom, left, right = (round(edge * shot.size) for edge in shot.setting.layout.axis)
            mask[top:bottom, left:right] = True
    return mask


def dress(frames: Array, shot: Shot, rng: np.random.Generator) -> Array:
    """Puts the machine's screen around the image, in place, and returns the frames."""
    if shot.setting is not None:
        return dress_varied(frames, shot, rng)
    device = shot.patient.machine
    np.maximum(frames, machine.chrome(device, shot.size, rng)[None], out=frames)
    rows, columns = machine.trace_box(shot.size)
    mask = machine.trace(shot.patient.heart.cycle, shot.times, (rows.stop - rows.start, columns.stop - columns.start))
    frames[:, rows, columns][mask] = machine.STYLES[device.style].ecg
    return frames
