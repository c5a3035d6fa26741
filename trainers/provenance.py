"""How this process' evaluation came about."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import echoviewclip
from echoviewclip.evaluation.provenance import Provenance, sha256


def provenance_of(begin: float, files: Iterable[Path | None]) -> Provenance:
    """That of an evaluation that ends now; the command began at `begin` (time.monotonic()) and read `files`.

    A file that has gone in the meantime has an empty hash.
    """
    hashes = {}
    for file in filter(None, files):
        try:
            hashes[str(file)] = sha256(Path(file))
        except OSError:
            hashes[str(file)] = ""
    return Provenance(
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        version=echoviewclip.__version__,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        seconds=round(time.monotonic() - begin, 1),
        files=hashes,
    )
