"""Answers about many videos in parts, each written when it is whole: a killed prediction loses one part at most.

A part is a run of consecutive videos. The name of its file holds a hash of what was asked (checkpoint, settings) and of
its videos (names, sizes, times), so answers that are found are those to this very question. How many videos a part has
is noted beside them when a question is begun, and holds until it is answered: with parts of another size, none of those
found would be taken.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import echoviewclip
from echoviewclip.datasets.intake.preparation import VERSION
from echoviewclip.datasets.video.tar import archive_of
from echoviewclip.inference.prediction import Prediction, PredictionTable
from echoviewclip.utils.distributed import from_main, is_main
from echoviewclip.utils.files import atomic_path, write_text
from echoviewclip.utils.urls import identity

FOLDER = "parts"  # in the output folder
SIZE = 500  # videos of a part
OF_MACHINE = ("DEVICE", "DATA.NUM_WORKERS", "TRAIN.BATCH_SIZE", "DATA.DOWNLOAD_FOLDER", "DATA.DOWNLOAD_LIMIT")
OF_FILES = ("TEST.PARQUET_ABOVE",)


@dataclass(frozen=True)
class Part:
    """The videos of a part, and where their answers are or will be."""

    videos: Sequence[str]
    file: Path

    @property
    def done(self) -> bool:
        """Whether they have been answered."""
        return self.file.is_file()


@dataclass
class WrittenParts:
    """Answers about `total` videos that lie in `files` of `folder`, in order of the videos."""

    folder: Path
    files: list[Path] = field(default_factory=list)
    total: int = 0

    def columns(self) -> tuple[str, ...]:
        """What is answered."""
        with self.files[0].open(encoding="ascii") as file:
            return tuple(json.loads(next(file)))

    def rows(self) -> Iterator[Prediction]:
        """The answers about all videos, one by one."""
        for part in self.files:
            with part.open(encoding="ascii") as file:
                next(file)
                for line in file:
                    yield Prediction(**json.loads(line))

    def remove(self) -> None:
        """Removes them and what is noted of them, and those of earlier questions that nobody finished."""
        for name in ("[0-9]*-*.jsonl", "size-*.json", "share-*.json"):
            for file in self.folder.glob(name):
                file.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


class AnswerParts:
    """The parts of a prediction under `folder/parts/`.

    Attributes:
        size: videos of a part; the last may have fewer.
        total: number of videos; None while it is not known.
        written: once all parts have been asked for and answered, by the only worker, all answers.
    """

    def __init__(self, folder: str | Path, question: str, videos: Iterable[str], size: int = SIZE) -> None:
        """`question` tells one from another: the checkpoint and whatever changes its answers (`question_of`).

        `videos` that are an iterator are taken as parts are asked for.
        """
        self.folder, self.question, self.videos, self.size = Path(folder) / FOLDER, question, videos, size
        self.total = len(videos) if isinstance(videos, Sequence) else None
        self.written = WrittenParts(self.folder)
        self._names = hashlib.sha256()

    def settle_size(self) -> None:
        """Makes `size` the one with which this question was begun, on all processes; notes it, if nobody had begun."""
        note = self.folder / f"size-{_hash(self.question)}.json"
        if is_main():
            try:
                self.size = int(json.loads(note.read_text(encoding="ascii")))
            except (OSError, ValueError, TypeError):
                write_text(note, f"{self.size}\n")
        self.size = from_main(self.size)

    def count(self, place: int, of: int) -> int | None:
        """The number of videos of a share; None while it is not known."""
        if self.total is None:
            return None
        starts = range((place - 1) * self.size, self.total, of * self.size)
        return sum(min(self.size, self.total - start) for start in starts)

    def share(self, place: int, of: int) -> Iterator[Part]:
        """Every part whose turn it is for the `place`-th (from 1) of so many workers."""
        # Videos are looked at once: one that changes meanwhile is another question to the next run, not to this one.
        videos, total = iter(self.videos), 0
        self.written, self._names = WrittenParts(self.folder), hashlib.sha256()
        for number in count():
            if not (some := list(islice(videos, self.size))):
                break
            self._names.update("".join(f"\0{identity(name)}" for name in some).encode(errors="surrogateescape"))
            if number % of == place - 1:
                part = self._part(number, some)
                self.written.files.append(part.file)
                yield part
            total += len(some)
        self.total = self.written.total = total

    @property
    def whole(self) -> str:
        """Tells the prediction that all shares make from another, once a share has been asked for to its end."""
        return _hash(json.dumps([self.question, self.size, self.total, self._names.hexdigest()]))

    def _part(self, number: int, videos: Sequence[str]) -> Part:
        found = hashlib.sha256(self.question.encode())
        for name in videos:
            found.update(f"\0{identity(name)}\0{_state(name)}".encode(errors="surrogateescape"))
        return Part(videos, self.folder / f"{number:06d}-{found.hexdigest()[:16]}.jsonl")

    def found(self) -> set[str]:
        """Names of the files of parts that are there, of any question."""
        return {file.name for file in self.folder.glob("[0-9]*-*.jsonl")}

    def write(self, part: Part, table: PredictionTable) -> None:
        """Writes the answers about a part's videos, whole or not at all."""
        with atomic_path(part.file) as temporary, temporary.open("w", encoding="ascii") as file:
            file.write(json.dumps(table.columns) + "\n")
            for row in table:
                file.write(json.dumps({name: getattr(row, name) for name in table.columns}) + "\n")


def question_of(
    checkpoint: str | Path, changes: Iterable[tuple[str, object]], cfg: str | Path | None, as_is: bool
) -> str:
    """What is asked of videos: a checkpoint and its yaml file by their sizes and times, settings, this version.

    `changes` of what a machine has (device, processes, batches) and of the kind of file that all are written to change
    none, so shares may be of several machines.
    """
    file = Path(checkpoint)
    told = sorted([key, str(value)] for key, value in changes if key not in OF_MACHINE + OF_FILES)
    files = [_state(file / "model.json" if file.is_dir() else file), _state(cfg) if cfg else ""]
    return json.dumps([echoviewclip.__version__, VERSION, *files, told, as_is])


def _state(file: str | Path) -> str:
    """Size and time of a file, of one in an archive those of that; nothing for one that is not there, and for a URL,
    which is not asked."""
    try:
        found = os.stat(archive_of(str(file)) or file)
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
