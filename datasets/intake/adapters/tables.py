"""What the readers of public sets share: the entry they yield, tables whose errors have a place, splits by patient."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from echoviewclip.utils.errors import UserError

SPLITS = ("train", "val", "test")
Value = TypeVar("Value")


@dataclass
class Entry:
    """One video of a public set."""

    place: str  # file:line that names it
    path: str  # relative to the folder of the data
    split: str  # one of SPLITS
    label: int | None = None  # view
    quality: int | None = None  # grade of labels/quality.csv
    patient: str = ""
    more: dict[str, str] = field(default_factory=dict)  # what else the set knows: column and value


def rows(file: Path, *needed: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV table, each with its place; raises UserError where a needed column or a cell is missing."""
    if not file.is_file():
        raise UserError(f"{file}: no such file; SRC must be the folder as its authors publish it (docs/data.md)")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines)
        header = table.fieldnames or []
        if missing := [column for column in needed if column not in header]:
            raise UserError(f"{file}:1: the header lacks {', '.join(missing)}; it is {','.join(header)!r}")
        for row in table:
            place = f"{file}:{table.line_num}"
            if None in row or None in row.values():
                raise UserError(f"{place}: not as many cells as the header has ({len(header)})")
            yield place, {column: cell.strip() for column, cell in row.items()}


def choose(place: str, column: str, value: str, meanings: Mapping[str, Value]) -> Value:
    """What `value` means; raises UserError that names its place and what is allowed."""
    if value not in meanings:
        raise UserError(f"{place}: {column} is {value!r}, expected one of {', '.join(meanings)}")
    return meanings[value]


def split_of(patient: str) -> str:
    """The split of a patient where a set has none: 80 % train, 10 % val, 10 % test, by a hash of the name alone."""
    share = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:4], "big") / 2**32
    return "train" if share < 0.8 else "val" if share < 0.9 else "test"
