"""The outlines that ultrasound has in a picture, fitted to evidence.

Every one is an intersection of a box, two straight sides and a ring around the point where the sides meet: a sector
(pointed, or with a curved or flat top, steered, cut by a box at any side, apex up or down), a trapezoid, a rectangle.
Each bound is a support of the evidence, which lies inside and touches it over some length; where evidence is ragged
(shadows, low gain) only the touching parts count, and a side that nothing supports mirrors the other one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

Mask = np.ndarray
NEAR = 1.3  # cells between a bound and what it is fitted to
SLANT = 0.09  # columns a row: less is upright, the side of a box
STEEPEST = 1.9  # columns a row
LEAST_SUPPORT = 0.14  # share of its length that touches evidence
FEWEST = 7  # rows, columns or angles that make a bound
SURE, UNSURE = 0.55, 0.4  # hold of a side that is mirrored, and of one that is given up for it
CROOKED = (1.5, 12.0)  # degrees between the leans of two sides: less is even, more is steered
PAIRS = 1500  # lines that are tried
TICK = 5  # cells: what sticks out over fewer is a tick of a scale
STICKING_OUT = 0.06  # share of an edge beyond which there may be ticks and the like
TURN = 2  # against what lies outside: worth so many that touch


@dataclass(frozen=True)
class Side:
    """A straight side x = start + slope · y; `sign` is 1 where the image lies to its right, else −1."""

    start: float
    slope: float
    sign: int
    support: float = 0.0  # share of all rows in which it touches evidence
    visible: float = 1.0  # share of all rows in which it is the bound: below the corner of a zoomed sector a box is

    @property
    def hold(self) -> float:
        """The share of what shows of it that touches evidence."""
        return self.support / max(self.visible, self.support, 1e-6)

    @property
    def lean(self) -> float:
        """Degrees from upright, positive where the sector widens downwards on this side."""
        return -self.sign * float(np.degrees(np.arctan(self.slope)))

    def at(self, y: np.ndarray | float) -> np.ndarray | float:
        """The column at row `y`."""
        return self.start + self.slope * y


@dataclass(frozen=True)
class Outline:
    """A box (left, top, right, bottom), up to two sides, and up to two radii around the `apex` (x, y)."""

    box: tuple[float, float, float, float]
    sides: tuple[Side, ...] = ()
    apex: tuple[float, float] | None = None
    near: float = 0.0
    far: float = np.inf

    def paint(self, shape: tuple[int, int], scale: float = 1.0, margin: float = 0.0) -> Mask:
        """The outline, `scale` times as large and `margin` wider on all sides, as bool [H, W]."""
        y, x = np.ogrid[: shape[0], : shape[1]]
        y, x = (y + 0.5) / scale, (x + 0.5) / scale
        left, top, right, bottom = self.box
        m = margin / scale
        inside = (x > left - m) & (x < right + m) & (y > top - m) & (y < bottom + m)
        for side in self.sides:
            inside = inside & (side.sign * (x - side.at(y)) > -m * np.hypot(1, side.slope))
        if self.apex is not None:
            radius = np.hypot(x - self.apex[0], y - self.apex[1])
            inside = inside & (radius < self.far + m) & (radius > self.near - m)
        return inside


@dataclass(frozen=True)
class Envelope:
    """Edges of the evidence: first and last of each row `y` (`left`, `right`) and column `x` (`top`, `bottom`)."""

    y: np.ndarray
    left: np.ndarray
    right: np.ndarray
    x: np.ndarray
    top: np.ndarray
    bottom: np.ndarray

    @classmethod
    def of(cls, part: Mask) -> Envelope:
        """The envelope of cells, not empty."""
        y, x = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
        rows, columns = part[y], part[:, x]
        height, width = part.shape
        right, bottom = width - rows[:, ::-1].argmax(1), height - columns[::-1].argmax(0)
        return cls(y + 0.5, rows.argmax(1), right, x + 0.5, columns.argmax(0), bottom)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The box around the evidence; what sticks out of a long straight edge is not part of it."""
        return _edge(self.left, -1), _edge(self.top, -1), _edge(self.right, 1), _edge(self.bottom, 1)


def fit_outline(part: Mask) -> Outline:
    """The tightest outline around cells."""
    edge = Envelope.of(part)
    left, right = _side(edge.y, edge.left, 1), _side(edge.y, edge.right, -1)
    left, right = _mirrored(left, right, edge.y, edge.left), _mirrored(right, left, edge.y, edge.right)
    outline = Outline(edge.box, tuple(side for side in (left, right) if side is not None))
    apex = _apex(left, right)
    return outline if apex is None else _with_radii(outline, apex, part)


def _side(y: np.ndarray, x: np.ndarray, sign: int) -> Side | None:
    """The slanted line that most of the points touch and (nearly) none lies beyond; none if too few touch it."""
    first, second = np.triu_indices(len(y), 1)
    step = max(1, len(first) // PAIRS) | 1
    first, second = first[::step], second[::step]
    long = y[second] - y[first] >= max(4.0, 0.12 * len(y))
    first, second = first[long], second[long]
    slope = (x[second] - x[first]) / (y[second] - y[first])
    fits = (np.abs(slope) >= SLANT) & (np.abs(slope) <= STEEPEST)
    if not fits.any():
        return None
    slope, start = slope[fits], (x[first] - slope * y[first])[fits]
    gap = sign * (x - start[:, None] - slope[:, None] * y) / np.hypot(1, slope)[:, None]
    score = (np.abs(gap) <= NEAR).sum(1) - TURN * (gap < -NEAR).sum(1)
    best = int(score.argmax())
    touching = np.abs(gap[best]) <= NEAR
    if score[best] < max(FEWEST, LEAST_SUPPORT * len(y)):
        return None
    slope, start = np.polyfit(y[touching], x[touching], 1)
    if abs(slope) < SLANT:
        return None
    visible = (sign * (start + slope * y) > (sign * x).min() - NEAR).mean()
    return Side(float(start), float(slope), sign, float(touching.mean()), float(visible))


def _mirrored(side: Side | None, other: Side | None, y: np.ndarray, x: np.ndarray) -> Side | None:
    """A side that little supports gives way to the mirror image of a good one where that leaves more to the image."""
    if other is None or other.hold < SURE or (side is not None and side.hold > _needed(side, other)):
        return side
    slope = -other.slope
    start = -other.sign * (-other.sign * (x - slope * y)).min()
    loose = Side(float(start), slope, -other.sign)
    middle = float(y.mean())
    return loose if side is None or loose.sign * (side.at(middle) - loose.at(middle)) > 0 else side


def _needed(side: Side, other: Side) -> float:
    """The hold that a side needs beside another one: none if they lean alike, most if not and it is not by steering."""
    apart = abs(side.lean - other.lean)
    if apart < CROOKED[0]:
        return 0.0
    return SURE if apart < CROOKED[1] else UNSURE


def _apex(left: Side | None, right: Side | None) -> tuple[float, float] | None:
    if left is None or right is None:
        return None
    opening = right.slope - left.slope
    if abs(opening) < SLANT:
        return None
    y = (left.start - right.start) / opening
    return float(left.at(y)), float(y)


def _with_radii(outline: Outline, apex: tuple[float, float], part: Mask) -> Outline:
    """The outline with an apex, and the arcs around it that the evidence supports."""
    far, near = _radii(part, apex)
    return replace(outline, apex=apex, far=_arc(far, 1), near=max(0.0, _arc(near, -1)))


def commonest_radius(part: Mask, apex: tuple[float, float]) -> float:
    """The radius around an apex that most of the outermost cells touch, however many lie beyond."""
    far, _ = _radii(part, apex)
    values = np.unique(np.round(far))
    return float(values[(np.abs(far - values[:, None]) <= NEAR).sum(1).argmax()])


def _radii(part: Mask, apex: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The largest and the smallest distance from an apex at each angle at which there are cells."""
    rows, columns = np.nonzero(part)
    y, x = rows + 0.5 - apex[1], columns + 0.5 - apex[0]
    radius, angle = np.hypot(x, y), np.arctan2(x, np.abs(y))
    bins = np.round(angle * radius.max()).astype(int)
    bins -= bins.min()
    far, near = np.zeros(bins.max() + 1), np.full(bins.max() + 1, np.inf)
    np.maximum.at(far, bins, radius)
    np.minimum.at(near, bins, radius)
    return far[far > 0], near[np.isfinite(near)]


def _edge(at: np.ndarray, sign: int) -> float:
    """The row or column that most of the outermost cells touch; the extreme one if too few do or many lie beyond."""
    edge = float(np.median(at[_touching(at, sign)]))
    beyond = (ndimage.grey_opening(sign * at, TICK) - sign * edge > NEAR).mean()
    return edge if beyond < STICKING_OUT else float(sign * (sign * at).max())


def _arc(radii: np.ndarray, sign: int) -> float:
    """The radius that most of the outermost (`sign` 1) or innermost cells touch; the extreme one if too few do."""
    return float(np.median(radii[_touching(radii, sign)]) + 0.7 * sign)


def _touching(at: np.ndarray, sign: int) -> Mask:
    """Which of `at` lie at the bound that most of them touch and (nearly) none lies beyond: bool of the same length."""
    values = np.unique(np.round(at))
    gap = sign * (at[None, :] - values[:, None])
    score = (np.abs(gap) <= NEAR).sum(1) - TURN * (gap > NEAR).sum(1)
    best = int(score.argmax())
    if score[best] < max(FEWEST, LEAST_SUPPORT * len(at)):
        return at == sign * (sign * at).max()
    return np.abs(gap[best]) <= NEAR
