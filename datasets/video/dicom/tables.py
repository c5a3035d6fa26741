"""Look-up tables: palettes (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, C.7.9) and those of grey values (C.11.1, C.11.2).

Files hold them in more ways than the standard allows. What the data are is decided by their length and their values,
of all colours of a palette together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydicom

from echoviewclip.datasets.video.dicom.colour import to_bytes
from echoviewclip.datasets.video.dicom.header import numbers
from echoviewclip.datasets.video.reasons import Unreadable

LONGEST = 1 << 16  # entries
ROUGH = 4  # how much more the values of a table jump if their bytes are swapped


@dataclass(frozen=True)
class Table:
    """Entries [N] or [N, 3] for the pixel values `first`, `first` + 1, …; `full` is the brightest an entry can be."""

    first: int
    entries: np.ndarray
    full: int

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """The entry of each value; values before the first and after the last have those."""
        return self.entries[np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)]


def read_palette(dataset: pydicom.Dataset, little: bool, signed: bool) -> Table:
    """The three colours of PALETTE COLOR, plain (0028,1201) or segmented (0028,1221); entries uint8 [N, 3]."""
    channels, first, depth = [], 0, 0
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        count, first, depth = _descriptor(dataset, f"{name}Descriptor", signed)
        if dataset.get(f"Segmented{name}Data"):
            raw = _raw(dataset, f"Segmented{name}Data", little)
            words = raw.view("<u2") if depth == 16 else raw
            entries = _expand(words.tolist(), count, depth // 8)
        else:
            entries = _plain(_raw(dataset, f"{name}Data", little), count, depth)
        channels.append(entries)
    if len({len(entries) for entries in channels}) > 1 or len({entries.dtype for entries in channels}) > 1:
        raise Unreadable("the colours of its palette have different lengths")
    entries, full = _scaled(np.stack(channels, -1), depth)
    return Table(first, to_bytes(entries, 0, full), 255)


def read_table(item: pydicom.Dataset, little: bool, signed: bool) -> Table:
    """The table of an item of a Modality or VOI LUT Sequence (0028,3002; 0028,3006); entries [N]."""
    count, first, depth = _descriptor(item, "LUTDescriptor", signed)
    return Table(first, *_scaled(_plain(_raw(item, "LUTData", little), count, depth), depth))


def _descriptor(dataset: pydicom.Dataset, keyword: str, signed: bool) -> tuple[int, int, int]:
    """Number of entries, first value mapped, bits of an entry."""
    values = numbers(dataset, keyword)
    if len(values) != 3 or not all(map(float.is_integer, values)) or not 0 < values[2] <= 16:
        raise Unreadable("the description of its look-up table is missing or not possible")
    count, first, depth = map(int, values)
    if signed and first >= 1 << 15:
        first -= 1 << 16
    return count % LONGEST or LONGEST, first, depth  # 0 stands for 65536, which the element cannot hold


def _raw(dataset: pydicom.Dataset, keyword: str, little: bool) -> np.ndarray:
    """The bytes of a table's data, words little-endian."""
    try:
        element = dataset[keyword]
        representation, value = element.VR, element.value
        if isinstance(value, bytes):
            raw = np.frombuffer(value[: len(value) // 2 * 2], np.uint8)
            return raw if little or "OW" not in representation else raw.view("<u2").byteswap().view(np.uint8)
        return np.atleast_1d(value).astype("<u2").view(np.uint8)
    except Exception as error:  # whatever pydicom makes of what is missing, or not of its kind
        raise Unreadable("the data of its look-up table is missing or damaged") from error


def _plain(raw: np.ndarray, count: int, depth: int) -> np.ndarray:
    """Entries as they lie: a byte each, or a word; their length says which (C.7.6.3.1.5, note 1)."""
    if len(raw) == 2 * count > 2 or (len(raw) >= 2 * count and depth > 8):
        return raw.view("<u2")[:count]
    if count <= len(raw) <= count + 1:
        return raw[:count]
    raise Unreadable("its look-up table has another length than it declares")


def _scaled(entries: np.ndarray, depth: int) -> tuple[np.ndarray, int]:
    """Entries in the order of bytes that makes sense, and the value that is full brightness."""
    if entries.dtype == np.uint8 or entries.max() <= 255 < 2**depth:
        return entries, 255
    if _jumps(entries) > ROUGH * _jumps(entries.byteswap()):
        return _scaled(entries.byteswap(), depth)
    full = 2**depth - 1
    return entries, full if entries.max() <= full else (1 << 16) - 1


def _jumps(entries: np.ndarray) -> float:
    """How much neighbouring entries differ, in units of the brightest."""
    return float(np.abs(np.diff(entries.astype(np.int64), axis=0)).sum() / max(1, entries.max()))


def _expand(data: Sequence[int], count: int, itemsize: int) -> np.ndarray:
    """The entries of segmented data of `itemsize` bytes a value (C.7.9.2)."""
    entries: list[int] = []
    try:
        _segments(data, 0, None, entries, count, itemsize)
    except IndexError:
        raise Unreadable("its segmented palette is damaged") from None
    if len(entries) != count:
        raise Unreadable("its segmented palette has another length than it declares")
    return np.array(entries, f"<u{itemsize}")


def _segments(data: Sequence[int], at: int, most: int | None, entries: list[int], count: int, itemsize: int) -> None:
    """Appends what the segments from `at` on stand for, up to `most` segments or `count` entries in all."""
    is_copied = most is not None
    while len(entries) < count and (most is None or most > 0):
        kind, length = data[at], data[at + 1]
        at += 2
        if kind == 0:  # discrete: the entries themselves
            entries += (data[at + k] for k in range(length))
            at += length
        elif kind == 1 and entries:  # linear: from the last entry to the one given
            entries += np.rint(np.linspace(entries[-1], data[at], length + 1)[1:]).astype(int).tolist()
            at += 1
        elif kind == 2 and not is_copied:  # indirect: segments that were given before, by their place in bytes
            words = 4 // itemsize
            offset = sum(data[at + k] << 8 * itemsize * k for k in range(words))
            _segments(data, offset // itemsize, length, entries, count, itemsize)
            at += words
        else:
            raise Unreadable("its segmented palette is damaged")
        most = None if most is None else most - 1
