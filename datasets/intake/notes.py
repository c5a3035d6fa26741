"""What prepare.py warned of, as the manifests of prepared folders keep it: for those who check the videos later."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.intake.preparation import prepared_place
from echoviewclip.datasets.intake.records import SEPARATOR

FILE = "manifest.csv"
Warnings = dict[str, tuple[str, ...]]  # by name, relative to the folder of the videos


@dataclass
class Notes:
    """What was noted of the videos of a list.

    Attributes:
        warnings: the number of the video in the list, from 0, and the text; in the order of the list.
        unknown: one line for each manifest that is not found or corrupted.
    """

    warnings: list[tuple[int, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def read_notes(listed: Annotations) -> Notes:
    """The warnings of prepare.py about all videos of a list that lie in prepared folders."""
    notes = Notes()
    manifests: dict[Path, Warnings] = {}
    for i, path in enumerate(listed.paths()):
        if (place := prepared_place(path)) is None:
            continue
        if place.videos not in manifests:
            manifests[place.videos] = _read_manifest(place.videos.parent / FILE, notes.unknown)
        notes.warnings += [(i, text) for text in manifests[place.videos].get(place.name, ())]
    return notes


def count_kinds(warnings: Iterable[str]) -> list[tuple[str, int]]:
    """Kinds of warnings, which are their texts without the numbers, and how many there are of each; the most first."""
    return Counter(re.sub(r"\d+(\.\d+)?", "N", text) for text in warnings).most_common()


def _read_manifest(file: Path, unknown: list[str]) -> Warnings:
    """The videos of a manifest that have warnings; none, and a line in `unknown`, where it cannot be read."""
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
            rows = [(row["name"], row["warnings"]) for row in csv.DictReader(lines)]
    except FileNotFoundError:
        unknown.append(f"{file}: not found, so what prepare.py warned of is not known; run prepare.py again")
        return {}
    except (OSError, KeyError, csv.Error):
        unknown.append(f"{file}: corrupted, so what prepare.py warned of is not known; run prepare.py again")
        return {}
    return {name: tuple(text.split(SEPARATOR)) for name, text in rows if text}
