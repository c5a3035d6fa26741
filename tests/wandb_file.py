"""Reads what Weights & Biases leaves of a run that is offline: records in the format of LevelDB's log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEADER, BLOCK, FRAME = 7, 32768, 7  # bytes: of the file, of a block, before a piece (checksum 4, length 2, kind 1)
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class Offline:
    """The run's id, and its rows in the order in which they were written."""

    name: str = ""
    rows: list[dict] = field(default_factory=list)


def history_of(file: Path) -> Offline:
    """What is in a `.wandb` file."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = Offline()
    for content in _records(file.read_bytes()):
        record = Record()
        record.ParseFromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.name = record.run.run_id
        elif kind == "history":
            items = record.history.item
            found.rows.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
    return found


def _records(content: bytes) -> Iterator[bytes]:
    place, record = HEADER, b""
    while place + FRAME <= len(content):
        if BLOCK - place % BLOCK < FRAME:  # filled up with zeros
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        record += content[place + FRAME : place + FRAME + length]
        place += FRAME + length
        if kind in (WHOLE, LAST):
            yield record
            record = b""
