"""The colour box: velocities of blood or muscle painted over the grey image of a sector."""

from __future__ import annotations

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.heart.cut import Cut
from echoviewclip.phantom.heart.scene import Scene
from echoviewclip.phantom.probe import bmode, doppler
from echoviewclip.phantom.probe.receiver import Converter
from echoviewclip.phantom.probe.shot import Grid, Shot

MARK = (190, 190, 190)  # RGB of the box's border


class ColourBox:
    """Where a shot's colour box lies in the polar grid and in the pixels; nothing is computed beyond it."""

    def __init__(self, shot: Shot, grid: Grid, cut: Cut, converter: Converter):
        self.shot, self.grid, self.cut = shot, grid, cut
        centre = shot.patient.heart.landmarks[shot.view.at]
        self.area = doppler.box(shot.plane, centre, shot.view.size, grid.radii, grid.angles)
        rows, columns = np.flatnonzero(self.area.any(1)), np.flatnonzero(self.area.any(0))
        # one sample more, since pixels lie between samples
        self.window = tuple(slice(max(0, at[0] - 1), at[-1] + 2) for at in (rows, columns))
        share = converter.matrix @ self.area.ravel().astype(np.float32)
        pixels = np.flatnonzero(share)
        samples = np.arange(self.area.size).reshape(self.area.shape)[self.window]
        self.share, self.matrix = share[pixels], converter.matrix[pixels][:, samples.ravel()]
        self.pixels = np.arange(shot.size**2).reshape(shot.size, -1)[converter.box].ravel()[pixels]

    def moving(self, scene: Scene, blood: Array) -> Array:
        """How much of each sample of the box has velocities to show, [T, d, b] in [0, 1]."""
        inside = (slice(None), *self.window)
        if self.shot.view.mode == "colour":
            return blood[inside]
        return bmode.inside(scene.outside[inside], 0.1) * (1 - blood[inside])

    def paint(self, frames: Array, moving: Array, t: Array, rng: np.random.Generator) -> None:
        """Lays the colours at times `t` [T] over grey frames [T, size, size, 3], in place."""
        shot, quality, (rows, columns) = self.shot, self.shot.quality, self.window
        tissue = shot.view.mode == "tissue_colour"
        nyquist = doppler.TISSUE_NYQUIST if tissue else doppler.NYQUIST
        field = doppler.tissue_field if tissue else doppler.velocity_field
        velocity = field(shot.patient, shot.plane, self.cut.points[:, rows, columns], self.grid.angles[columns], t)
        rough = bmode.smooth_noise(rng, self.area.shape, 6)[rows, columns]
        velocity *= (0.75 + 0.5 * rough) * np.float32(1 - 0.45 * quality["off_axis"])
        holes = rng.random((len(t), *self.area.shape), np.float32)[:, rows, columns] * np.float32(quality["clutter"])
        weak = rough + 0.35 - 0.9 * max(quality["low_gain"], quality["dropout"]) <= 0.12
        shown = moving * (self.area[rows, columns] & ~weak)
        shown[(np.abs(velocity) <= 0.1 * nyquist) | (holes > 0.75)] = 0
        frame, pixel = np.nonzero(self._convert(shown) > 0.5)
        flat = frames.reshape(len(t), -1, 3)
        flat[frame, self.pixels[pixel]] = doppler.colours(self._convert(velocity)[frame, pixel], nyquist)
        flat[:, self.pixels[(self.share > 0.25) & (self.share < 0.75)]] = MARK

    def _convert(self, values: Array) -> Array:
        """Scan conversion of [T, d, b] to the box's pixels [T, P]."""
        return (self.matrix @ np.ascontiguousarray(values.reshape(len(values), -1).T)).T
