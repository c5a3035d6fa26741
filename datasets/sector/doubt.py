"""Room for what evidence does not settle.

What is cut from an image is lost, and black ground beside it harms nobody. A side that evidence touches over little of
its length (a shadow lies along it, a zoom has left a corner of the sector) may lie further out, and is moved there as
far as nothing is written. Sectors are even: sides that were found apart and lean alike are not in doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from echoviewclip.datasets.sector.cells import grow
from echoviewclip.datasets.sector.geometry import CROOKED, Outline, Side
from echoviewclip.datasets.sector.parts import TOUCH, Part

Mask = np.ndarray
LEFT, RIGHT = 0, 2  # of a box
RIM = 1.0  # cells from a bound that are along it
TOUCHED = 0.75  # share of its visible length: a bound that evidence touches so far is where it is
STEPS = 12
HARDLY = 0.35  # share of an edge: where evidence touches less, it ends in the dark and a corner may lie beyond
ROOM_OF_MIRRORED, ROOM_OF_CROOKED, ROOM_OF_CORNER = 0.025, 0.05, 0.2  # shares of the area


def with_room(part: Part, taken: Mask) -> Part:
    """The part with its doubtful edges and sides moved out, over no cells that are `taken`."""
    if not part.is_sector:
        return part
    touched = grow(part.cells, TOUCH)
    for edge in (LEFT, RIGHT):
        part = _moved_out(part, _edges_outwards(part, edge), _room_of_edge(part, edge, touched), taken)
    for number in range(2):
        part = _moved_out(part, _sides_outwards(part.outline, number), _room_of_side(part, number, touched), taken)
    return part


def _moved_out(part: Part, wider: Iterator[Outline], room: float, taken: Mask) -> Part:
    """The part with the widest of outlines that `room`, a share of its area, and what is `taken` allow."""
    best, before = part, 0
    for outline in wider if room else ():
        area = outline.paint(part.area.shape)
        added = area & ~part.area
        if not before < added.sum() <= room * part.area.sum() or (added & taken).any():
            break
        best, before = replace(part, outline=outline, area=area), added.sum()
    return best


def _room_of_edge(part: Part, edge: int, touched: Mask) -> float:
    """The share of the area that moving a left or right edge out may add."""
    x = np.arange(part.area.shape[1]) + 0.5
    share = _share(part.area & (np.abs(x - part.outline.box[edge]) <= RIM), touched)
    if share > TOUCHED or _is_steered(part.outline):
        return 0.0
    return ROOM_OF_CROOKED if share > HARDLY else ROOM_OF_CORNER


def _edges_outwards(part: Part, edge: int) -> Iterator[Outline]:
    """Outlines with the left or right edge further out, up to where the other one is on its side of the apex."""
    assert part.outline.apex is not None
    left, top, right, bottom = box = part.outline.box
    mirrored = 2 * part.outline.apex[0] - box[LEFT + RIGHT - edge]
    for at in np.linspace(box[edge], mirrored, STEPS + 1)[1:].tolist():
        yield replace(part.outline, box=(at, top, right, bottom) if edge == LEFT else (left, top, at, bottom))


def _sides_outwards(outline: Outline, number: int) -> Iterator[Outline]:
    """Outlines with one side further and further out."""
    side = outline.sides[number]
    for distance in range(1, 2 * STEPS):
        moved = replace(side, start=side.start - side.sign * distance * float(np.hypot(1, side.slope)))
        yield replace(outline, sides=tuple(moved if k == number else kept for k, kept in enumerate(outline.sides)))


def _room_of_side(part: Part, number: int, touched: Mask) -> float:
    """The share of the area that moving a side out may add."""
    side, other = part.outline.sides[number], part.outline.sides[1 - number]
    if side.support == 0:
        return ROOM_OF_MIRRORED
    if abs(side.lean - other.lean) < CROOKED[0] or _is_steered(part.outline):
        return 0.0
    shares = [_share(part.area & _along(one, part.area.shape), touched) for one in (side, other)]
    return ROOM_OF_CROOKED if shares[0] < min(TOUCHED, shares[1]) else 0.0


def _is_steered(outline: Outline) -> bool:
    return abs(outline.sides[0].lean - outline.sides[1].lean) > CROOKED[1]


def _along(side: Side, shape: tuple[int, int]) -> Mask:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.abs(x + 0.5 - side.at(y + 0.5)) <= RIM * np.hypot(1, side.slope)


def _share(rim: Mask, touched: Mask) -> float:
    return float((rim & touched).sum() / max(1, rim.sum()))
