"""Writing in a picture: thin, bright strokes on a flat ground. Letters of one height in rows, and long traces."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

STROKE = 85  # strokes are thinner than the short side divided by this
CONTRAST = 50  # grey levels between a stroke and its ground
TALLEST = 0.06  # of the picture's height: taller things are no letters
BLOCK = 0.25  # of the height: rows of letters that touch are no higher
LEAST_LETTERS = 2
LONGEST_WORD = 8  # times its height, of letters that touch
TRACE_LENGTH, TRACE_HEIGHT = 0.12, 0.15  # of the picture: longer and lower than this is a trace
RIM = 2  # pixels around words that are theirs
RIPPLE = 12  # grey levels that compression makes of a flat ground
EIGHT = np.ones((3, 3))  # neighbours

Mask = np.ndarray
Box = tuple[slice, slice]


def find_writing(usual: np.ndarray) -> Mask:
    """Where words and traces stand in uint8 [H, W]: bool [H, W], boxes around words."""
    strokes = _strokes(usual)
    labels, _ = ndimage.label(strokes, EIGHT)
    boxes = ndimage.find_objects(labels)
    sizes = np.array([(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in boxes]).reshape(-1, 2)
    writing = np.zeros_like(strokes)
    _add_words(writing, usual, strokes, labels, boxes, sizes)
    _add_traces(writing, usual, strokes, labels, boxes, sizes)
    return writing


def _strokes(usual: np.ndarray) -> Mask:
    """Pixels that stand out of a ground that is dark or flat, thinner than STROKE allows."""
    side = max(3, round(min(usual.shape) / STROKE)) | 1
    ground = usual
    for axis in (0, 1):
        ground = ndimage.minimum_filter1d(ground, side, axis)
    for axis in (0, 1):
        ground = ndimage.maximum_filter1d(ground, side, axis)
    return usual > ground.astype(np.int16) + CONTRAST


def _add_words(
    writing: Mask, usual: np.ndarray, strokes: Mask, labels: np.ndarray, boxes: list[Box], sizes: np.ndarray
) -> None:
    """Groups of letters of about one height, near each other, with nothing between them."""
    height = usual.shape[0]
    is_letter = (sizes[:, 0] >= 4) & (sizes[:, 0] <= TALLEST * height) & (sizes[:, 1] <= LONGEST_WORD * sizes[:, 0])
    letters = np.append(False, is_letter)[labels]
    reach = max(3, round(height / 60))
    near = ndimage.maximum_filter1d(np.pad(letters, ((0, 0), (reach, reach))).view(np.uint8), 2 * reach + 1, 1)
    near = ndimage.minimum_filter1d(near, 2 * reach + 1, 1)[:, reach:-reach]
    groups, count = ndimage.label(near, EIGHT)
    members: list[list[int]] = [[] for _ in range(count + 1)]
    for number in np.flatnonzero(is_letter):
        box = boxes[number]
        owner = groups[box][labels[box] == number + 1][0]
        members[owner].append(sizes[number, 0])
    for box, heights in zip(ndimage.find_objects(groups), members[1:], strict=True):
        if len(heights) < LEAST_LETTERS or box[0].stop - box[0].start > BLOCK * height:
            continue
        even = np.std(heights) <= 0.35 * np.mean(heights) and box[1].stop - box[1].start >= 1.3 * np.mean(heights)
        around = tuple(slice(max(0, part.start - RIM), part.stop + RIM) for part in box)
        if even and _on_flat_ground(usual[around], strokes[around], 0.7):
            writing[around] = True


def _add_traces(
    writing: Mask, usual: np.ndarray, strokes: Mask, labels: np.ndarray, boxes: list[Box], sizes: np.ndarray
) -> None:
    """Long, low lines, as of an electrocardiogram."""
    height, width = usual.shape
    long = (sizes[:, 1] >= TRACE_LENGTH * width) & (sizes[:, 0] <= TRACE_HEIGHT * height)
    for number in np.flatnonzero(long):
        box = boxes[number]
        if _on_flat_ground(usual[box], strokes[box], 0.6):
            writing[box] |= ndimage.binary_dilation(labels[box] == number + 1, EIGHT, iterations=RIM)


def _on_flat_ground(pixels: np.ndarray, strokes: Mask, share: float) -> bool:
    """Whether there is as good as nothing between the strokes; speckle has grain there."""
    ground = pixels[~ndimage.binary_dilation(strokes, EIGHT)].astype(np.int16)
    return len(ground) >= 0.1 * strokes.size and (np.abs(ground - np.median(ground)) <= RIPPLE).mean() > share
