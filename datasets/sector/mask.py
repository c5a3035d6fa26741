"""Where the ultrasound image lies in a picture: evidence, outlines and the machine's region tags put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from echoviewclip.datasets.sector.cells import grow, hull
from echoviewclip.datasets.sector.doubt import with_room
from echoviewclip.datasets.sector.evidence import Evidence, gather
from echoviewclip.datasets.sector.parts import Part, extended, find_parts
from echoviewclip.datasets.video.regions import Region

Mask = np.ndarray
MOSTLY_IMAGE = 0.6  # confidence from which a mask is to be used
SMALLEST = 0.05  # share of the picture; an image that fills less is a corner of one, or a picture of something else
MARGIN = 1.0  # pixels around an outline
MOVING_SHARE = 0.3  # of a part's cells: less, and the part is still
LARGE = 0.06  # share of the picture that a still box beside another part has at least
SOLID = 0.95  # share of its hull that a part full of grain has
SOLID_TRUST, STILL_TRUST = 0.7, 0.5  # in the hull of a still part, and of one that may be a piece of a larger one
TORN = 8  # cells between two parts that may be pieces of one image
COMPLETE = 0.85  # fit of an outline that nothing is missing of
CONTACT, LENGTH = 4, 12  # cells between a still part and a moving one that it touches, and how many it touches
LEAST_INK, MOST_INK = 0.05, 0.85  # share of a word's or trace's ink in the mask: less is a corner; between, it is cut
TAG_TRUST = 0.7  # confidence in a tagged box that could not be refined
TAG_SLACK = 3  # cells that a tagged box may be too small
MOST_OF_STRIP = 0.6  # of a tagged strip's box: if the rest is dark the box is right

NOT_FOUND = "the ultrasound image was not found for sure; nothing was painted black, burned-in text may remain"
NOT_REFINED = "a region tag could not be refined by shape; burned-in text may remain in its box"
NOT_USED = "the region tags leave out much of what moves and were not used"
WRITING = "there seems to be writing inside the ultrasound image"


@dataclass(frozen=True)
class Finding:
    """Where an image is, bool [H, W], how sure that is, in [0, 1], and what a person should know about it."""

    mask: Mask
    confidence: float
    warnings: tuple[str, ...] = ()


def image_mask(frames: np.ndarray, regions: Sequence[Region] = ()) -> tuple[Mask, float]:
    """Where uint8 frames [T, H, W, 3] show ultrasound: bool [H, W], and how sure that is, in [0, 1].

    Below MOSTLY_IMAGE the mask should not be used. See `find_image`.
    """
    found = find_image(frames, regions)
    return found.mask, found.confidence


def find_image(frames: np.ndarray, regions: Sequence[Region] = ()) -> Finding:
    """Where uint8 frames [T, H, W, 3], moving or still, show ultrasound.

    `regions` must fit the picture (`datasets.video.regions.fitting_regions`). Their boxes say where to look for an
    image, and are refined by its shape. Parts that are dropped although they might be image lower the confidence.
    """
    evidence = gather(frames)
    tags = [region for region in regions if region.is_image]
    within = ~evidence.writing
    for region in regions:
        if not region.is_image:
            within &= ~_tagged_cells(region, evidence)
    if tags and not _leave_out(tags, evidence):
        found = _find_in_tags(tags, evidence, within)
    else:
        found = _find(evidence, within)
        if found.mask.mean() < SMALLEST:
            found = Finding(found.mask, 0.0)
        warnings = (NOT_USED,) * bool(tags) + (NOT_FOUND,) * (found.confidence < MOSTLY_IMAGE)
        found = Finding(found.mask, found.confidence, warnings)
    if found.confidence >= MOSTLY_IMAGE and not found.warnings and _shows_writing(found.mask, evidence):
        return Finding(found.mask, found.confidence, (WRITING,))
    return found


# ── Region tags ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _find_in_tags(tags: Sequence[Region], evidence: Evidence, within: Mask) -> Finding:
    """The image in tagged boxes; the whole boxes, with a warning, where it has no shape that is certain."""
    mask, confidence = np.zeros(evidence.shape, bool), 1.0
    warnings: tuple[str, ...] = ()
    for group in _overlapping(tags):
        cells = np.any([_tagged_cells(tag, evidence) for tag in group], axis=0)
        found = _find(evidence, grow(cells, TAG_SLACK) & within)
        boxes = [np.s_[tag.top : tag.bottom, tag.left : tag.right] for tag in group]
        if found.confidence < MOSTLY_IMAGE:
            warnings = (NOT_REFINED,)
        elif len(group) > 1 or group[0].spatial_format == "2d" or not _fills(found.mask[boxes[0]], cells, evidence):
            mask |= found.mask
            confidence = min(confidence, found.confidence)
            continue
        confidence = min(confidence, TAG_TRUST)
        for box in boxes:
            mask[box] = True
    return Finding(mask, confidence, warnings)


def _overlapping(tags: Sequence[Region]) -> list[list[Region]]:
    """The tags in groups whose boxes overlap."""
    groups: list[list[Region]] = []
    for tag in tags:
        near = [group for group in groups if any(_overlap(tag, other) for other in group)]
        groups = [group for group in groups if not any(group is one for one in near)]
        groups.append([tag, *(other for group in near for other in group)])
    return groups


def _overlap(one: Region, other: Region) -> bool:
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return min(width, height) > 1


def _tagged_cells(tag: Region, evidence: Evidence) -> Mask:
    """The cells of a tagged box."""
    cells, cell = np.zeros_like(evidence.moves), evidence.cell
    cells[tag.top // cell : -(-tag.bottom // cell), tag.left // cell : -(-tag.right // cell)] = True
    return cells


def _leave_out(tags: Sequence[Region], evidence: Evidence) -> bool:
    """Whether much of what moves lies outside the tagged boxes, as after a later program has changed the picture."""
    moves = evidence.moves & ~evidence.writing
    inside = grow(np.any([_tagged_cells(tag, evidence) for tag in tags], axis=0), TAG_SLACK)
    return not evidence.is_still and (moves & ~inside).sum() > 0.25 * moves.sum()


def _fills(found: Mask, cells: Mask, evidence: Evidence) -> bool:
    """Whether a strip fills its tagged box, as far as it shows, and nothing is written there."""
    return found.mean() > MOST_OF_STRIP and not (evidence.writing & cells).any()


# ── Evidence ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _find(evidence: Evidence, within: Mask) -> Finding:
    """The image among the cells `within`, and the confidence in it."""
    moves, grain = evidence.moves & within, evidence.grain & within
    parts = find_parts(grain) if evidence.is_still else _find_moving(moves, grain)
    kept = _images(parts, moves, evidence.is_still)
    mask = np.zeros(evidence.shape, bool)
    if not kept:
        return Finding(mask, 0.0)
    trust, most = [], 1.0
    for part in kept:
        others = np.any([np.zeros_like(within), *(other.area for other in kept if other is not part)], axis=0)
        whole = extended(part, evidence.faint & within & ~grow(others, 1))
        if whole.fits:
            whole = whole.settled(evidence.light, evidence.cell)
            mask |= with_room(whole, ~within | others).outline.paint(evidence.shape, evidence.cell, MARGIN)
            trust.append(min(1.0, whole.fit + 0.15))
        else:
            shape = hull(part.cells)
            mask |= _pixels(grow(shape, 1), evidence)
            solid = part.cells.sum() / shape.sum()
            is_torn = (grow(shape, TORN) & others & ~shape).any()
            trust.append(_trust_in_hull(part, solid, evidence.is_still or is_torn))
            most = trust[-1] if is_torn else most
    sizes = [part.cells.sum() for part in kept]
    found = np.average(trust, weights=sizes) * sum(sizes) / sum(part.cells.sum() for part in parts)
    return Finding(mask, float(min(most, found)))


def _trust_in_hull(part: Part, solid: float, doubtful: bool) -> float:
    """How far the hull of what has no outline is to be believed; if in doubt, only if it is large and full of grain."""
    if not doubtful:
        return solid
    return solid * (SOLID_TRUST if solid > SOLID and part.cells.mean() > LARGE else STILL_TRUST)


def _find_moving(moves: Mask, grain: Mask) -> list[Part]:
    """Parts of what moves and of grain; where they fit no outline together, what moves alone may."""
    parts = []
    for part in find_parts(moves | grain):
        alone = [] if part.fits else find_parts(moves & part.cells)
        parts += alone if alone and all(other.fits for other in alone) else [part]
    return parts


def _images(parts: Sequence[Part], moves: Mask, still: bool) -> list[Part]:
    """The parts that are image. What stands still beside what moves must be a sector, or touch it along some length."""
    if still:
        return [part for part in parts if part is parts[0] or _is_sector(part) or part.cells.mean() > LARGE]
    shares = [(moves & part.cells).sum() / part.cells.sum() for part in parts]
    moving = [part for part, share in zip(parts, shares, strict=True) if share > MOVING_SHARE]
    near = grow(np.any([part.cells for part in moving], axis=0), CONTACT) if moving else np.zeros_like(moves)
    rest = [part for part, share in zip(parts, shares, strict=True) if share <= MOVING_SHARE]
    rest = [part for part in rest if _is_sector(part) or (near & part.cells).sum() > CONTACT * LENGTH]
    if moving and min(part.fit for part in moving) > COMPLETE:  # what is torn off is no part of them
        rest = [part for part in rest if part.fits]
    return moving + rest


def _is_sector(part: Part) -> bool:
    return part.is_sector and part.fits


def _pixels(cells: Mask, evidence: Evidence) -> Mask:
    height, width = evidence.shape
    return np.repeat(np.repeat(cells, evidence.cell, 0), evidence.cell, 1)[:height, :width]


def _shows_writing(mask: Mask, evidence: Evidence) -> bool:
    """Whether words or traces stand in the mask across its border, or where there is no grain around them."""
    labels, _ = ndimage.label(evidence.writing)
    inside = mask[:: evidence.cell, :: evidence.cell]
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        pixels = tuple(slice(part.start * evidence.cell, part.stop * evidence.cell) for part in box)
        ink, kept = evidence.ink[pixels].sum(), (evidence.ink & mask)[pixels].sum()
        if kept < LEAST_INK * ink or not ink:
            continue
        around = tuple(slice(max(0, part.start - CONTACT), part.stop + CONTACT) for part in box)
        ring = inside[around] & (labels[around] != number)
        if kept < MOST_INK * ink or (evidence.grain[around] & ring).sum() < 0.3 * ring.sum():
            return True
    return False
