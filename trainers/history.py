"""The figures of a training, line by line: metrics.jsonl, from which all trackers are told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from echoviewclip.trainers.trackers.follow import followed
from echoviewclip.trainers.trackers.tracker import Line, Run, shareable
from echoviewclip.utils.distributed import is_main
from echoviewclip.utils.files import atomic_path, flush, writing


class MetricsLog:
    """Appends one JSON object a line to `metrics.jsonl`, and tells it to the trackers that follow the run.

    The main process alone writes. `lines` is how many there are; a checkpoint keeps the number, so that a run that goes
    on from it can drop what was written after it.
    """

    def __init__(self, folder: Path) -> None:
        """Starts anew: lines that a run left which was killed before its first checkpoint are dropped."""
        self.file = folder / "metrics.jsonl"
        self.folder = folder
        self.lines = 0
        self._begun = False
        self._kept: list[bytes] = []
        self._first_step, self._same = 0, True
        self._tell: Callable[[Line], None] | None = None

    def go_on(self, source: Path, lines: int | None, step: int, same: bool) -> None:
        """Goes on after the first `lines` lines that the run has in the folder `source`, after optimiser step `step`.

        Checkpoints of an earlier version do not know the number; then lines up to `step` are kept. `same` as for
        trackers (`Run`).
        """
        if not is_main():
            return
        file = source / self.file.name
        # What follows the last line break was cut off.
        found = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
        self._kept = [line for line in found if _step_of(line) <= step] if lines is None else found[:lines]
        self._begin(self._kept)
        self._first_step, self._same = step + 1, same

    @contextmanager
    def followed(self, config: CfgNode) -> Iterator[None]:
        """Lets the trackers of LOG.BACKENDS follow the run for the time of the block."""
        if not is_main():
            yield
            return
        run = Run(
            folder=self.folder,
            project=config.LOG.PROJECT,
            name=self.folder.resolve().name,
            settings=shareable(config),
            kept=len(self._kept),
            first_step=self._first_step,
            same=self._same,
        )
        kept = (Line.of(number, record) for number, line in enumerate(self._kept) if (record := _record(line)))
        with followed(config.LOG.BACKENDS, run, kept) as self._tell:
            yield
        self._tell = None

    def write(self, step: int, **record: Any) -> None:
        """`record` maps a group (`train`, `val`) to its name → number dict."""
        if not is_main():
            return
        if not self._begun:
            self._begin([])
        record = {"step": step, **record}
        with writing(self.file), self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")
        if self._tell:
            self._tell(Line.of(self.lines, record))
        self.lines += 1

    def flush(self) -> None:
        """Waits until the lines are on the disk, as a checkpoint that counts them will be."""
        if self._begun:
            flush(self.file)

    def _begin(self, kept: list[bytes]) -> None:
        with atomic_path(self.file) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in kept))
        self.lines, self._begun = len(kept), True


def _record(line: bytes) -> dict[str, Any] | None:
    """What a line of metrics.jsonl tells; None where it cannot be read."""
    try:
        record = json.loads(line)
        return record | {"step": int(record["step"])}
    except (ValueError, KeyError, TypeError):
        return None


def _step_of(line: bytes) -> float:
    """The step of a line of metrics.jsonl; infinite where the line cannot be read."""
    record = _record(line)
    return record["step"] if record else math.inf
