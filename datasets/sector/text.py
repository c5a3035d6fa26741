"""Writing in a picture: thin strokes on a flat ground. Letters of one height in rows, and long traces."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

STROKE = 85  # strokes are thinner than the short side divided by this
LIGHT = 128  # grey levels of a ground that has dark letters, at least
CONTRAST = 50  # grey levels between a stroke and its ground
LOWEST, TALLEST = 4, 0.06  # pixels and share of the picture's height: lower and taller things are no letters
BLOCK = 0.25  # of the height: rows of letters that touch are no higher
LEAST_LETTERS = 2
UNEVEN = 0.35  # of the mean height of letters: their spread
LONGEST_WORD = 8  # times its height, of letters that touch
TRACE_LENGTH, TRACE_HEIGHT = 0.12, 0.15  # of the picture: longer and lower than this is a trace
RIM = 2  # pixels around writing that belong to it
RIPPLE = 12  # grey levels that compression makes of a flat ground
HIGHER = 1.6  # times the median height of letters: no letter of theirs
FLAT_AROUND_WORDS, FLAT_AROUND_DARK, FLAT_AROUND_TRACES, FLAT_AROUND_LETTERS = (
    0.7,
    0.9,
    0.85,
    0.5,
)  # share of the ground that is flat
EIGHT = np.ones((3, 3))  # neighbours

Mask = np.ndarray
Box = tuple[slice, slice]


@dataclass(frozen=True)
class Strokes:
    """Thin, bright things in a picture uint8 [H, W]: where, and the connected ones by number (from 1), box and size.

    Their ground is no lighter than `lightest`; words have at least `least` letters, and a share `flat` of flat ground.
    """

    picture: np.ndarray
    mask: Mask
    labels: np.ndarray
    boxes: list[Box]
    sizes: np.ndarray  # [N, 2], rows and columns
    lightest: int = 255
    least: int = LEAST_LETTERS
    flat: float = FLAT_AROUND_WORDS

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

    @classmethod
    def dark_of(cls, picture: np.ndarray) -> Strokes:
        """Dark things on a light ground, in the negative of the picture; gaps between bright letters are none.

        They must look more like letters: bright tissue has dark gaps.
        """
        return replace(cls.of(255 - picture), lightest=255 - LIGHT, least=2 * LEAST_LETTERS, flat=FLAT_AROUND_DARK)

    def words(self) -> Mask:
        """Boxes around groups of letters of about one height, near each other, with nothing between them."""
        words, height = np.zeros_like(self.mask), len(self.mask)
        high, wide = self.sizes.T
        is_letter = (high >= LOWEST) & (high <= TALLEST * height) & (wide <= LONGEST_WORD * high)
        groups, boxes = _groups(np.append(False, is_letter)[self.labels], reach=max(3, round(height / 60)))
        letters: list[list[int]] = [[] for _ in boxes]
        for number in np.flatnonzero(is_letter):
            box = self.boxes[number]
            letters[groups[box][self.labels[box] == number + 1][0] - 1].append(number)
        for (rows, columns), numbers in zip(boxes, letters, strict=True):
            if len(numbers) < self.least or rows.stop - rows.start > BLOCK * height:
                continue
            heights = high[numbers]
            even = np.std(heights) <= UNEVEN * np.mean(heights)
            around = _widened((rows, columns), RIM)
            if even and columns.stop - columns.start >= 1.3 * np.mean(heights) and self._flat(around, self.flat):
                words[_widened(self._box_of(numbers), RIM)] = True
        return words

    def _box_of(self, numbers: list[int]) -> Box:
        """The box around a group of letters; speckle that is near them is higher, or has no flat ground."""
        tallest = HIGHER * np.median(self.sizes[numbers, 0])
        fit = [
            self.sizes[n, 0] <= tallest and self._flat(_widened(self.boxes[n], RIM), FLAT_AROUND_LETTERS)
            for n in numbers
        ]
        boxes = [self.boxes[n] for n, fits in zip(numbers, fit, strict=True) if fits or not any(fit)]
        rows, columns = (
            slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in (0, 1)
        )
        return rows, columns

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
        if len(ground) < 0.1 * strokes.size or (usual := np.median(ground)) > self.lightest:
            return False
        return bool((np.abs(ground - usual) <= RIPPLE).mean() > share)


def _groups(letters: Mask, reach: int) -> tuple[np.ndarray, list[Box]]:
    """Letters with gaps of up to twice `reach` between them in a row, numbered from 1, and their boxes."""
    near = np.pad(letters, ((0, 0), (reach, reach))).view(np.uint8)
    near = ndimage.minimum_filter1d(ndimage.maximum_filter1d(near, 2 * reach + 1, 1), 2 * reach + 1, 1)
    groups, _ = ndimage.label(near[:, reach:-reach], EIGHT)
    return groups, ndimage.find_objects(groups)


def _widened(box: Box, margin: int) -> Box:
    rows, columns = (slice(max(0, part.start - margin), part.stop + margin) for part in box)
    return rows, columns
