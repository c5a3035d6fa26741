"""Predictions of videos (`inference.prediction`) as a table for people, and as files for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from echoviewclip.inference.prediction import PredictionTable
from echoviewclip.utils.files import atomic_path

WIDTH = 100  # characters of a line of the table

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


def write_answers(folder: str | Path, table: PredictionTable) -> list[Path]:
    """Writes `predictions.csv` (an empty cell is None) and `predictions.jsonl` to `folder`, each whole or not at all.

    Bytes of a file name that are not UTF-8 are written as `\\udcXX`.
    """
    folder = Path(folder)
    files = [folder / "predictions.csv", folder / "predictions.jsonl"]
    rows = [{name: getattr(row, name) for name in table.columns} for row in table]
    with atomic_path(files[0]) as temporary, _open(temporary) as file:
        writer = csv.DictWriter(file, table.columns)
        writer.writeheader()
        writer.writerows(rows)
    with atomic_path(files[1]) as temporary, _open(temporary) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return files


def _open(file: Path) -> TextIO:
    return file.open("w", newline="", encoding="utf-8", errors="backslashreplace")


def draw_table(table: PredictionTable, files: Sequence[Path]) -> str:
    """A line for each video, no longer than WIDTH, and what stands in `files`; long names lose their middle."""
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
    return "\n".join(lines + summary(table, files))


def _cell(name: str, value: object) -> str:
    return "" if value is None else printable(COLUMNS[name][1](value))


def summary(table: PredictionTable, files: Sequence[Path]) -> list[str]:
    """What decides, how many videos there were, and where the files are."""
    first, unread = table[0], sum(bool(row.error) for row in table)
    lines = []
    if "decision" in table.columns:
        lines.append(f"accepted where the score ({first.score_name}) is at least τ = {first.tau:.4g}")
    elif "view" in table.columns:
        lines.append("accepted or rejected: not answered, since the checkpoint has no τ")
    videos = "1 video" if len(table) == 1 else f"{len(table)} videos"
    if doubted := sum(bool(row.warnings) for row in table):
        lines.append(f"{doubted} with a warning; what it is stands in the column `warnings`")
    lines.append(f"{videos}, {unread} without an answer: {', '.join(map(str, files))}")
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
