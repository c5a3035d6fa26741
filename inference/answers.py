"""Answers about videos (`inference.predictor`) as a table for people, and as files for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from echoviewclip.inference.predictor import Answer
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


def write_answers(folder: str | Path, answers: Sequence[Answer]) -> list[Path]:
    """Writes `predictions.csv` (an empty cell is None) and `predictions.jsonl` to `folder`, each whole or not at all.

    Bytes of a file name that are not UTF-8 are written as `\\udcXX`.
    """
    folder = Path(folder)
    files = [folder / "predictions.csv", folder / "predictions.jsonl"]
    with atomic_path(files[0]) as temporary, _open(temporary) as file:
        writer = csv.DictWriter(file, answers[0])
        writer.writeheader()
        writer.writerows(answers)
    with atomic_path(files[1]) as temporary, _open(temporary) as file:
        file.writelines(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    return files


def _open(file: Path) -> TextIO:
    return file.open("w", newline="", encoding="utf-8", errors="backslashreplace")


def table(answers: Sequence[Answer], files: Sequence[Path]) -> str:
    """A line for each answer, no longer than WIDTH, and what stands in `files`; long names lose their middle."""
    columns = [name for name in COLUMNS if name in answers[0]]
    head = [COLUMNS[name][0] for name in columns]
    cells = [["" if a[name] is None else printable(COLUMNS[name][1](a[name])) for name in columns] for a in answers]
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

    lines = [line(head), *(line(row, a["error"]) for row, a in zip(cells, answers, strict=True)), ""]
    return "\n".join(lines + summary(answers, files))


def summary(answers: Sequence[Answer], files: Sequence[Path]) -> list[str]:
    """What decides, how many videos there were, and where the files are."""
    first, unread = answers[0], sum(bool(answer["error"]) for answer in answers)
    lines = []
    if "decision" in first:
        lines.append(f"accepted where the score ({first['score_name']}) is at least τ = {first['tau']:.4g}")
    elif "view" in first:
        lines.append("accepted or rejected: not answered, since the checkpoint has no τ")
    videos = "1 video" if len(answers) == 1 else f"{len(answers)} videos"
    if doubted := sum(bool(answer["warnings"]) for answer in answers):
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
