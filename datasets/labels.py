"""What the words of a list mean: ids of classes, given as whole numbers or as names of a label list."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from echoviewclip.utils.errors import quoted, shortened

MAX_LABELS = 1 << 20  # ids where the number of classes is not known
SEPARATORS = " \t\r\n,;"  # between the labels of one video

_WORD = re.compile(rf"[^{SEPARATORS}]+")
_NUMBER = re.compile(rf"[+-]?\d+(?![^{SEPARATORS}])")
_PHRASE = re.compile(r"[^,;]+")
_NUMBERS = re.compile(rf"-?\d+(?:[{SEPARATORS}]+-?\d+)+$")


class Labels:
    """The classes of a label list, found by id or by name.

    Names are compared without regard to case and to the number of blanks between words. A whole number is an id.

    Attributes:
        names: in order of id; empty where only ids are known.
        count: ids lie in [0, count); None where any id will do.
    """

    def __init__(self, names: Sequence[str] = (), count: int | None = None) -> None:
        self.names = names
        self.count = len(names) if count is None and names else count
        self._ids = {spelled(name): i for i, name in enumerate(names)}
        self._last_words = tuple({spelled(name).split()[-1] for name in names})
        longest_first = sorted(names, key=len, reverse=True)
        any_name = "|".join(r"\s+".join(map(re.escape, name.split())) for name in longest_first) or "(?!)"
        self._at_start = re.compile(rf"(?:{any_name})(?![^{SEPARATORS}])", re.I)
        self._at_end = re.compile(rf"(?<![^{SEPARATORS}])(?:{any_name})$", re.I)

    def ending(self, line: str) -> str:
        """The longest name that ends `line` as words of its own; empty where none does."""
        if not line.casefold().endswith(self._last_words):
            return ""
        found = self._at_end.search(line)
        return found[0] if found else ""

    def ids(self, words: str, *, several: bool = False) -> list[int]:
        """The ids that `words` say, −1 for none; none at all where there are no words.

        Raises ValueError where a word is neither an id in range nor a name, and for several labels unless `several`.
        """
        words = words.strip(SEPARATORS)
        parts = self._parts(words) if several else [words] if words else []
        return [self._id(part) for part in parts]

    def _parts(self, words: str) -> list[str]:
        """Names, numbers, and what is neither up to the next comma or semicolon."""
        parts, at = [], 0
        while start := _WORD.search(words, at):
            at = start.start()
            found = self._at_start.match(words, at) or _NUMBER.match(words, at) or _PHRASE.match(words, at)
            assert found is not None  # a phrase begins with any word
            parts.append(found[0])
            at = found.end()
        return parts

    def _id(self, word: str) -> int:
        if (known := self._ids.get(spelled(word))) is not None:
            return known
        try:
            label = int(word)
        except ValueError:  # no number, or one of thousands of digits
            raise ValueError(self._unknown(word)) from None
        if not -1 <= label < (MAX_LABELS if self.count is None else self.count):
            limit = f"[0, {self.count})" if self.count is not None else "0, 1, 2, …"
            raise ValueError(f"the label {shortened(str(label))} is out of range: {limit}, or -1 for none")
        return label

    def _unknown(self, word: str) -> str:
        if _NUMBERS.match(word):
            return f"several labels ({shortened(word)}) where one is expected"
        if not self.names:
            return f"the label {quoted(word)} is not a whole number"
        near = difflib.get_close_matches(spelled(word), self._ids, 1)
        meant = f"; did you mean {self.names[self._ids[near[0]]]!r}?" if near else ""
        return f"the label {quoted(word)} is neither a whole number nor a name of the label list{meant}"


def spelled(name: str) -> str:
    """What two spellings of a name have in common."""
    return " ".join(name.split()).casefold()
