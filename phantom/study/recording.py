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


def heart_video(shot: Shot, rng: np.random.Generator) -> Array:
    """The image of a recording of the heart, [T, size, size, 3] uint8, black outside the image regions."""
    if shot.is_strip:
        return strip_video(shot, rng)
    if shot.view.mode == "dual":
        left, right = (shot.patient.machine.half_frame(side) for side in (0, 1))
        other = replace(shot, plane=held(apical_two(shot.patient.heart), shot.quality, rng))
        return np.maximum(sector_frames(shot, left, shot.times, rng), sector_frames(other, right, shot.times, rng))
    return sector_frames(shot, shot.sector, shot.times, rng)


def image_mask(shot: Shot) -> Array:
    """Which pixels of a recording of the heart belong to the image (sector and strip), [size, size] bool."""
    grid = Grid.of(shot.sector, shot.size)
    mask = scan_converter(shot.sector, shot.size, len(grid.radii), len(grid.angles)).mask.copy()
    if shot.is_strip:
        mask[shot.strip] = True
    return mask


def dress(frames: Array, shot: Shot, rng: np.random.Generator) -> Array:
    """Puts the machine's screen around the image, in place, and returns the frames."""
    device = shot.patient.machine
    np.maximum(frames, machine.chrome(device, shot.size, rng)[None], out=frames)
    mask, (rows, columns) = machine.trace(shot.patient.heart.cycle, shot.times, shot.size)
    frames[:, rows, columns][mask] = machine.STYLES[device.style].ecg
    return frames
