"""Bounds of an outline, placed to the pixel.

Evidence is gathered in cells, and compression rings around an image over a block, so that an outline fitted to cells
lies up to some pixels too far out. Where an image ends, light rises within a pixel or two to a good part of what is
near, while ringing stays far below that: each bound is moved to where most of the outermost light begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from echoviewclip.datasets.sector.geometry import TURN, Outline, Side

Mask = np.ndarray
Numbers = np.ndarray  # one a point
INWARDS, OUTWARDS = 10.0, 1.5  # how far a bound may move: pixels (a block and its soft edge), and cells
SMALL = 0.1  # share of the outline's smaller side that it moves at most
STEP, TOUCH = 0.5, 0.8  # pixels between places that are tried, and between a bound and light that touches it
SHORTEST, LEAST = 12, 0.3  # pixels along a bound, and the share of them that light touches, or it stays
HALF = 0.5  # of a pixel lies beyond its centre
LEFT, TOP, RIGHT, BOTTOM = range(4)


@dataclass(frozen=True)
class _Bound:
    """A bound of an outline: how far inside it points (x, y) lie, and where along it, in cells; and how it is moved."""

    inside: Callable[[Numbers, Numbers], Numbers]
    along: Callable[[Numbers, Numbers], Numbers]
    moved: Callable[[Outline, float], Outline]


def settled(outline: Outline, light: Mask, cell: int) -> Outline:
    """The outline, in cells of `cell` pixels, with its bounds where most of the outermost `light`, bool [H, W], begins.

    A bound that light touches over too little of its length stays.
    """
    left, top, right, bottom = outline.box
    inwards = min(INWARDS, SMALL * cell * min(right - left, bottom - top))
    painted = outline.paint(light.shape, cell)
    room = outline.paint(light.shape, cell, OUTWARDS * cell) & ~outline.paint(light.shape, cell, -inwards)
    lit = _points(light & room, cell)
    rim = _points(painted & ~outline.paint(light.shape, cell, -1.0), cell)
    bounds = _bounds(outline)
    depths = np.array([bound.inside(*lit) for bound in bounds])
    nearest, on_rim = depths.argmin(0), np.argmin([bound.inside(*rim) for bound in bounds], axis=0)
    for number, bound in enumerate(bounds):
        own, edge = nearest == number, on_rim == number
        length = len(np.unique(_places(bound.along(*rim)[edge], cell)))
        by = _shift(_places(bound.along(*lit)[own], cell), depths[number][own] * cell, length)
        outline = bound.moved(outline, by / cell)
    return outline


def _points(pixels: Mask, cell: int) -> tuple[Numbers, Numbers]:
    """Centres (x, y) of pixels, in cells."""
    rows, columns = np.nonzero(pixels)
    return (columns + 0.5) / cell, (rows + 0.5) / cell


def _places(along: Numbers, cell: int) -> Numbers:
    return np.round(along * cell).astype(int)


def _shift(places: Numbers, depths: Numbers, length: int) -> float:
    """How far to move a bound inwards, in pixels, by the depths of what is lit, also in pixels."""
    if length < SHORTEST or not len(places):
        return 0.0
    first = np.full(np.ptp(places) + 1, np.inf)
    np.minimum.at(first, places - places.min(), depths)
    first = first[np.isfinite(first)]
    tried = np.arange(first.min(), first.max() + STEP, STEP)[:, None]
    touching = np.abs(first - tried) <= TOUCH
    score = touching.sum(1) - TURN * (first < tried - TOUCH).sum(1)
    best = int(score.argmax())
    if touching[best].sum() < LEAST * length:
        return 0.0
    return float(first[touching[best]].mean()) - HALF


def _bounds(outline: Outline) -> list[_Bound]:
    """The bounds of an outline: four of its box, its sides, its arcs."""
    bounds = [_box_bound(outline, edge) for edge in (LEFT, TOP, RIGHT, BOTTOM)]
    bounds += [_side_bound(side, number) for number, side in enumerate(outline.sides)]
    if outline.apex is not None:
        if np.isfinite(outline.far):
            bounds.append(_arc_bound(outline.apex, outline.far, -1))
        if outline.near > 0:
            bounds.append(_arc_bound(outline.apex, outline.near, 1))
    return bounds


def _box_bound(outline: Outline, edge: int) -> _Bound:
    at, sign = outline.box[edge], 1 if edge in (LEFT, TOP) else -1
    upright = edge in (LEFT, RIGHT)

    def moved(outline: Outline, by: float) -> Outline:
        left, top, right, bottom = (value + sign * by * (k == edge) for k, value in enumerate(outline.box))
        return replace(outline, box=(left, top, right, bottom))

    return _Bound(lambda x, y: sign * ((x if upright else y) - at), lambda x, y: y if upright else x, moved)


def _side_bound(side: Side, number: int) -> _Bound:
    stretch = float(np.hypot(1, side.slope))

    def moved(outline: Outline, by: float) -> Outline:
        sides = list(outline.sides)
        sides[number] = replace(side, start=side.start + side.sign * by * stretch)
        return replace(outline, sides=tuple(sides))

    return _Bound(
        lambda x, y: side.sign * (x - side.at(y)) / stretch, lambda x, y: (y + side.slope * x) / stretch, moved
    )


def _arc_bound(apex: tuple[float, float], radius: float, sign: int) -> _Bound:
    """The near arc (`sign` 1), or the far one (−1)."""

    def moved(outline: Outline, by: float) -> Outline:
        at = radius + sign * by
        return replace(outline, near=max(0.0, at)) if sign > 0 else replace(outline, far=at)

    return _Bound(
        lambda x, y: sign * (np.hypot(x - apex[0], y - apex[1]) - radius),
        lambda x, y: radius * np.arctan2(x - apex[0], np.abs(y - apex[1])),
        moved,
    )
