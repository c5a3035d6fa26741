"""What earlier runs did, in the private folder: a killed run goes on where it stopped."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from datasets.intake.records import Options, Record
from utils.errors import UserError
from utils.files import atomic_path, write_text


def settle(private: Path, root: Path, options: Options) -> bytes:
    """The salt of this folder, made on the first run; later runs must have the same source and options."""
    private.mkdir(parents=True, exist_ok=True)
    settings = json.dumps({"source": str(root.resolve()), **asdict(options)}, indent=1)
    if (private / "settings.json").exists():
        if (private / "settings.json").read_text() != settings:
            raise UserError(
                f"{private / 'settings.json'}: an earlier run had another source or other options; "
                "use those, or another DST"
            )
        return (private / "salt").read_bytes()
    with atomic_path(private / "salt") as temporary:
        temporary.write_bytes(secrets.token_bytes(32))
    (private / "salt").chmod(0o600)
    write_text(private / "settings.json", settings)
    return (private / "salt").read_bytes()


def finished(journal: Path) -> Iterator[Record]:
    """Records of earlier runs; the last line may be half written."""
    if journal.exists():
        for line in journal.read_text(encoding="utf-8").split("\n"):
            try:
                yield Record(**json.loads(line))
            except (json.JSONDecodeError, TypeError):
                continue


def is_there(record: Record, destination: Path) -> bool:
    """Whether the video of this record need not be made again."""
    return bool(record.skipped or record.fault) or (destination / "videos" / record.name).is_file()
