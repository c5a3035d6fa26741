"""Devices in the heart: a pacing wire and a mechanical valve, drawn as bright lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from echoviewclip.phantom.heart.anatomy import polar
from echoviewclip.phantom.heart.cut import Cut, Patch
from echoviewclip.phantom.heart.scene import Add, Scene

REACH = 0.5  # cm from a device where it matters


def wire(cut: Cut) -> Iterator[Add]:
    """A wire from the right atrium's roof through the tricuspid valve to the right ventricle's apex."""
    mark = cut.heart.landmarks
    if not cut.heart.wire:
        return
    path = [
        mark["right atrium"] + [0.4, 0.4, 2.6],
        mark["tricuspid"],
        mark["right ventricle"],
        polar(165, 3.3, 0.22 * cut.heart.length),
    ]
    for start, end in pairwise(path):
        axis = (end - start).astype(np.float32)
        span = float(np.linalg.norm(axis))
        window = cut.within((start + end) / 2, span / 2 + REACH)
        if window is None:
            continue
        offset = cut.around(window, start)
        share = np.clip(np.einsum("cdb,c->db", offset, axis) / span**2, 0, 1)
        offset -= axis[:, None, None] * share
        distance = np.sqrt((offset * offset).sum(0))[None]
        if distance.min() < REACH:
            yield _still(Patch(window, distance - np.float32(0.07)))


def _still(patch: Patch) -> Add:
    def add(scene: Scene) -> None:
        scene.valves.append(patch)

    return add


def prosthesis(cut: Cut) -> Iterator[Add]:
    """A mechanical valve: a bright ring and disc in the place of the mitral or the aortic valve, which descends."""
    heart = cut.heart
    if not heart.prosthesis:
        return
    centre, radius = heart.landmarks[heart.prosthesis], 1.45 if heart.prosthesis == "mitral" else 1.1 * heart.vessels
    window = cut.within(centre, radius + 2.2)
    if window is None:
        return
    x, y, z = cut.around(window, centre)
    aside = np.sqrt(x * x + y * y) - np.float32(radius)

    def add(scene: Scene) -> None:
        height = np.abs(z - (scene.pose.length - np.float32(heart.length))) - np.float32(0.12)
        scene.valves.append(Patch(window, np.maximum(height, aside)))

    yield add
