"""Predictions of videos (`inference.prediction`) as a table for people, and as files for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from echoviewclip.inference.prediction import Prediction, PredictionTable
from echoviewclip.utils.files import atomic_path

WIDTH = 100  # characters of a line of the table
DRAWN = 200  # videos that the table shows; more are for programs

COLUMNS: dict[str, tuple[str, Callable[..., str]]] = {  # of the table: heading, and how a value is written
    "file": ("file", str),
    "view": ("view", str),
    "probability": ("prob", "{:.2f}".format),
    "decision": ("decision", str),
    "score": ("score", "{:.4g}".format),
    "quality": ("quality", str),
    "quality_score": ("value", "{:.2f}".format),
    "frame": ("frame", str),
}
NUMBERS = ("probability", "score", "quality_score", "frame")  # stand at the right


@dataclass
class Counts:
    """How many videos there were, how many got no answer, and how many have a warning."""

    videos: int = 0
    unanswered: int = 0
    doubted: int = 0

    def add(self, row: Prediction) -> None:
        """Counts one more."""
        self.videos += 1
        self.unanswered += bool(row.error)
        self.doubted += bool(row.warnings)


@dataclass(frozen=True)
class AnswerFiles:
    """Answers that are in `files`, `counts` of all, and the first of them as a table."""

    files: list[Path]
    counts: Counts
    first: PredictionTable


def write_answers(folder: str | Path, columns: Sequence[str], rows: Iterable[Prediction]) -> AnswerFiles:
    """Writes `predictions.csv` (an empty cell is None) and `predictions.jsonl` to `folder`, each whole or not at all.

    Bytes of a file name that are not UTF-8 are written as `\\udcXX`. Rows are read once, one by one.
    """
    files = [Path(folder) / "predictions.csv", Path(folder) / "predictions.jsonl"]
    counts, first = Counts(), []
    with atomic_path(files[0]) as table, atomic_path(files[1]) as lines, _open(table) as cells, _open(lines) as objects:
        writer = csv.DictWriter(cells, columns)
        writer.writeheader()
        for row in rows:
            values = {name: getattr(row, name) for name in columns}
            writer.writerow(values)
            objects.write(json.dumps(values, ensure_ascii=False) + "\n")
            counts.add(row)
            if counts.videos <= DRAWN:
                first.append(row)
    return AnswerFiles(files, counts, PredictionTable(tuple(columns), first))


def _open(file: Path) -> TextIO:
    return file.open("w", newline="", encoding="utf-8", errors="backslashreplace")


def draw_table(written: AnswerFiles, more: Sequence[Path] = ()) -> str:
    """A line for each of the first videos, no longer than WIDTH, and what was written where, `more` files among it.

    Long names lose their middle.
    """
    table = written.first
    columns = [name for name in COLUMNS if name in table.columns]
    head = [COLUMNS[name][0] for name in columns]
    cells = [[_cell(name, getattr(row, name)) for name in columns] for row in table]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH:
        widths[widths.index(max(widths))] -= 1

    def line(values: Sequence[str], error: str | None = None) -> str:
        if error:
            return f"{shortened(values[0], widths[0]):{widths[0]}}  {printable(error)}"[:WIDTH]
        aligned = (
            f"{shortened(value, width):{'>' if name in NUMBERS else '<'}{width}}"
            for name, value, width in zip(columns, values, widths, strict=True)
        )
        return "  ".join(aligned).rstrip()

    lines = [line(head), *(line(values, row.error) for values, row in zip(cells, table, strict=True)), ""]
    return "\n".join(lines + summary(written, more))


def _cell(name: str, value: object) -> str:
    return "" if value is None else printable(COLUMNS[name][1](value))


def summary(written: AnswerFiles, more: Sequence[Path] = ()) -> list[str]:
    """What decides, how many videos there were, and where the files are."""
    counts, table = written.counts, written.first
    lines = []
    if counts.videos > len(table):
        lines.append(f"… and {counts.videos - len(table)} more in the files below")
    if "decision" in table.columns:
        lines.append(f"accepted where the score ({table[0].score_name}) is at least τ = {table[0].tau:.4g}")
    elif "view" in table.columns:
        lines.append("accepted or rejected: not answered, since the checkpoint has no τ")
    if counts.doubted:
        lines.append(f"{counts.doubted} with a warning; what it is stands in the column `warnings`")
    videos = "1 video" if counts.videos == 1 else f"{counts.videos} videos"
    lines.append(f"{videos}, {counts.unanswered} without an answer: {', '.join(map(str, [*written.files, *more]))}")
    return lines


def shortened(text: str, width: int) -> str:
    """At most `width` characters of `text`, its beginning and its end."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def printable(text: str) -> str:
    """`text` with whatever could upset a terminal replaced: file names may hold any character."""
    return "".join(character if character.isprintable() else "�" for character in text)
