"""Where the ultrasound image lies in a picture: from the machine's own regions, or from motion and shape.

Speckle moves and menus do not, and every part of an ultrasound image (sector, box, spectral strip) is nearly convex.
That is all that is assumed: no black row, no centre, no known machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from datasets.regions import Region

GRID = 128  # cells along the short side, the unit of the lengths below
LEAST_CHANGE = 4.0  # grey levels over time, mean of a cell; compression makes still text tremble by less
LEAST_LIGHT, LEAST_TEXTURE = 8.0, 4.0  # grey levels: a still part of an image is lit and, unlike a menu, never flat
THICKNESS = 6  # radius in cells: what is thinner than twice this is text or a trace, not an image
LEAST_PART = 0.03  # share of the picture that a part of the image (inset, strip) has at least
LEAST_CONVEXITY = 0.65  # share of its convex hull that a still part fills; blocks of text fill less
STILL_TRUST = 0.5  # where nothing can move, text that touches the image cannot be told from it
MOSTLY_IMAGE = 0.6  # confidence from which a mask is to be used

Picture = np.ndarray


def image_mask(frames: np.ndarray, regions: Sequence[Region] = ()) -> tuple[Picture, float]:
    """Where uint8 frames [T, H, W, 3] show ultrasound: bool [H, W], and how sure that is, in [0, 1].

    `regions` must fit the picture (`datasets.regions.fitting_regions`). Their boxes say what is an image; in the
    corners of a sector's box machines still write text, so there motion and shape have a say as well. Below
    MOSTLY_IMAGE the mask should not be used.
    """
    shape, confidence = moving_parts(frames)
    boxes = [region for region in regions if region.is_image]
    if not boxes:
        return shape, confidence
    mask = np.zeros(frames.shape[1:3], bool)
    for box in boxes:
        inside = np.s_[box.top : box.bottom, box.left : box.right]
        sure = confidence >= MOSTLY_IMAGE and box.spatial_format == "2d" and shape[inside].mean() > 0.3
        mask[inside] |= shape[inside] if sure else True
    return mask, 1.0


def moving_parts(frames: np.ndarray) -> tuple[Picture, float]:
    """The convex parts of a picture that move, or that are still but have the grain of ultrasound. See `image_mask`."""
    luma = frames.max(axis=-1)  # colour Doppler is bright in one channel only
    change, usual = _change(luma), luma[len(luma) // 2]
    cell = max(1, round(min(usual.shape) / GRID))
    moves = _cell_means(change, cell)
    moves = moves > max(LEAST_CHANGE, 0.1 * np.percentile(moves, 95))
    light = _cell_means(usual, cell)
    grain = (light > LEAST_LIGHT) & (ndimage.generic_gradient_magnitude(light, ndimage.sobel) > LEAST_TEXTURE)

    mask = np.zeros_like(moves)
    filled = 0
    for evidence, bridge, convexity in ((moves, 4, 0.0), (grain, 2, LEAST_CONVEXITY)):
        for part in _thick_parts(evidence, bridge):
            hull = _hull(part)
            if part.sum() >= convexity * hull.sum():
                filled += (part & ~mask).sum()
                mask |= hull
    confidence = _confidence(moves | grain, mask, filled)
    if len(frames) < 3:
        confidence *= STILL_TRUST
    mask = ndimage.binary_dilation(mask, _disk(1))
    full = np.repeat(np.repeat(mask, cell, 0), cell, 1)
    height, width = usual.shape
    return np.pad(full, ((0, cell), (0, cell)), mode="edge")[:height, :width], confidence


def _thick_parts(evidence: np.ndarray, bridge: int) -> Iterator[np.ndarray]:
    """The connected parts of a bool picture that are thick and large, with gaps up to 2·`bridge` and holes filled."""
    closed = ndimage.binary_closing(np.pad(evidence, bridge), _disk(bridge))[bridge:-bridge, bridge:-bridge]
    closed = ndimage.binary_fill_holes(closed)
    thick = ndimage.binary_opening(closed, _disk(THICKNESS))
    thick = ndimage.binary_dilation(thick, iterations=THICKNESS, mask=closed)  # gives pointed ends back
    parts, count = ndimage.label(thick)
    for part in range(1, count + 1):
        if (parts == part).mean() >= LEAST_PART:
            yield parts == part


def _change(luma: np.ndarray) -> np.ndarray:
    """How far [T, H, W] goes over time, one outlying frame on either side aside: float32 [H, W]."""
    if len(luma) < 5:
        return np.ptp(luma, axis=0).astype(np.float32)
    ordered = np.partition(luma, (1, len(luma) - 2), axis=0)
    return (ordered[-2] - ordered[1]).astype(np.float32)


def _cell_means(picture: np.ndarray, cell: int) -> np.ndarray:
    height, width = (size // cell * cell for size in picture.shape)
    return picture[:height, :width].reshape(height // cell, cell, width // cell, cell).mean((1, 3))


def _hull(part: np.ndarray) -> np.ndarray:
    """The convex hull of a bool picture; the part itself where it is a line."""
    points = np.argwhere(part ^ ndimage.binary_erosion(part))
    try:
        sides = ConvexHull(points).equations  # a·y + b·x + c ≤ 0 inside
    except (QhullError, ValueError):
        return part
    y, x = np.ogrid[: part.shape[0], : part.shape[1]]
    inside = np.ones_like(part)
    for a, b, c in sides:
        inside &= a * y + b * x + c <= 1e-6
    return inside


def _confidence(evidence: np.ndarray, mask: np.ndarray, filled: int) -> float:
    """Share of all evidence that the mask holds, times the share of the mask that evidence fills."""
    if not mask.any():
        return 0.0
    return float(evidence[mask].sum() / evidence.sum() * min(1.0, filled / mask.sum()))


def _disk(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return y * y + x * x <= radius * radius
