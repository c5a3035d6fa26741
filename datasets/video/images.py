"""Videos that are not video files: a folder of images, one image, an array."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps

from echoviewclip.datasets.video.base import MAX_PIXELS, Video, VideoError, may_be_opened
from echoviewclip.datasets.video.reasons import Unreadable, silence

silence("PIL")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "BMP", "TIFF")  # whatever the name says: Pillow has readers of many more, some little tried
TURNED = (5, 6, 7, 8)  # orientations (EXIF 2.3, tag 0x0112) whose rows are columns of what is stored


class StillVideo(Video):
    """One image: a video of one frame."""

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        self.path, self.length = path, 1
        self.source = source or path
        self.width, self.height = _image_size(self.source)

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        yield _read_image(self.source)


class FolderVideo(Video):
    """A folder of images, one a frame, in the order of the numbers in their names (`img_2.jpg` before `img_10.jpg`)."""

    def __init__(self, path: str, members: Sequence[tuple[str, Callable[[], BinaryIO]]] | None = None) -> None:
        """`members`: name and opener of each file, for folders that are not on disk."""
        on_disk = [(file.name, file) for file in Path(path).iterdir()] if members is None else []
        named: Sequence[tuple[str, Path | Callable[[], BinaryIO]]] = members or on_disk
        self.path = path
        self.files = [file for name, file in sorted(named, key=_numbers_first) if name.lower().endswith(SUFFIXES)]
        self.length = len(self.files)
        if not self.files:
            raise VideoError(path, "is a folder without images")
        self.width, self.height = _image_size(self._source(0))

    def _source(self, number: int) -> Path | BinaryIO:
        file = self.files[number]
        if callable(file):
            return file()
        if not may_be_opened(file):
            raise VideoError(self.path, f"its image {number} is a pipe, a socket or a device, not a file")
        return file

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        for number in wanted:
            yield _read_image(self._source(number))


class ArrayVideo(Video):
    """A `.npy` file: uint8 [T, H, W, 3], [T, 3, H, W], [T, H, W], or one frame [H, W, 3] or [H, W]."""

    def __init__(self, path: str, source: BinaryIO | None = None) -> None:
        self.path = path
        # Mapped, not read: only the frames asked for leave the disk.
        array = np.load(source, allow_pickle=False) if source else np.load(path, mmap_mode="r", allow_pickle=False)
        if array.dtype != np.uint8:
            raise VideoError(path, "is an array of another type than uint8; expected uint8 [T, H, W, 3]")
        if not 2 <= array.ndim <= 4:
            raise VideoError(path, f"is an array of {array.ndim} dimensions; expected uint8 [T, H, W, 3]")
        if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == 3):
            array = array[None]
        if array.ndim == 4 and array.shape[-1] != 3:
            array = array.transpose(0, 2, 3, 1)
        if array.ndim == 4 and array.shape[-1] != 3:
            raise VideoError(path, f"is an array {list(array.shape)}; expected 3 colours")
        self.array = array
        self.length, self.height, self.width = array.shape[:3]

    def decode(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        for number in wanted:
            frame = np.array(self.array[number])  # a copy that can be written to
            yield frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2)


def _numbers_first(member: tuple[str, object]) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", member[0])]


def _image_size(source: Path | str | BinaryIO) -> tuple[int, int]:
    """Width and height as `_read_image` returns them."""
    with Image.open(source, formats=FORMATS) as image:
        is_turned = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in TURNED
        return image.size[::-1] if is_turned else image.size


def _read_image(source: Path | str | BinaryIO) -> np.ndarray:
    """uint8 [H, W, 3], upright as its orientation says; the size is checked before memory is spent."""
    with Image.open(source, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Unreadable(f"an image of {image.width}×{image.height} pixels")
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I;16"):
            return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
        return np.array(image.convert("RGB"))
