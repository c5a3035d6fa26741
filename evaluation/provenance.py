"""How an evaluation came about: when, by which program and command, from which files."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

PIECE = 2**22  # bytes of a file that are hashed at a time


@dataclass(frozen=True)
class Provenance:
    """What `metrics.json` holds under `provenance`.

    Attributes:
        date: when the evaluation ended, ISO 8601 with the time zone.
        version: of this program.
        command: as it was called.
        seconds: that the command took until then, a training before it included.
        files: the SHA-256 of the evaluated lists, of the training list where it was read, and of the checkpoint, by
            path.
    """

    date: str
    version: str
    command: str
    seconds: float
    files: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The words of the command."""
        try:
            return shlex.split(self.command)
        except ValueError:
            return self.command.split()


def sha256(file: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it. Raises OSError."""
    return sha256_of(file.open("rb"))


def sha256_of(content: BinaryIO) -> str:
    """The SHA-256 of an open file, which is closed. Raises OSError."""
    digest = hashlib.sha256()
    with content as stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
