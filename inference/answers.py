"""Predictions of videos (`inference.prediction`) as a table for people, and as files for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from echoviewclip.inference.prediction import Prediction, PredictionTable
from echoviewclip.utils.files import atomic_path
from echoviewclip.utils.parquet import ROWS, import_arrow, write_tables

WIDTH = 100  # characters of a line of the table
TEXT_FILES, PARQUET_FILES = ("predictions.csv", "predictions.jsonl"), ("predictions.parquet",)
DRAWN = 200  # videos that the table shows; more are for programs

COLUMNS: dict[str, tuple[str, Callable[..., str]]] = {  # of the table: heading, and how a value is written
    "file": ("file", str),
    "view": ("view", str),
    "probability": ("prob", "{:.2f}".format),
    "decision": ("decision", str),
    "score": ("score", "{:.4g}".format),
    "quality": ("quality", str),
    "quality_score": ("value", "{:.2f}".format),
    "defect": ("defect", str),
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


def write_answers(
    folder: str | Path, columns: Sequence[str], rows: Iterable[Prediction], *, parquet: bool = False
) -> AnswerFiles:
    """Writes `predictions.csv` (an empty cell is None) and `predictions.jsonl` to `folder`, or `predictions.parquet`.

    Each is whole or not there; those of an earlier prediction are removed. Bytes of a file name that are not UTF-8 are
    written as `\\udcXX`. Rows are read once, one by one. Raises UserError where pyarrow is needed and missing.
    """
    kept, gone = (PARQUET_FILES, TEXT_FILES) if parquet else (TEXT_FILES, PARQUET_FILES)
    files, counts, first = [Path(folder) / name for name in kept], Counts(), []

    def counted() -> Iterator[Prediction]:
        for row in rows:
            counts.add(row)
            if counts.videos <= DRAWN:
                first.append(row)
            yield row

    if parquet:
        write_tables(files[0], _arrow_tables(files[0], columns, counted()))
    else:
        _write_texts(files[0], files[1], columns, counted())
    for name in gone:
        (Path(folder) / name).unlink(missing_ok=True)
    return AnswerFiles(files, counts, PredictionTable(tuple(columns), first))


def _write_texts(table: Path, lines: Path, columns: Sequence[str], rows: Iterable[Prediction]) -> None:
    with atomic_path(table) as first, atomic_path(lines) as second, _open(first) as cells, _open(second) as objects:
        writer = csv.DictWriter(cells, columns)
        writer.writeheader()
        for row in rows:
            values = {name: getattr(row, name) for name in columns}
            writer.writerow(values)
            objects.write(json.dumps(values, ensure_ascii=False) + "\n")


def _arrow_tables(file: Path, columns: Sequence[str], rows: Iterator[Prediction]) -> Iterator[Any]:
    """The rows as pyarrow tables of ROWS, the last of fewer, at least one; None is null."""
    arrow = import_arrow(file)
    kinds = {"float | None": arrow.float64(), "int | None": arrow.int64()}
    types = {field.name: kinds.get(str(field.type), arrow.string()) for field in fields(Prediction)}
    schema = arrow.schema([(name, types[name]) for name in columns])
    some = list(islice(rows, ROWS))
    while True:
        values = {name: [_unicode(getattr(row, name)) for row in some] for name in columns}
        yield arrow.table(values, schema)
        if not (some := list(islice(rows, ROWS))):
            return


def _unicode(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


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
