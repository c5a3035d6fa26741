"""Writing in a picture: thin, bright strokes on a flat ground. Letters of one height in rows, and long traces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

STROKE = 85  # strokes are thinner than the short side divided by this
CONTRAST = 50  # grey levels between a stroke and its ground
LOWEST, TALLEST = 4, 0.06  # pixels and share of the picture's height: lower and taller things are no letters
BLOCK = 0.25  # of the height: rows of letters that touch are no higher
LEAST_LETTERS = 2
UNEVEN = 0.35  # of the mean height of letters: their spread
LONGEST_WORD = 8  # times its height, of letters that touch
TRACE_LENGTH, TRACE_HEIGHT = 0.12, 0.15  # of the picture: longer and lower than this is a trace
RIM = 2  # pixels around writing that belong to it
RIPPLE = 12  # grey levels that compression makes of a flat ground
FLAT_AROUND_WORDS, FLAT_AROUND_TRACES = 0.7, 0.85  # share of the ground that is flat
EIGHT = np.ones((3, 3))  # neighbours

Mask = np.ndarray
Box = tuple[slice, slice]


@dataclass(frozen=True)
class Strokes:
    """Thin, bright things in a picture uint8 [H, W]: where, and the connected ones by number (from 1), box and size."""

    picture: np.ndarray
    mask: Mask
    labels: np.ndarray
    boxes: list[Box]
    sizes: np.ndarray  # [N, 2], rows and columns

    @classmethod
    def of(cls, picture: np.ndarray) -> Strokes:
        """What stands out of a ground that is dark or flat and is thinner than STROKE allows."""
        side = max(3, round(min(picture.shape) / STROKE)) | 1
        ground = picture
        for spread in (ndimage.minimum_filter1d, ndimage.maximum_filter1d):
            for axis in (0, 1):
                ground = spread(ground, side, axis)
        mask = picture > ground.astype(np.int16) + CONTRAST
        labels, _ = ndimage.label(mask, EIGHT)
        boxes = ndimage.find_objects(labels)
        sizes = np.array([[part.stop - part.start for part in box] for box in boxes], int).reshape(-1, 2)
        return cls(picture, mask, labels, boxes, sizes)

    def words(self) -> Mask:
        """Boxes around groups of letters of about one height, near each other, with nothing between them."""
        words, height = np.zeros_like(self.mask), len(self.mask)
        high, wide = self.sizes.T
        is_letter = (high >= LOWEST) & (high <= TALLEST * height) & (wide <= LONGEST_WORD * high)
        groups, boxes = _groups(np.append(False, is_letter)[self.labels], reach=max(3, round(height / 60)))
        letters: list[list[int]] = [[] for _ in boxes]
        for number in np.flatnonzero(is_letter):
            box = self.boxes[number]
            letters[groups[box][self.labels[box] == number + 1][0] - 1].append(high[number])
        for (rows, columns), heights in zip(boxes, letters, strict=True):
            if len(heights) < LEAST_LETTERS or rows.stop - rows.start > BLOCK * height:
                continue
            even = np.std(heights) <= UNEVEN * np.mean(heights)
            around = _widened((rows, columns), RIM)
            if (
                even
                and columns.stop - columns.start >= 1.3 * np.mean(heights)
                and self._flat(around, FLAT_AROUND_WORDS)
            ):
                words[around] = True
        return words

    def traces(self) -> Mask:
        """Long, low lines, as of an electrocardiogram, and a rim around them."""
        traces = np.zeros_like(self.mask)
        height, width = self.mask.shape
        long = (self.sizes[:, 1] >= TRACE_LENGTH * width) & (self.sizes[:, 0] <= TRACE_HEIGHT * height)
        for number in np.flatnonzero(long):
            around = _widened(self.boxes[number], 3 * RIM)
            if self._flat(around, FLAT_AROUND_TRACES):
                traces[around] |= ndimage.binary_dilation(self.labels[around] == number + 1, EIGHT, iterations=RIM)
        return traces

    def _flat(self, box: Box, share: float) -> bool:
        """Whether there is as good as nothing between the strokes of a box; speckle has grain there."""
        strokes = self.mask[box]
        ground = self.picture[box][~ndimage.binary_dilation(strokes, EIGHT)].astype(np.int16)
        return len(ground) >= 0.1 * strokes.size and (np.abs(ground - np.median(ground)) <= RIPPLE).mean() > share


def _groups(letters: Mask, reach: int) -> tuple[np.ndarray, list[Box]]:
    """Letters with gaps of up to twice `reach` between them in a row, numbered from 1, and their boxes."""
    near = np.pad(letters, ((0, 0), (reach, reach))).view(np.uint8)
    near = ndimage.minimum_filter1d(ndimage.maximum_filter1d(near, 2 * reach + 1, 1), 2 * reach + 1, 1)
    groups, _ = ndimage.label(near[:, reach:-reach], EIGHT)
    return groups, ndimage.find_objects(groups)


def _widened(box: Box, margin: int) -> Box:
    rows, columns = (slice(max(0, part.start - margin), part.stop + margin) for part in box)
    return rows, columns
