"""What earlier runs did, in the private folder: a killed run goes on where it stopped.

The folder leads back to the patients, so that it and all in it are their owner's alone from the moment they are made.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from echoviewclip.datasets.intake.preparation import VERSION
from echoviewclip.datasets.intake.records import Options, Record
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path, make_private, write_text
from echoviewclip.utils.urls import shown

JOURNAL = "done.jsonl"


def settle(private: Path, root: Path | str, options: Options) -> bytes:
    """The salt of this folder, made on the first run; later runs must have the same source, options and version."""
    make_private(private)
    where = shown(root) if isinstance(root, str) else str(root.resolve())
    settings = {"source": where, **asdict(options), "version": VERSION}
    if (private / "settings.json").exists():
        before = asdict(Options()) | {"version": 0} | json.loads((private / "settings.json").read_text())
        if before["version"] != VERSION:
            raise UserError(
                f"{private / 'settings.json'}: another version of this program prepared its videos, with other "
                "pixels; use another DST"
            )
        if before != settings:
            raise UserError(
                f"{private / 'settings.json'}: an earlier run had another source or other options; "
                "use those, or another DST"
            )
        return read_salt(private)
    with atomic_path(private / "salt", private=True) as temporary:
        temporary.write_bytes(secrets.token_bytes(32))
    write_text(private / "settings.json", json.dumps(settings, indent=1), private=True)
    return read_salt(private)


def read_salt(private: Path) -> bytes:
    """The key of the names. Raises UserError where it is gone."""
    try:
        return (private / "salt").read_bytes()
    except FileNotFoundError:
        raise UserError(f"{private / 'salt'} is gone, and with it the names of the videos; use another DST") from None


@contextmanager
def open_journal(private: Path) -> Iterator[Callable[[Record], None]]:
    """Yields a function that adds a record to the journal."""
    journal = os.open(private / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(journal, "a", encoding="utf-8") as lines:
        lines.write("\n")  # ends a line that a killed run left half written

        def add(record: Record) -> None:
            lines.write(json.dumps(asdict(record)) + "\n")
            lines.flush()

        yield add


def finished(private: Path) -> Iterator[Record]:
    """Records of earlier runs; the last line may be half written."""
    if (private / JOURNAL).exists():
        for line in (private / JOURNAL).read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                yield Record(**json.loads(line))
            except (ValueError, TypeError, RecursionError):
                continue


def is_there(record: Record, destination: Path) -> bool:
    """Whether the video of this record need not be made again."""
    return bool(record.skipped or record.fault) or (destination / "videos" / record.name).is_file()
