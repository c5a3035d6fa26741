"""`study.csv` and `study.json`: what the study page shows, for other programs (docs/study.md)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from echoviewclip.study.clips import Clip
from echoviewclip.study.findings import Findings, Item, MeasurementChoice
from echoviewclip.study.protocol import Protocol
from echoviewclip.utils.files import atomic_path

FORMAT = 1  # of study.json
PLACE = ("study", "rank", "window", "mode")
LENGTH = ("frames", "fps", "seconds", "beats")

Row = dict[str, Any]


def write_tables(
    csv_file: Path, json_file: Path, found: Sequence[Findings], columns: Sequence[str], protocol: Protocol | None
) -> None:
    """Writes both files, each whole or not at all; `columns` are those that the checkpoint answers.

    Bytes of a file name that are not UTF-8 are written as `\\udcXX`.
    """
    rows = [list(_rows(one, columns)) for one in found]
    with atomic_path(csv_file) as path, path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, (*PLACE, *columns, *LENGTH))
        writer.writeheader()
        writer.writerows(row for study in rows for row in study)
    content = {
        "format": FORMAT,
        "protocol": {"name": protocol.name, "guideline": protocol.guideline} if protocol else None,
        "studies": [_study(one, clips) for one, clips in zip(found, rows, strict=True)],
    }
    with atomic_path(json_file) as path, path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        json.dump(content, file, ensure_ascii=False, indent=1, allow_nan=False)


def _rows(found: Findings, columns: Sequence[str]) -> Iterator[Row]:
    """A row for each video of a study, in the order of the list."""
    ranks = {clip.number: rank for view in found.views for rank, clip in enumerate(view.clips, start=1)}
    for clip in found.study.clips:
        answered = clip.answer.view is not None
        timing = clip.timing
        yield {
            "study": found.study.name,
            "rank": ranks.get(clip.number),
            "window": clip.window if answered else None,
            "mode": clip.mode or None if answered else None,
            **{name: getattr(clip.answer, name) for name in columns},
            "frames": timing.frames or None,
            "fps": timing.fps,
            "seconds": timing.seconds,
            "beats": timing.beats,
        }


def _study(found: Findings, rows: list[Row]) -> Row:
    return {
        "study": found.study.name,
        "clips": [{name: value for name, value in row.items() if name != "study"} for row in rows],
        "views": [_item(item) for item in found.items],
        "measurements": [_measurement(one) for one in found.measurements],
    }


def _item(item: Item) -> Row:
    files = [clip.answer.file for clip in item.clips]
    return {"view": item.view, "status": item.status, "optional": item.optional, "files": files}


def _measurement(one: MeasurementChoice) -> Row:
    def file(clip: Clip | None) -> str | None:
        return clip.answer.file if clip else None

    return {
        "name": one.measurement.name,
        "clips": [
            {"view": choice.view, "file": file(choice.clip), "nearest": file(choice.nearest), "lacks": choice.lacks}
            for choice in one.choices
        ],
    }
