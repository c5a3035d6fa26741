"""The colour box: velocities of blood or muscle painted over the grey image of a sector."""

from __future__ import annotations

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.heart.cut import Cut
from echoviewclip.phantom.heart.scene import Scene
from echoviewclip.phantom.probe import bmode, doppler
from echoviewclip.phantom.probe.receiver import Converter
from echoviewclip.phantom.probe.shot import Grid, Shot
from echoviewclip.phantom.variety.flow import Flow

MARK = (190, 190, 190)  # RGB of the box's border


class ColourBox:
    """Where a shot's colour box lies in the polar grid and in the pixels; nothing is computed beyond it."""

    def __init__(self, shot: Shot, grid: Grid, cut: Cut, converter: Converter):
        self.shot, self.grid, self.cut = shot, grid, cut
        centre = shot.patient.heart.landmarks[shot.view.at]
        if shot.setting is None:
            self.area = doppler.box(shot.plane, centre, shot.view.size, grid.radii, grid.angles)
        else:
            self.area = _area(shot.plane.locate(centre), shot.view.size / shot.plane.reach, shot.setting.flow, grid)
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
            flow = self.shot.setting.flow if self.shot.setting else None
            return bmode.inside(scene.blood[inside] - flow.bleeding, 0.14) if flow and flow.bleeding else blood[inside]
        return bmode.inside(scene.outside[inside], 0.1) * (1 - blood[inside])

    def paint(self, frames: Array, moving: Array, t: Array, rng: np.random.Generator) -> None:
        """Lays the colours at times `t` [T] over grey frames [T, size, size, 3], in place."""
        shot, quality, (rows, columns) = self.shot, self.shot.quality, self.window
        tissue = shot.view.mode == "tissue_colour"
        nyquist = doppler.TISSUE_NYQUIST if tissue else doppler.NYQUIST
        field = doppler.tissue_field if tissue else doppler.velocity_field
        velocity = field(shot.patient, shot.plane, self.cut.points[:, rows, columns], self.grid.angles[columns], t)
        if shot.setting is not None:
            self._paint_varied(frames, moving, velocity, shot.setting.flow, nyquist, rng)
            return
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

    def _paint_varied(
        self, frames: Array, moving: Array, velocity: Array, flow: Flow, nyquist: float, rng: np.random.Generator
    ) -> None:
        """The same as machines show it: with their colours, their faults and their noise."""
        quality, (rows, columns), count = self.shot.quality, self.window, len(frames)
        tissue = self.shot.view.mode == "tissue_colour"
        limit = nyquist * (flow.nyquist if not tissue else 0.6 + 0.8 * flow.turbulence)
        rough, eddy, other = (bmode.smooth_noise(rng, self.area.shape, cell)[rows, columns] for cell in (6, 9, 9))
        phase = np.linspace(0, rng.uniform(3, 12), count, dtype=np.float32)[:, None, None]
        velocity *= (0.75 + 0.5 * rough) * np.float32((1 - 0.45 * quality["off_axis"]) * (0.04 if flow.empty else 1))
        if not tissue:
            swirl = (eddy - 0.5) * np.cos(phase) + (other - 0.5) * np.sin(phase)
            velocity += np.float32(0.0 if flow.empty else 2 * flow.swirl) * swirl
        torn = rng.standard_normal(velocity.shape, np.float32)
        turbulent = np.clip(np.abs(velocity) / limit - 0.7, 0, 1) * flow.turbulence
        velocity += turbulent * torn * np.float32(0.8 * limit)
        weak = rough + 0.35 - 0.9 * max(quality["low_gain"], quality["dropout"]) <= 0.12
        shown = moving * (self.area[rows, columns] & ~weak)
        lost = rng.random(velocity.shape, np.float32) < 0.5 * quality["clutter"]
        shown[(np.abs(velocity) <= flow.floor * limit) | lost] = 0
        noisy = (rng.random(velocity.shape, np.float32) < flow.speckles * eddy) & self.area[rows, columns]
        shown[noisy], velocity[noisy] = 1, 0.6 * limit * torn[noisy]
        frame, pixel = np.nonzero(self._convert(shown) > 0.5)
        share = self._convert(velocity)[frame, pixel] / limit + flow.baseline * (not tissue)
        flat = frames.reshape(count, -1, 3)
        green = self._convert(turbulent)[frame, pixel] if flow.colours.variance else np.zeros(1, np.float32)
        flat[frame, self.pixels[pixel]] = flow.colours.colours(share, green)
        if flow.shown_border:
            flat[:, self.pixels[(self.share > 0.25) & (self.share < 0.75)]] = flow.colours.border

    def _convert(self, values: Array) -> Array:
        """Scan conversion of [T, d, b] to the box's pixels [T, P]."""
        return (self.matrix @ np.ascontiguousarray(values.reshape(len(values), -1).T)).T


def _area(centre: tuple[float, float], half: float, flow: Flow, grid: Grid) -> Array:
    """A box of any size near `centre` (depth as a share of the reach, angle), [D, B]; some of it lies in the sector."""
    (near, far), (first, last) = grid.radii[[0, -1]], grid.angles[[0, -1]]
    half *= flow.box
    width = min(1.05 * half / max(centre[0], 0.25), 0.48 * (last - first))
    depth = float(np.clip(centre[0] + flow.deeper * half, near + 0.4 * min(half, far - near), far - 0.5 * half))
    angle = float(np.clip(centre[1] + flow.aside * width, first + width, last - width))
    return (np.abs(grid.radii - depth) < half)[:, None] & (np.abs(grid.angles - angle) < width)[None, :]
