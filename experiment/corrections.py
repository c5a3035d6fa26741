"""Decisions about suspected labels, as a table that the user fills in, and the list that follows from them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from echoviewclip.datasets.annotations import find_list
from echoviewclip.datasets.labels import Labels
from echoviewclip.datasets.rows import FIELDS, read_rows
from echoviewclip.experiment.noise import Judged
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path

COLUMNS = ("path", "label", "suggested", "p_label", "p_suggested", "decision")
KEEP, TAKE, REMOVE = "keep", "suggested", "remove"  # or the name of another label


def write_corrections(file: Path, judged: Judged, suspects: Sequence[tuple[int, int]]) -> None:
    """The table of suspects, decisions empty; raises UserError where one with decisions is there."""
    if file.is_file() and any(row["decision"] for row in _read(file)):
        raise UserError(f"{file}: holds decisions; apply them (--apply), or remove it to check anew")
    with atomic_path(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(COLUMNS)
        for i, other in suspects:
            own, p = judged.videos.labels[i], judged.probabilities[i]
            names = judged.views[own], judged.views[other]
            writer.writerow([judged.videos.name(i), *names, f"{p[own]:.4f}", f"{p[other]:.4f}", ""])


def apply_corrections(file: Path, listed: str, root: str, views: Sequence[str]) -> tuple[Path, Counter]:
    """Writes `NAME.corrected.csv` beside the list; returns it and how often each decision was made.

    Raises UserError for a decision that is none, or a video that the list does not hold under that label.
    """
    known, source = Labels(views), find_list(listed, root)
    if isinstance(source, str):
        raise UserError(f"{source}: cannot be written to; copy the list to this machine (DATA.TRAIN_FILE)")
    rows = list(read_rows(source, "class", known))
    of_path = {row.path: row for row in rows}
    counts: Counter = Counter()
    changes: dict[str, str] = {}
    for line, cells in enumerate(_read(file), start=2):
        decision = cells["decision"].strip()
        if cells["path"] not in of_path:
            raise UserError(f"{file}:{line}: {source} names no such video")
        counts[decision.casefold() if decision.casefold() in (KEEP, TAKE, REMOVE, "") else "another label"] += 1
        if decision.casefold() in ("", KEEP):
            continue
        new = "" if decision.casefold() == REMOVE else cells["suggested"] if decision.casefold() == TAKE else decision
        try:
            changes[cells["path"]] = views[known.ids(new)[0]] if new else ""
        except ValueError:
            raise UserError(
                f"{file}:{line}: a decision is {KEEP}, {TAKE}, {REMOVE} or a name of the label list"
            ) from None
    target = source.with_name(f"{source.stem}.corrected.csv")
    with atomic_path(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(FIELDS)
        for row in rows:
            label = changes.get(row.path, row.label)
            if row.path not in changes or label:
                writer.writerow([row.path, label, row.patient, row.quality, row.score])
    return target, counts


def _read(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        raise UserError(f"{file}: no such file; tools/check_labels.py RUN writes it")
    with file.open(newline="", encoding="utf-8-sig") as lines:
        table = csv.DictReader(lines)
        if missing := {"path", "suggested", "decision"} - set(table.fieldnames or ()):
            raise UserError(f"{file}:1: the header lacks {', '.join(sorted(missing))}")
        return [{name: cell or "" for name, cell in row.items() if name} for row in table]
