"""Public data sets as lists of this program: one reader for each layout, one way to write what it finds.

A reader yields `Entry` objects from a set's own tables. `adapt` writes them as `annotations.csv` and the splits
`train.csv`, `val.csv` and `test.csv`; docs/data.md says what each set gives.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from echoviewclip.datasets.intake.adapters import camus, echonet, ev9v, mimic, tmed2
from echoviewclip.datasets.intake.adapters.tables import SPLITS, Entry
from echoviewclip.datasets.rows import FIELDS
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path

VIEWS_38 = "labels/ultracls.csv"


@dataclass(frozen=True)
class Adapter:
    """How a set becomes lists."""

    read: Callable[[Path, Path], Iterator[Entry]]  # source and destination → what is in it
    labels: str = VIEWS_38  # list of the views that its labels number; empty: the set has no labels
    converts: bool = False  # its videos are written to the destination; else they are read where they are


ADAPTERS = {
    "echonet-dynamic": Adapter(echonet.read_dynamic),
    "echonet-pediatric": Adapter(echonet.read_pediatric, "labels/echonet_pediatric.csv"),
    "echonet-lvh": Adapter(echonet.read_lvh),
    "camus": Adapter(camus.read, converts=True),
    "tmed-2": Adapter(tmed2.read, "labels/tmed2.csv"),
    "ev9v": Adapter(ev9v.read, "labels/ev9v.csv"),
    "mimic-iv-echo": Adapter(mimic.read, labels=""),
}


@dataclass
class Adapted:
    """What `adapt` wrote.

    Attributes:
        root: the folder that paths are relative to (DATA.ROOT).
        counts: videos of each split.
        absent: a line for each video that a table names and that does not exist; they are in no list.
    """

    root: Path
    counts: dict[str, int]
    absent: list[str]


def adapt(name: str, source: Path, destination: Path) -> Adapted:
    """Writes the lists of the public set `name` (a key of ADAPTERS), whose files are in `source`, to `destination`.

    Raises UserError that names file and line where a table is not what the set's authors describe.
    """
    adapter = ADAPTERS[name]
    if not source.is_dir():
        raise UserError(f"{source}: no such folder (SRC)")
    root = destination if adapter.converts else source
    entries, absent = [], []
    for entry in adapter.read(source, destination):
        if (root / entry.path).exists():
            entries.append(entry)
        else:
            absent.append(f"{entry.place}: {root / entry.path} does not exist")
    if not entries:
        raise UserError(f"{source}: none of the {len(absent)} videos that its tables name is there")
    write_list(destination / "annotations.csv", entries, with_split=True)
    of_split = {split: [entry for entry in entries if entry.split == split] for split in SPLITS}
    for split, chosen in of_split.items():
        if chosen:
            write_list(destination / f"{split}.csv", chosen)
    return Adapted(root, {split: len(chosen) for split, chosen in of_split.items()}, absent)


def write_list(file: Path, entries: Sequence[Entry], with_split: bool = False) -> None:
    """Writes a CSV list: the columns that training reads, then those that only this set has."""
    more = sorted({column for entry in entries for column in entry.more})
    with atomic_path(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow([*FIELDS, *(["split"] if with_split else []), *more])
        for entry in entries:
            numbers = ["" if number is None else number for number in (entry.label, entry.quality)]
            known = [entry.path, numbers[0], entry.patient, numbers[1], ""]
            split = [entry.split] if with_split else []
            writer.writerow([*known, *split, *(entry.more.get(column, "") for column in more)])
