"""The four valves: leaflets and annuli as distances that are drawn as bright lines."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, sin

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.heart.cut import FAR, Cut, Patch, square
from echoviewclip.phantom.heart.scene import Add, Scene


def inlets(cut: Cut) -> Iterator[Add]:
    """Mitral and tricuspid valve."""
    heart, mark = cut.heart, cut.heart.landmarks
    yield from _inlet(cut, mark["mitral"], 120, 1.5, (2.0, 1.5), "length", 0.32)
    yield from _inlet(cut, mark["tricuspid"], 180, 1.65 * heart.right, (1.75, 1.6), "right", 0.25)


def outlets(cut: Cut) -> Iterator[Add]:
    """Aortic and pulmonary valve."""
    heart, mark = cut.heart, cut.heart.landmarks
    along = mark["pulmonary artery"] - mark["outflow"]
    yield from _outlet(cut, mark["aortic"], np.array([0, 0, 1.0]), 1.05 * heart.vessels, 1.0)
    yield from _outlet(cut, mark["pulmonary"], along / np.linalg.norm(along), 1.12 * heart.vessels, 0.4)


def _inlet(
    cut: Cut, centre: Array, angle: float, radius: float, lengths: tuple[float, float], annulus: str, rest: float
) -> Iterator[Add]:
    """Two leaflets hinged on a round annulus, tilted into the ventricle, by `rest` radians when they are shut."""
    window = cut.within(centre - [0, 0, 0.8], radius + 2.2)
    if window is None:
        return
    u, v, _ = cut.around(window, centre, angle)
    z = cut.points[2][window[1:]].copy()
    rho = np.sqrt(u * u + v * v)
    hinge = np.sqrt(np.maximum(radius**2 - v * v, 0))
    beyond = square(np.maximum(np.abs(v) - radius, 0))
    middle, ring = rho - np.float32(radius - 0.1), square(rho - np.float32(radius + 0.1))
    leaflets = [
        (hinge - side * u, length * hinge / radius, beyond + square(hinge - side * u))
        for side, length in zip((1, -1), lengths, strict=True)
    ]

    def add(scene: Scene) -> None:
        down = getattr(scene.pose, annulus) - z
        orifice = np.abs(down)
        orifice -= np.float32(0.5)
        np.maximum(orifice, middle, out=orifice)
        np.minimum(scene.blood[window], orifice, out=scene.blood[window])
        tilt = rest + 1.05 * scene.pose.inflow
        ct, lift = np.cos(tilt), down * np.sin(tilt)
        down *= down
        apart = []
        for inward, reach, beside in leaflets:  # |p - s·e|² = |p|² - s·(2·p·e - s), with e along the leaflet
            along = inward * ct + lift
            share = np.clip(along, 0, reach)
            along += along
            along -= share
            along *= share
            apart.append(down + beside)
            apart[-1] -= along
        nearest, other = apart
        np.minimum(nearest, other, out=nearest)
        np.sqrt(np.maximum(nearest, 0, out=nearest), out=nearest)
        down += ring
        annular = np.sqrt(down, out=down)
        annular -= np.float32(0.14)
        scene.valves.append(Patch(window, np.minimum(nearest, annular, out=nearest)))

    yield add


def _outlet(cut: Cut, centre: Array, axis: Array, radius: float, moves: float) -> Iterator[Add]:
    """Three cusps: a cone that opens into the vessel, and the star in which closed cusps meet. The valve follows the
    share `moves` of the base's descent."""
    window = cut.within(centre, radius + 1.2)
    if window is None:
        return
    side = np.cross(axis, [0.36, -0.48, 0.8])
    side /= np.linalg.norm(side)
    frame = np.stack([side, np.cross(axis, side), axis]).astype(np.float32)
    across, other, height = np.einsum("ic,cdb->idb", frame, cut.around(window, centre))
    slant = [float(part) for part in frame[:, 2]]

    def add(scene: Scene) -> None:
        opened, shift = scene.pose.outflow, moves * (scene.pose.length - np.float32(cut.heart.length))
        u, v, w = across - slant[0] * shift, other - slant[1] * shift, height - slant[2] * shift
        rho = np.sqrt(u * u + v * v)
        tilt = 0.12 + 1.3 * opened
        ct, st = np.cos(tilt), np.sin(tilt)
        inward = radius - rho
        along = np.clip(inward * ct + w * st, 0, radius)
        cone = square(inward - along * ct)
        cone += square(w - along * st)
        star = np.minimum(rho, FAR)
        for k in range(3):
            ca, sa = cos(2.1 * k + 0.5), sin(2.1 * k + 0.5)
            ray = np.where(u * ca + v * sa > 0, np.abs(v * ca - u * sa), rho)
            np.minimum(star, ray, out=star)
        star *= np.float32(1.5)
        np.maximum(star, np.abs(w - np.float32(0.35)) - np.float32(0.4), out=star)
        star += 2 * opened
        np.maximum(star, -inward, out=star)
        scene.valves.append(Patch(window, np.minimum(np.sqrt(cone, out=cone), star, out=star)))

    yield add
