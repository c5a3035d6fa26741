"""Frames that are not compressed: how one lies in the file, and how many there are.

Photometric Interpretation and Number of Frames are often left over from before a file was decompressed or cut; the
length of Pixel Data is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from echoviewclip.datasets.video.dicom.colour import gray_share
from echoviewclip.datasets.video.dicom.header import COLOURS, GRAYS, PixelHeader
from echoviewclip.datasets.video.dicom.pixel_data import Picture, PixelData
from echoviewclip.datasets.video.reasons import Unreadable

MOSTLY = 0.5  # of the pixels of an ultrasound picture are grey, if its bytes are read aright …
CLEARLY = 0.25  # … and so much fewer if they are not
UNFITTING = "the length of its pixel data fits no number of frames of the size and coding that it states"
PADDING = 1 / 16  # of a frame: zeros that may follow the last one


@dataclass(frozen=True)
class Form:
    """One way in which the values of a frame may lie.

    Attributes:
        meaning: RGB, YBR_FULL, YBR_PARTIAL or one of GRAYS.
        samples: values a pixel; 2 where two pixels share their colour (4:2:2).
        planar: whether each colour is a plane.
        bits: of a value as it lies, 8, 16 or 32.
    """

    meaning: str
    samples: int
    planar: bool
    bits: int

    def size(self, header: PixelHeader) -> int:
        """Bytes of a frame."""
        return header.height * header.width * self.samples * self.bits // 8

    def picture(self, frame: bytes, header: PixelHeader, big: bool) -> Picture:
        """The values of a frame's bytes; `big`: words are big-endian."""
        raw = np.frombuffer(frame, f"{'>' if big else '<'}u{self.bits // 8}").astype(f"u{self.bits // 8}")
        is_narrower = self.bits < header.allocated
        values = raw if is_narrower else header.values(raw)
        height, width = header.height, header.width
        if self.samples == 1:
            values = values.reshape(height, width)
        elif self.samples == 2:
            values = _unshare(values, height, width, self.planar)
        elif self.planar:
            values = np.ascontiguousarray(values.reshape(3, height, width).transpose(1, 2, 0))
        else:
            values = values.reshape(height, width, 3)
        return Picture(values, self.meaning, min(header.stored, self.bits))


def _unshare(values: np.ndarray, height: int, width: int, planar: bool) -> np.ndarray:
    """4:2:2, in fours of Y Y Cb Cr or as planes of Y, Cb and Cr → [H, W, 3] (PS3.3 C.7.6.3.1.2)."""
    if planar:
        y, cb, cr = np.split(values, [height * width, height * width * 3 // 2])
    else:
        fours = values.reshape(-1, 4)
        y, cb, cr = fours[:, :2], fours[:, 2], fours[:, 3]
    colours = (part.reshape(height, width // 2).repeat(2, 1) for part in (cb, cr))
    return np.stack([y.reshape(height, width), *colours], -1)


def possible_forms(header: PixelHeader) -> list[Form]:
    """How frames may lie, in the order of trust; the first is what the header says."""
    label, bits, planar = header.meaning, header.allocated, header.planar
    if label in GRAYS or (label not in COLOURS and header.samples == 1):
        gray, rgb = Form(label, 1, False, bits), Form("RGB", 3, planar, bits)
        narrow = [Form(label, 1, False, 8)] if bits == 16 and header.stored <= 8 else []
        return [rgb, gray] if header.samples == 3 else [gray, *narrow]
    planes = [False, True] if planar else [False]
    space = "YBR_PARTIAL" if label == "YBR_PARTIAL_422" else "YBR_FULL"
    shared = [Form(space, 2, plane, bits) for plane in planes]
    if label.endswith("_422"):
        return [*shared, Form("RGB", 3, planar, bits)]
    grays = [Form("MONOCHROME2", 1, False, bits)] if header.samples == 1 else []
    return [Form("YBR_FULL" if label == "YBR_FULL" else "RGB", 3, planar, bits), *shared, *grays]


class NativeFrames:
    """Frames that lie in the file as they are.

    Attributes:
        count: how many there are, or should be where the file is cut short.
        warnings: what is not as the header says.
    """

    def __init__(self, file: BinaryIO, pixels: PixelData, header: PixelHeader, little: bool) -> None:
        self.file, self.pixels, self.header, self.big = file, pixels, header, not little
        self.swapped = self.big and pixels.words and header.allocated == 8  # words that hold two values each
        self.warnings: list[str] = []
        stated = possible_forms(header)[0]
        self.form, self.count = self._choose(stated)
        if (self.form.samples, self.form.bits) != (stated.samples, stated.bits):
            size = self.form.samples * self.form.bits // 8
            self.warnings.append(f"the pixel data has {size} bytes a pixel, other than the header says")

    @property
    def shares_colours(self) -> bool:
        """Whether two pixels share their colour."""
        return self.form.samples == 2

    def picture(self, number: int) -> Picture:
        """The values of a frame; raises Unreadable where it is not all there."""
        return self._picture(number, self.form)

    def _picture(self, number: int, form: Form) -> Picture:
        size = form.size(self.header)
        at = number * size
        if self.swapped:  # the frame may begin or end within a word
            words = self._read(at // 2 * 2, (size + at % 2 + 1) // 2 * 2)
            words = np.frombuffer(words, "u2").byteswap().tobytes()
            return form.picture(words[at % 2 :][:size], self.header, self.big)
        return form.picture(self._read(at, size), self.header, self.big)

    def _read(self, at: int, size: int) -> bytes:
        self.file.seek(self.pixels.start + at)
        found = self.file.read(size)
        if len(found) < size:
            raise Unreadable("it is cut short")
        return found

    def _choose(self, stated: Form) -> tuple[Form, int]:
        """The form of the frames, and their number."""
        header, fitting = self.header, self._fitting()
        if not fitting:
            return stated, self._count_unfitting(stated)
        is_ambiguous = stated.samples == 2 and header.planar  # not allowed: planes, or not
        if fitting[0] == (stated, header.frames) and not is_ambiguous:
            return fitting[0]
        if len(fitting) > 1 and all(form.samples > 1 for form, _ in fitting):
            shares = [self._gray_share(form) for form, _ in fitting]
            *_, second, best = sorted(range(len(shares)), key=shares.__getitem__)
            if shares[best] >= max(MOSTLY, shares[second] + CLEARLY):
                return fitting[best]
        fitting = [fit for fit in fitting if self._is_plausible(*fit, stated)]
        if not fitting:
            raise Unreadable(UNFITTING)
        return min(fitting, key=lambda fit: fit[1] != (header.frames or fit[1]))

    def _is_plausible(self, form: Form, count: int, stated: Form) -> bool:
        """Whether a form that nothing else speaks for may be: the stated one, or one that the number of frames bears
        out; where the header says three values a pixel, two must show that they are colours."""
        if form.samples == stated.samples and form.bits == stated.bits:
            return True
        if form.samples == 2 and self.header.samples == 3 and self._gray_share(form) < MOSTLY:
            return False
        return count == (self.header.frames or count)

    def _fitting(self) -> list[tuple[Form, int]]:
        """Forms of which the data is a whole number of frames, padded to an even length, and that number."""
        length, found = self.pixels.length or 0, []
        for form in possible_forms(self.header):
            if form.samples == 2 and self.header.width % 2:  # not allowed (Columns, 0028,0011)
                continue
            count, rest = divmod(length, form.size(self.header))
            if count and (rest == 0 or (rest == 1 and length % 2 == 0)):
                found.append((form, count))
        return found

    def _gray_share(self, form: Form) -> float:
        try:
            picture = self._picture(0, form)
        except Unreadable:
            return 0.0
        return gray_share(picture.values, picture.meaning, picture.bits)

    def _count_unfitting(self, form: Form) -> int:
        """The number of frames where the data is no whole number of them: the file is cut short, or padded."""
        size, declared, length = form.size(self.header), self.header.frames, self.pixels.length or 0
        count = length // size
        if length > self.pixels.available:
            return declared or max(count, 1)
        rest = length - count * size
        if count < (declared or 1) or rest > PADDING * size or any(self._read(count * size, rest)):
            raise Unreadable(UNFITTING)
        self.warnings.append("zeros follow the last frame")
        return count
