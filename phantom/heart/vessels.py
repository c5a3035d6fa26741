"""Vessels: chains of tapering tubes. Most stay as they are; the cava breathes and the outflow tract contracts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from echoviewclip.phantom.heart.anatomy import CAUDAL, Array, Pose, polar
from echoviewclip.phantom.heart.cut import Cut, Window
from echoviewclip.phantom.heart.scene import Add, Scene

WALL, ROOM = 0.18, 0.22  # cm: a vessel's wall, and its distance from what keeps it away


def add_still(cut: Cut) -> None:
    """The aorta with its arch and neck vessels, the branches of the pulmonary artery, a hepatic vein."""
    mark, size, base = cut.heart.landmarks, cut.heart.vessels, cut.heart.length
    root, branch = mark["aortic"], mark["bifurcation"]
    lift, top = np.array([0, 0, 0.9]), np.array([0, 0, base])
    out = [root - lift, root, root + lift, mark["ascending"], mark["arch start"]]
    arch = [mark["arch start"], [0.6, 1.6, base + 7.2], mark["arch"], [2.0, -2.9, base + 7.4], mark["arch end"]]
    down = [mark["arch end"], mark["descending"], mark["descending"] + 9 * CAUDAL * [1, 1, 0.2]]
    _tube(cut, out, [1.0 * size, 1.0 * size, 1.32 * size, 1.2 * size, 1.3 * size], keeps=True)
    _tube(cut, arch, [1.3 * size, 1.2 * size, 1.1 * size, 1.0 * size, 1.0 * size])
    _tube(cut, down, [1.05 * size, 1.05 * size, 1.0 * size])
    for start, tip in (
        ([0.7, 1.2, 7.8], [-0.8, 2.4, 12]),
        ([1.4, -0.5, 8.6], [1.1, -0.2, 12.5]),
        ([1.8, -2.0, 8.1], [2.5, -2.6, 12.5]),
    ):
        _tube(cut, [start + top, tip + top], [0.42, 0.36], wall=0.12)
    right = [branch, [1.5, 0.0, base + 5.3], [-2.6, -0.8, base + 5.5]]
    _tube(cut, right, [0.95, 0.85, 0.8], clear=True)
    _tube(cut, [branch, branch + np.array([2.4, -1.4, 1.0])], [0.95, 0.85])
    joint = mark["right atrium"] + 4.4 * CAUDAL
    _tube(cut, [joint, joint + polar(120, 2.2, 0) + 3.2 * CAUDAL], [0.42, 0.22], wall=0.05)


def cava(cut: Cut) -> Iterator[Add]:
    """The inferior vena cava, narrower as the patient breathes in."""
    entry, size = cut.heart.landmarks["right atrium"] + 1.2 * CAUDAL, cut.heart.cava
    points = [entry, entry + 12 * CAUDAL]
    yield from _moving(cut, points, [0.0, 0.0], [size, size], lambda pose: pose.cava / size, wall=0.12)


def outflow(cut: Cut) -> Iterator[Add]:
    """The right ventricle's outflow tract, which contracts, and the trunk of the pulmonary artery."""
    mark, size = cut.heart.landmarks, cut.heart.vessels
    tract = [polar(135, 4.4, 0.62 * cut.heart.length), mark["outflow"], mark["pulmonary"]]
    trunk = [mark["pulmonary"], mark["pulmonary artery"], mark["bifurcation"]]
    yield from _moving(cut, tract, [0.0, 0.0, 1.12 * size], [1.5, 1.3, 0.0], _squeeze, wall=0.3, clear=True)
    radii = [1.12 * size, 1.3 * size, 1.15 * size]
    yield from _moving(cut, trunk, radii, [0.0, 0.0, 0.0], _squeeze, wall=WALL, clear=True)


def _squeeze(pose: Pose) -> Array:
    return pose.squeeze


def _segments(cut: Cut, points: list, radii: list, widening: list) -> Iterator[tuple[Window, Array, Array]]:
    """A chain of tubes, segment by segment where the plane meets it: distances [d, b] to the surface, and by how much
    `widening` times 1 moves it out."""
    for k in range(len(points) - 1):
        a, b = (np.asarray(points[k + i], np.float32) for i in (0, 1))
        (ra, rb), (wa, wb) = radii[k : k + 2], widening[k : k + 2]
        span = float(np.linalg.norm(b - a))
        window = cut.within((a + b) / 2, span / 2 + max(ra + wa, rb + wb) + 0.9)
        if window is not None:
            offset, axis = cut.around(window, a), (b - a)[:, None, None]
            share = np.clip((offset * axis).sum(0) / span**2, 0, 1)
            offset -= axis * share
            distance = np.sqrt((offset * offset).sum(0))
            yield window, distance - (ra + share * (rb - ra)), wa + share * (wb - wa)


def _tube(cut: Cut, points: list, radii: list, wall: float = WALL, keeps: bool = False, clear: bool = False) -> None:
    """A vessel that stays as it is; it `keeps` others away, or stays `clear` of what does."""
    for window, distance, _ in _segments(cut, points, radii, [0.0] * len(points)):
        distance = distance[None]
        if clear:
            distance = np.maximum(distance, ROOM - cut.still.keep[window])
        if keeps:
            np.minimum(cut.still.keep[window], distance, out=cut.still.keep[window])
        cut.still.add(window, distance, wall)


def _moving(
    cut: Cut, points: list, radii: list, widening: list, factor: Callable[[Pose], Array], wall: float,
    clear: bool = False,
) -> Iterator[Add]:  # fmt: skip
    """A vessel with the radii `radii` + `widening`·factor."""
    for window, still, wide in _segments(cut, points, radii, widening):

        def add(scene: Scene, window: Window = window, still: Array = still, wide: Array = wide) -> None:
            distance = still - wide * factor(scene.pose)
            if clear:
                np.maximum(distance, ROOM - scene.keep[window], out=distance)
            scene.add(window, distance, wall)

        yield add
