"""The parts of an image: evidence that hangs together, each with the outline that fits it best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from echoviewclip.datasets.sector.bounds import settled
from echoviewclip.datasets.sector.cells import close, grow, shrink, thick_parts
from echoviewclip.datasets.sector.geometry import CROOKED, Envelope, Outline, commonest_radius, fit_outline

Mask = np.ndarray
GAP, THICKNESS = 2, 4  # cells: narrower gaps are bridged; thinner things are writing, traces, scales
LEAST_PART = 0.01  # share of the picture
LEAST_PIECE, PIECES = 0.0007, 12  # smaller things that may be pieces of a part, and how many are tried
LEAST_HEIGHT = 0.12  # of the picture's, that a sector has
HELD = 0.95  # share of a part that a larger outline holds
EXTENSION = 0.02  # of a part's area: less is not looked into
NEAR_STRIP = 0.15  # of a strip's height, between the strip and a piece of it
WIDE = 0.7  # of a strip's width: its border may be as ragged
SLIM = 0.08  # share of the picture's short side: narrower things are no part of an image
BAR = 6  # times as wide as high
LEAST_OPENING = 0.3  # columns a row, between the sides of a sector: 17 degrees
TOUCH = 2  # cells between an outline and evidence that touches it
LEAST_FIT, GOOD_FIT, SURE_FIT, WELL_FIT, BETTER = 0.6, 0.7, 0.75, 0.85, 0.1
BOX_FIT = 0.9  # of a box that is a part of its own
EMPTIER = 0.97  # share of an outline that pieces fill where it is better to have pieces


@dataclass(frozen=True)
class Part:
    """Cells that hang together, and their outline; `fit` is the share of the outline that they touch, in [0, 1]."""

    cells: Mask
    outline: Outline
    area: Mask  # the cells of the outline
    fit: float

    @classmethod
    def of(cls, cells: Mask, cut_from: Mask | None = None) -> Part:
        """The part with the outline that fits these cells; where they have been cut from others is no touch."""
        outline = fit_outline(cells)
        area = outline.paint(cells.shape)
        rim = area & ~shrink(area, 1, border=False)
        touched = rim & grow(cells, TOUCH)
        if cut_from is not None:
            touched &= ~grow(cut_from & ~cells, TOUCH)
        inside = (cells & area).sum() / cells.sum()
        return cls(cells, outline, area, float(inside * touched.sum() / max(1, rim.sum())))

    def settled(self, light: Mask, cell: int) -> Part:
        """The part with its bounds placed to the pixel (`bounds.settled`)."""
        outline = settled(self.outline, light, cell)
        return replace(self, outline=outline, area=outline.paint(self.cells.shape))

    @property
    def fits(self) -> bool:
        """Whether the outline says more of the image than its convex hull; a sector is told by less than a box."""
        return self.fit >= (LEAST_FIT if self.is_sector else GOOD_FIT)

    @property
    def is_slim(self) -> bool:
        """Whether it is a panel of a menu or a colour bar."""
        left, top, right, bottom = self.outline.box
        return min(right - left, bottom - top) < SLIM * min(self.cells.shape)

    def towards_apex(self) -> Mask:
        """The cells between the apex of a sector and the sector."""
        assert self.outline.apex is not None
        left, top, right, bottom = self.outline.box
        above = self.outline.apex[1] < (top + bottom) / 2
        box = (left, -np.inf, right, bottom) if above else (left, top, right, np.inf)
        return replace(self.outline, near=0.0, box=box).paint(self.cells.shape, margin=TOUCH)

    def within_arc(self) -> Mask:
        """The cells of a sector up to the arc that most of its outermost cells touch, whatever lies beyond."""
        assert self.outline.apex is not None
        far = commonest_radius(self.cells, self.outline.apex)
        return self.cells & replace(self.outline, far=far + TOUCH, box=(-np.inf, -np.inf, np.inf, np.inf)).paint(
            self.cells.shape, margin=TOUCH
        )

    def opened(self) -> Outline:
        """The outline of a sector up to its sides, whatever bounds it to the left and right before."""
        return replace(self.outline, box=(-np.inf, self.outline.box[1], np.inf, self.outline.box[3]))

    @property
    def is_sector(self) -> bool:
        """Whether its sides meet at a point: no menu and no logo looks like this."""
        if self.outline.apex is None or self.area.any(1).sum() < LEAST_HEIGHT * len(self.area):
            return False
        return abs(self.outline.sides[1].slope - self.outline.sides[0].slope) > LEAST_OPENING

    @property
    def is_even(self) -> bool:
        """Whether it is a sector whose sides were found apart and lean alike, which is no chance."""
        sides = self.outline.sides
        return self.is_sector and min(s.support for s in sides) > 0 and abs(sides[0].lean - sides[1].lean) < CROOKED[0]


def find_parts(cells: Mask) -> list[Part]:
    """The parts of an image in evidence, the largest first."""
    closed = ndimage.binary_fill_holes(close(cells, GAP))
    pieces = [Part.of(piece) for piece in list(thick_parts(closed, THICKNESS - 2, LEAST_PIECE))[:PIECES]]
    parts = _gathered(pieces)
    large = [
        piece
        for part in parts
        if part.cells.mean() >= LEAST_PART
        for piece in _divided(part, part.cells, gathered=not any(part is piece for piece in pieces))
    ]
    small = [part for part in parts if part.cells.mean() < LEAST_PART]
    parts = _merged(sorted(large, key=lambda part: -part.cells.sum()) + small)
    return [part for part in parts if part.cells.mean() >= LEAST_PART and not part.is_slim]


def extended(part: Part, faint: Mask) -> Part:
    """The part with the dark rest of its sector, where that shows and has a sector's outline as well."""
    if (faint & ~part.area).sum() < EXTENSION * part.area.sum():
        return part
    enough = max(LEAST_FIT, min(GOOD_FIT, part.fit), part.fit - BETTER / 2)
    for gap in (1, GAP):
        for cells in thick_parts(close(faint | part.cells, gap), THICKNESS, part.cells.mean()):
            if (cells & part.cells).sum() > 0.8 * part.cells.sum():
                whole = Part.of(ndimage.binary_fill_holes(cells))
                held = (part.cells & whole.area).sum() > HELD * (part.cells & part.area).sum()
                if whole.is_sector and held and whole.fit > enough and whole.area.sum() > part.area.sum():
                    return whole
                break
    return part


def _gathered(pieces: list[Part]) -> list[Part]:
    """Pieces that one outline holds, which fits as well as theirs did, as one part; before the others.

    Boxes that fit well, as logos and bars do, may be no pieces of it.
    """
    for held in (pieces, [piece for piece in pieces if piece.is_sector or piece.fit < BOX_FIT]):
        for _ in range(2):
            if len(held) < 2:
                break
            whole = Part.of(np.any([piece.cells for piece in held], axis=0))
            held = [piece for piece in held if (piece.cells & whole.area).sum() > 0.9 * piece.cells.sum()]
        if len(held) > 1 and _fit_together(held, whole):
            return [whole, *(piece for piece in pieces if not any(piece is one for one in held))]
    return pieces


def _fit_together(pieces: Sequence[Part], both: Part) -> bool:
    """Whether an outline fits as well as those of the pieces, without much that they leave free."""
    sizes = [piece.cells.sum() for piece in pieces]
    fit = np.average([piece.fit for piece in pieces], weights=sizes)
    room = (1.0 + 2 * (1 - fit)) * np.any([piece.area for piece in pieces], axis=0).sum()
    worse = 2 * BETTER if both.is_even else BETTER
    return both.fits and both.fit > fit - worse and both.area.sum() < min(room, 2 * sum(sizes))


def _divided(part: Part, origin: Mask, depth: int = 2, gathered: bool = False) -> list[Part]:
    """What hangs together by a bridge (writing, a trace), or a sector and a strip that touch, is several parts if that
    fits better, or as well with less around it."""
    best, score, area = [part], part.fit + BETTER, part.area.sum()
    for cut, may_be_tight in _cuts(part, gathered) if depth else ():
        pieces = [piece for cells in cut for piece in _divided(Part.of(cells, origin), origin, depth - 1, gathered)]
        sizes = [piece.cells.sum() for piece in pieces]
        if sum(sizes) <= 0.85 * part.cells.sum():
            continue
        fit = np.average([piece.fit for piece in pieces], weights=sizes)
        tight = may_be_tight and sum(piece.area.sum() for piece in pieces) < EMPTIER * area
        tight = tight and min(piece.fit for piece in pieces) > max(SURE_FIT, part.fit - BETTER)
        if fit > score or (tight and len(best) == 1):
            best, score = pieces, max(fit, score)
    return best


def _cuts(part: Part, gathered: bool) -> Iterator[tuple[list[Mask], bool]]:
    """Ways to take cells apart: below and above a strip, beside it; at what is thin if the outline does not fit well.

    And whether pieces that only leave less free may be better: not those of an outline that fits, as a shadow leaves.
    A sector that has been `gathered` hangs together by its outline alone, so nothing but what lies beyond is cut.
    """
    if part.is_sector and part.fit < WELL_FIT:
        inside = part.within_arc()
        yield [inside, *thick_parts(part.cells & ~inside, 2, LEAST_PART)], False
    if part.is_sector and gathered:
        return
    for turned in (False, True):
        yield _split(part.cells, turned), True
    if part.fit < WELL_FIT:
        for thickness in (2 * THICKNESS, 4 * THICKNESS):
            yield list(thick_parts(part.cells, thickness, LEAST_PART)), part.fit < GOOD_FIT


def _split(cells: Mask, turned: bool) -> list[Mask]:
    """Cells above, in and below the rows (`turned`: columns) that are as wide as the whole: a strip's."""
    cells = cells.T if turned else cells
    edge = Envelope.of(cells)
    left, _, right, _ = edge.box
    full = np.flatnonzero((edge.left <= left + TOUCH) & (edge.right >= right - TOUCH))
    if len(full) < 0.1 * len(edge.y) or len(full) < 0.4 * (full[-1] - full[0] + 1):
        return []
    wide = np.flatnonzero(edge.right - edge.left < WIDE * (right - left))
    first, last = int(edge.y[full[0]]), int(edge.y[full[-1]]) + 1
    above, below = edge.y[wide[wide < full[0]]], edge.y[wide[wide > full[-1]]]
    first = min(first, int(above[-1]) + 1) if len(above) else 0
    last = max(last, int(below[0])) if len(below) else len(cells)
    pieces = []
    for start, stop in ((0, first), (first, last), (last, len(cells))):
        piece = np.zeros_like(cells)
        piece[start:stop] = cells[start:stop]
        if piece.mean() >= LEAST_PART:
            pieces += [found.T if turned else found for found in thick_parts(piece, 2, LEAST_PART)]
    return pieces


def _merged(parts: list[Part]) -> list[Part]:
    """Parts that one outline fits as well are one: the near field above an echo-free band, and what lies below."""
    for number, part in enumerate(parts):
        if part.cells.mean() < LEAST_PART:
            break
        for other in parts[number + 1 :]:
            both = _joined(part, other)
            if both is not None:
                rest = [kept for kept in parts if kept is not part and kept is not other]
                return _merged(sorted([both, *rest], key=lambda part: -part.cells.sum()))
    return parts


def _joined(part: Part, other: Part) -> Part | None:
    """Two parts as one, if they are pieces of one outline, which holds them both and fits.

    What lies between the apex of a sector and the sector belongs to it; two boxes in line belong together; other
    outlines must fit as well as the pieces did and may not be mostly empty.
    """
    cells = other.cells
    if (grow(part.cells, 1) & cells).any():  # they have been divided
        return None
    if (cells & part.area).sum() > 0.95 * cells.sum():
        return replace(part, cells=part.cells | cells)
    if part.is_sector and (cells & part.opened().paint(cells.shape)).sum() > 0.95 * cells.sum():
        both = Part.of(part.cells | cells)
        if both.is_sector and both.fit > max(LEAST_FIT, part.fit - BETTER):
            return both
    between = part.is_sector and not _is_bar(other.outline.box)
    between = between and (cells & (towards := part.towards_apex())).sum() > 0.6 * cells.sum()
    both = Part.of(part.cells | (cells & towards if between else cells))
    held = min((piece & both.area).sum() / piece.sum() for piece in (part.cells, cells))
    if held < (0.6 if between else 0.9) or both.fit < LEAST_FIT:
        return None
    in_line = not both.is_sector and _in_line(part.outline.box, other.outline.box, other.cells.mean() < LEAST_PART)
    together = in_line or (between and both.is_sector) or _fit_together((part, other), both)
    return both if together else None


def _is_bar(box: tuple[float, ...]) -> bool:
    """Whether a box is a panel of a menu rather than a near field."""
    return box[2] - box[0] > BAR * (box[3] - box[1])


def _in_line(box: tuple[float, ...], other: tuple[float, ...], is_piece: bool) -> bool:
    """Whether two boxes have the same left and right, or the same top and bottom; a piece may be shorter, and near."""
    for first, last, low, high in ((0, 2, 1, 3), (1, 3, 0, 2)):
        if max(abs(box[first] - other[first]), abs(box[last] - other[last])) <= TOUCH:
            return True
        inside = other[first] >= box[first] - TOUCH and other[last] <= box[last] + TOUCH
        gap = max(other[low] - box[high], box[low] - other[high])
        if is_piece and inside and gap < NEAR_STRIP * (box[high] - box[low]):
            return True
    return False
