"""The four chambers: truncated ellipsoids whose size follows the cycle, and the papillary muscles."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, radians, sin

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array, Pose, polar
from echoviewclip.phantom.heart.cut import Cut, Patch, ellipsoid, square
from echoviewclip.phantom.heart.scene import Add, Scene

TINY = np.float32(1e-6)  # cm²


def left(cut: Cut) -> Iterator[Add]:
    """The left ventricle: cavity and muscle around one axis, cut off at the mitral annulus; papillary muscles."""
    x, y, z = cut.points
    across = x * x + y * y + TINY

    def outer(pose: Pose, across: Array, along: Array, over: Array) -> Array:
        thick = 0.7 * pose.length + 0.75 * pose.wall
        distance = ellipsoid((across, pose.radius + pose.wall), (along, thick))
        return np.maximum(distance, over - np.float32(0.25), out=distance)

    pose, (thin, height) = cut.extremes, cut.coarse(across, z)
    window = cut.near(outer(pose, thin, square(height - 0.7 * pose.length), height - pose.length))
    if window is None:
        return
    across, z = across[window[1:]].copy(), z[window[1:]].copy()

    def add(scene: Scene) -> None:
        pose = scene.pose
        centre = 0.7 * pose.length
        along, over = square(z - centre), z - pose.length
        cavity = ellipsoid((across, pose.radius), (along, centre))
        np.maximum(cavity, over, out=cavity)
        muscle = outer(pose, across, along, over)
        scene.cavity, scene.muscle = Patch(window, cavity), Patch(window, muscle)
        for field, distance in ((scene.keep, muscle), (scene.outside, muscle), (scene.blood, cavity)):
            np.minimum(field[window], distance, out=field[window])

    yield add
    yield from _papillary(cut, 20)
    yield from _papillary(cut, 250)


def _papillary(cut: Cut, angle: float) -> Iterator[Add]:
    """A papillary muscle stands on the wall: blood gives way to it."""
    heart, foot = cut.heart, polar(angle, 0.74, 0)
    window = cut.within([*(0.8 * heart.radius * foot)[:2], 0.47 * heart.length], 0.17 * heart.length + 1.6)
    if window is None:
        return
    size = 0.2 * heart.radius
    flat = size / (0.17 * heart.length)
    x, y, z = cut.points[window]
    across, towards, height = x * x + y * y, 2 * (x * float(foot[0]) + y * float(foot[1])), flat * z

    def add(scene: Scene) -> None:
        pose = scene.pose
        bump = square(height - 0.52 * flat * pose.length)
        bump += across
        bump -= towards * pose.radius
        bump += (0.74 * pose.radius) ** 2
        np.sqrt(np.maximum(bump, 0, out=bump), out=bump)
        np.subtract(np.float32(size), bump, out=bump)
        np.maximum(scene.blood[window], bump, out=scene.blood[window])

    yield add


def right(cut: Cut) -> Iterator[Add]:
    """The right ventricle: leans on the left one, which leaves it a crescent; its base is the tricuspid annulus."""
    heart, (x, y, z) = cut.heart, cut.points
    middle, lean = polar(155, 4.15, 0), 0.5 + 0.5 * np.clip(z / heart.length, 0, 1)
    c, s = cos(radians(155)), sin(radians(155))
    x, y = x - float(middle[0]) * lean, y - float(middle[1]) * lean
    x, y = square(x * c + y * s) + TINY, square(y * c - x * s)

    def free(pose: Pose, x: Array, y: Array, z: Array) -> Array:
        reach = 0.62 * pose.length
        width, breadth = 2.45 * heart.right * pose.squeeze, 3.3 * heart.right * (0.5 + 0.5 * pose.squeeze)
        distance = ellipsoid((x, width), (y, breadth), (square(z - (pose.right - 0.28 * reach)), reach))
        return np.maximum(distance, z - pose.right, out=distance)

    window = cut.near(free(cut.extremes, *cut.coarse(x, y, z)))
    if window is None:
        return
    x, y, z = (part[window[1:]].copy() for part in (x, y, z))

    def add(scene: Scene) -> None:
        cavity = free(scene.pose, x, y, z)
        np.minimum(scene.outside[window], cavity - np.float32(0.38), out=scene.outside[window])  # with its wall
        np.maximum(cavity, np.float32(0.05) - scene.keep[window], out=cavity)
        np.minimum(scene.blood[window], cavity, out=scene.blood[window])

    yield add


def atria(cut: Cut) -> Iterator[Add]:
    """Both atria, between their annulus and a roof that stays: they fill as the annuli descend."""
    yield from _atrium(cut, 300, 0.95, (2.05, 2.25), "length")
    yield from _atrium(cut, 185, 4.6, (2.1, 2.2), "right")


def _atrium(cut: Cut, angle: float, offset: float, axes: tuple[float, float], annulus: str) -> Iterator[Add]:
    heart, middle = cut.heart, polar(angle, offset, 0)
    roof = heart.length + 1.0 + 3.6 * heart.atria
    window = cut.within([*middle[:2], heart.length + 2], 5.0)
    if window is None:
        return
    x, y, z = cut.around(window, middle, angle)
    x, y = square(x) + TINY, square(y)

    def add(scene: Scene) -> None:
        base = getattr(scene.pose, annulus)
        fill = heart.atria * (0.9 + 0.14 * scene.pose.contraction)
        tall = 0.62 * (roof - base)
        atrium = ellipsoid((x, axes[0] * fill), (y, axes[1] * fill), (square(z - (roof - tall)), tall))
        np.maximum(atrium, (base + 0.15) - z, out=atrium)
        np.maximum(atrium, np.float32(0.2) - scene.keep[window], out=atrium)
        scene.add(window, atrium, wall=0.22)

    yield add
