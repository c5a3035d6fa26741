"""Many strings in little memory, which the processes of a run share."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch


class Strings(Sequence[str]):
    """Many strings in two tensors: small, and shared (not copied) between processes, which a list of str is not."""

    def __init__(self, text: bytearray, ends: array[int]) -> None:
        """Takes the memory of all strings one after the other, in UTF-8, and where each ends; see `GrowingStrings`."""
        self._text = torch.frombuffer(text or bytearray(1), dtype=torch.uint8)
        self._ends = torch.frombuffer(ends, dtype=torch.int64) if ends else torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, i: int) -> str:  # type: ignore[override]  # no slices
        if not 0 <= i < len(self._ends):
            raise IndexError(i)
        start = int(self._ends[i - 1]) if i else 0
        return bytes(self._text[start : int(self._ends[i])].numpy()).decode(errors="surrogateescape")

    def __iter__(self) -> Iterator[str]:
        text, start = self._text.numpy().data, 0
        for end in self._ends.numpy():
            yield str(text[start:end], "utf-8", "surrogateescape")
            start = end


class GrowingStrings:
    """Strings that are still being collected."""

    def __init__(self) -> None:
        self._text, self._ends = bytearray(), array("q")

    def append(self, string: str) -> None:
        """Adds one; not after `freeze`."""
        self._text += string.encode(errors="surrogateescape")  # file names need not be UTF-8
        self._ends.append(len(self._text))

    def extend(self, strings: Iterable[str]) -> GrowingStrings:
        """Adds all; not after `freeze`."""
        for string in strings:
            self.append(string)
        return self

    def freeze(self) -> Strings:
        """The strings, in the same memory."""
        return Strings(self._text, self._ends)

    def __len__(self) -> int:
        return len(self._ends)


class Column:
    """A text for each video of a list, of which many are the same: the different ones, and which each has."""

    def __init__(self, codes: array[int], values: Strings) -> None:
        """`codes` are places in `values`, −1 = nothing said."""
        self._codes, self._values = torch.from_numpy(np.asarray(codes, np.int32)), values

    @property
    def codes(self) -> np.ndarray:
        """Which text each video has, np.int32 [N], in order of appearance; −1 = none."""
        return self._codes.numpy()

    @property
    def values(self) -> Strings:
        """The different texts, in order of appearance, none of them empty."""
        return self._values

    def __getitem__(self, i: int) -> str:
        code = int(self._codes[i])
        return self._values[code] if code >= 0 else ""

    def texts(self) -> np.ndarray:
        """The text of each video, str [N]; empty = none."""
        return np.asarray([*self._values, ""], str)[self.codes]  # −1 is the last


class GrowingColumn:
    """A column that is still being collected."""

    def __init__(self) -> None:
        self._codes, self._code_of, self._values = array("i"), {"": -1}, GrowingStrings()

    def append(self, text: str) -> None:
        """Adds what is said of one more video; not after `freeze`."""
        code = self._code_of.get(text)
        if code is None:
            code = self._code_of[text] = len(self._values)
            self._values.append(text)
        self._codes.append(code)

    def freeze(self) -> Column:
        """The texts, in the same memory."""
        return Column(self._codes, self._values.freeze())
