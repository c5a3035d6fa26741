"""Morphology of cells: bool pictures [h, w], with square neighbourhoods."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

Mask = np.ndarray


def grow(cells: Mask, radius: int) -> Mask:
    """All cells within `radius` rows and columns."""
    grown = cells.view(np.uint8)
    for axis in (0, 1):
        grown = ndimage.maximum_filter1d(grown, 2 * radius + 1, axis, mode="constant")
    return grown.view(bool)


def shrink(cells: Mask, radius: int, border: bool = True) -> Mask:
    """The cells whose neighbours within `radius` are all there; `border` says what lies beyond the picture."""
    shrunk = cells.view(np.uint8)
    for axis in (0, 1):
        shrunk = ndimage.minimum_filter1d(shrunk, 2 * radius + 1, axis, mode="constant", cval=int(border))
    return shrunk.view(bool)


def close(cells: Mask, radius: int) -> Mask:
    """Fills gaps of up to twice `radius`."""
    padded = np.pad(cells, radius)
    return shrink(grow(padded, radius), radius)[radius:-radius, radius:-radius]


def thick_parts(cells: Mask, radius: int, least: float) -> Iterator[Mask]:
    """The connected parts that are thicker than twice `radius` and have at least `least` of the picture."""
    thick = grow(shrink(cells, radius), radius)
    thick = ndimage.binary_dilation(thick, iterations=radius + 2, mask=cells)  # gives pointed ends back
    labels, count = ndimage.label(thick)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    for number in np.argsort(-sizes[1:], kind="stable") + 1:
        if sizes[number] >= least * cells.size:
            yield labels == number


def hull(cells: Mask) -> Mask:
    """The convex hull; the cells themselves where they are a line."""
    points = np.argwhere(cells ^ ndimage.binary_erosion(cells))
    try:
        sides = ConvexHull(points).equations  # a·y + b·x + c ≤ 0 inside
    except (QhullError, ValueError):
        return cells
    y, x = np.ogrid[: cells.shape[0], : cells.shape[1]]
    inside = np.ones_like(cells)
    for a, b, c in sides:
        inside &= a * y + b * x + c <= 1e-6
    return inside
