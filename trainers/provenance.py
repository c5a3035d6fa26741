"""How this process' evaluation came about."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import echoviewclip
from echoviewclip.datasets.rows import open_list
from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.evaluation.provenance import Provenance, sha256_of


def provenance_of(begin: float, files: Iterable[Path | str | None]) -> Provenance:
    """That of an evaluation that ends now; the command began at `begin` (time.monotonic()) and read `files`.

    A file that has gone in the meantime has an empty hash.
    """
    hashes = {}
    for file in (file for file in files if file is not None):
        try:
            hashes[str(file)] = sha256_of(open_list(file))
        except (OSError, Unreadable):
            hashes[str(file)] = ""
    return Provenance(
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        version=echoviewclip.__version__,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        seconds=round(time.monotonic() - begin, 1),
        files=hashes,
    )
