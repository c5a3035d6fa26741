"""A plane cut through a heart: its samples, and the windows of it that a structure can reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import cos, radians, sin

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array, Heart, Pose

FAR = np.float32(4.0)  # cm: a distance beyond every structure's reach
MARGIN = 0.9  # cm around a structure where its distance matters
Window = tuple[slice, slice, slice]  # frames, depths and beams


@dataclass
class Pools:
    """Distances in cm, negative inside, [T, D, B] float32: to the nearest blood, to the outer surface of heart and
    vessels, and to what chambers make room for."""

    blood: Array
    outside: Array
    keep: Array

    def add(self, window: Window, distance: Array, wall: float) -> None:
        """Adds a blood pool [T, d, b] and the wall around it; `distance` is overwritten."""
        np.minimum(self.blood[window], distance, out=self.blood[window])
        distance -= np.float32(wall)
        np.minimum(self.outside[window], distance, out=self.outside[window])


@dataclass(frozen=True)
class Patch:
    """Distances [T, d, b] in cm in the `window` of a plane that a structure can reach."""

    window: Window
    distance: Array


class Cut:
    """A plane through a heart; `points` [3, D, B] are the heart coordinates of its samples, cm."""

    def __init__(self, heart: Heart, points: Array):
        self.heart, self.points = heart, _irregular(points, heart)
        self.still = Pools(*(np.full((1, *points.shape[1:]), FAR) for _ in range(3)))

    @cached_property
    def extremes(self) -> Pose:
        """The heart at end-diastole and at end-systole."""
        return Pose.at(self.heart, np.array([0.0, self.heart.cycle.end_systole]))

    @cached_property
    def follow(self) -> tuple[Array, Array, Array]:
        """How tissue follows the left ventricle, [D, B] each: x and y times the share that widening carries along,
        and the share of shortening; what lies beside the heart hardly follows."""
        x, y, _ = self.points
        apart = x * x + y * y
        share = 1 / (1 + (apart / (self.heart.radius + 0.6) ** 2) ** 2)
        return x * share, y * share, 1 / (1 + (apart / 36.0) ** 3)

    def around(self, window: Window, centre: Array | list, angle: float = 0.0) -> Array:
        """Coordinates [3, d, b] from `centre`, turned by `angle` degrees about z."""
        x, y, z = self.points[window] - np.asarray(centre, np.float32)[:, None, None]
        c, s = cos(radians(angle)), sin(radians(angle))
        return np.stack([x * c + y * s, y * c - x * s, z])

    def within(self, centre: Array | list, reach: float) -> Window | None:
        """The part of the plane within `reach` cm of `centre`, or None."""
        (points,) = self.coarse(self.points)
        offset = points - np.asarray(centre, np.float32)[:, None, None]
        return self._bounds((offset * offset).sum(0) < reach * reach)

    def near(self, distance: Array) -> Window | None:
        """The part of the plane where distances [T, d, b] to a structure matter, or None; `distance` is `coarse`."""
        return self._bounds(distance.min(0) < MARGIN)

    @property
    def pitch(self) -> int:
        """Windows are found by asking one sample in so many of each line."""
        return 1 + min(self.points.shape[1:]) // 50

    def coarse(self, *fields: Array) -> Iterator[Array]:
        """Every so many samples of fields [..., D, B]."""
        return (field[..., :: self.pitch, :: self.pitch] for field in fields)

    def _bounds(self, near: Array) -> Window | None:
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if not len(rows):
            return None
        step = self.pitch
        depths, beams = (slice(max(0, (at[0] - 1) * step + 1), (at[-1] + 1) * step) for at in (rows, columns))
        return slice(None), depths, beams


def _irregular(points: Array, heart: Heart) -> Array:
    """Bends space by a millimetre or two, so that no wall is a perfect ellipsoid; the bends are the patient's own."""
    x, y, z = points
    wide, fine = heart.bend * 0.16, heart.bend * 0.07
    a, b = heart.radius * 40.0, heart.length * 13.0  # phases
    return np.stack(
        [
            x + wide * np.sin(0.8 * y + 0.7 * z + a) + fine * np.sin(2.1 * z - 1.7 * y + b),
            y + wide * np.sin(0.9 * z + 0.6 * x + b) + fine * np.sin(2.3 * x + 1.6 * z + a),
            z + heart.bend * 0.12 * np.sin(0.9 * x + 0.7 * y - a) + heart.bend * 0.06 * np.sin(2.2 * y - 1.9 * x - b),
        ]
    ).astype(np.float32)


def square(values: Array) -> Array:
    """The square of a fresh array, in place."""
    return np.multiply(values, values, out=values)


def ellipsoid(*axes: tuple[Array, Array | float]) -> Array:
    """Approximate distance to an ellipsoid, from pairs of squared coordinate and semi-axis, one for each axis.

    With k0 = |p / a| and k1 = |p / a²| it is k0·(k0 - 1) / k1 (Quilez, iquilezles.org/articles/ellipsoids), exact on
    the surface. One of the squares must be positive.
    """
    (squared, axis), *others = axes
    weight = 1 / (axis * axis)
    near = squared * weight
    far = near * weight
    for squared, axis in others:
        weight = 1 / (axis * axis)
        part = squared * weight
        near += part
        part *= weight
        far += part
    near -= np.sqrt(near)
    near /= np.sqrt(far, out=far)
    return near
