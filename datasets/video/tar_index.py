"""The index that may lie beside an archive, `a.idx` of `a.tar`: where its files are, so that nobody has to look.

The format is that of NVIDIA DALI's `wds2idx`, version 1.2: a line with the version and the number of samples, then a
line a sample with `suffix offset size name` of each of its files; offset and size of the content are in bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

VERSION = "v1.2"
Entry = tuple[str, int, int]  # a file's name, and the offset and the size of its content in bytes


def index_file(archive: str | Path) -> Path:
    """Where the index of an archive lies."""
    return Path(archive).with_suffix(".idx")


def read_index(archive: str) -> list[Entry] | None:
    """The files of an archive by its index; None where there is none that can be read."""
    try:
        head, *lines = index_file(archive).read_text(encoding="utf-8").splitlines()
        version, samples = head.split()
        if version != VERSION or int(samples) != len(lines):
            return None
        words = [line.split(" ") for line in lines]
        return [
            (name, int(offset), int(size))
            for sample in words
            for _, offset, size, name in (sample[at : at + 4] for at in range(0, len(sample), 4))
        ]
    except (OSError, ValueError):
        return None


def index_text(entries: Iterable[Entry]) -> str:
    """An index of files in the order in which they lie; names hold no blanks."""
    samples = [list(files) for _, files in itertools.groupby(entries, lambda entry: split_name(entry[0])[0])]
    lines = [
        " ".join(f"{split_name(name)[1]} {offset} {size} {name}" for name, offset, size in files) for files in samples
    ]
    return "\n".join([f"{VERSION} {len(samples)}", *lines]) + "\n"


def split_name(name: str) -> tuple[str, str]:
    """The key of a file's sample and its suffix: what WebDataset takes for one, all from the first dot on."""
    folder, slash, last = name.rpartition("/")
    key, _, suffix = last.partition(".")
    return folder + slash + key, suffix
