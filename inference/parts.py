"""Answers about many videos in parts, each written when it is whole: a killed prediction loses one part at most.

A part is a run of consecutive videos. The name of its file holds a hash of what was asked (checkpoint, settings) and of
its videos (names, sizes, times), so answers that are found are those to this very question.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import echoviewclip
from echoviewclip.datasets.intake.preparation import VERSION
from echoviewclip.inference.prediction import Prediction, PredictionTable
from echoviewclip.utils.files import atomic_path

SIZE = 500  # videos of a part
OF_MACHINE = ("DEVICE", "DATA.NUM_WORKERS", "TRAIN.BATCH_SIZE")


@dataclass(frozen=True)
class Part:
    """The videos from `start` to before `end`, and where their answers are or will be."""

    number: int
    start: int
    end: int
    file: Path

    @property
    def done(self) -> bool:
        """Whether they have been answered."""
        return self.file.is_file()


class AnswerParts:
    """The parts of a prediction under `folder/parts/`."""

    def __init__(self, folder: str | Path, question: str, videos: Sequence[str], size: int = SIZE) -> None:
        """`question` tells one from another: the checkpoint and whatever changes its answers (`question_of`)."""
        self.folder, self.question, self.videos, self.size = Path(folder) / "parts", question, videos, size
        # Videos are looked at once: one that changes meanwhile is another question to the next run, not to this one.
        self._known: dict[int, Part] = {}

    def __len__(self) -> int:
        return -(-len(self.videos) // self.size)

    def __getitem__(self, number: int) -> Part:
        if number not in self._known:
            self._known[number] = self._part(number)
        return self._known[number]

    def _part(self, number: int) -> Part:
        start, end = number * self.size, min((number + 1) * self.size, len(self.videos))
        found = hashlib.sha256(self.question.encode())
        for name in self.videos[start:end]:
            found.update(f"\0{name}\0{_state(name)}".encode(errors="surrogateescape"))
        return Part(number, start, end, self.folder / f"{number:06d}-{found.hexdigest()[:16]}.jsonl")

    def share(self, place: int, of: int) -> Iterator[Part]:
        """Every part whose turn it is for the `place`-th (from 1) of so many workers."""
        return (self[number] for number in range(place - 1, len(self), of))

    def write(self, part: Part, table: PredictionTable) -> None:
        """Writes the answers about a part's videos, whole or not at all."""
        with atomic_path(part.file) as temporary, temporary.open("w", encoding="ascii") as file:
            file.write(json.dumps(table.columns) + "\n")
            for row in table:
                file.write(json.dumps({name: getattr(row, name) for name in table.columns}) + "\n")

    def columns(self) -> tuple[str, ...]:
        """What is answered; all parts must be done."""
        with self[0].file.open(encoding="ascii") as file:
            return tuple(json.loads(next(file)))

    def rows(self) -> Iterator[Prediction]:
        """The answers about all videos, in order; all parts must be done."""
        for number in range(len(self)):
            with self[number].file.open(encoding="ascii") as file:
                next(file)
                for line in file:
                    yield Prediction(**json.loads(line))

    def remove(self) -> None:
        """Removes the parts, and those of earlier questions that nobody finished."""
        for file in self.folder.glob("[0-9]*-*.jsonl"):
            file.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def question_of(
    checkpoint: str | Path, changes: Iterable[tuple[str, object]], cfg: str | Path | None, as_is: bool
) -> str:
    """What is asked of videos: a checkpoint and its yaml file by their sizes and times, settings, this version.

    `changes` of what a machine has (device, processes, batches) change none, so shares may be of several machines.
    """
    file = Path(checkpoint)
    told = sorted([key, str(value)] for key, value in changes if key not in OF_MACHINE)
    files = [_state(file / "model.json" if file.is_dir() else file), _state(cfg) if cfg else ""]
    return json.dumps([echoviewclip.__version__, VERSION, *files, told, as_is])


def _state(file: str | Path) -> str:
    """Size and time of a file; nothing for one that is not there."""
    try:
        found = os.stat(file)
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
