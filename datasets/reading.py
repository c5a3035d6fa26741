"""Processes that read videos: what they were reading when they died or hung, and mistakes that they find."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import weakref
from collections.abc import Collection, Iterator, Sized
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, Protocol, cast

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from echoviewclip.datasets.sample import Mistake, Sample
from echoviewclip.utils.errors import UserError

NONE = -1
_watched: weakref.WeakSet[WatchedDataset] = weakref.WeakSet()


class Numbered(Protocol):
    """What a sampler asks for that says more than the number of a video."""

    @property
    def video(self) -> int:
        """The number."""


class Videos(Protocol):
    """Samples of videos of edge `size`, and what videos are called, by their numbers."""

    size: int

    def __getitem__(self, index: Any) -> Sample: ...

    def name(self, video: int) -> str:
        """What a video is called in messages."""


class WatchedDataset(Dataset):
    """A data set whose reading processes note which video they are at, and hand on a UserError as a value.

    Raised, it would arrive as a traceback.
    """

    def __init__(self, dataset: Videos, workers: int) -> None:
        self.dataset, self.size = dataset, dataset.size
        self.reading = torch.full((workers, 2), NONE).share_memory_()  # process and video of each
        _watched.add(self)

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, index: int | Numbered) -> Sample | Mistake:
        worker = get_worker_info()
        if worker is None:
            return self.dataset[index]
        at = self.reading[worker.id]
        at[0], at[1] = os.getpid(), index if isinstance(index, int) else index.video
        try:
            return self.dataset[index]
        except UserError as error:
            return Mistake(str(error))
        finally:
            at[1] = NONE

    def busy(self) -> dict[int, str]:
        """The process ids that are reading, each with the name of its video."""
        return {process: self.dataset.name(video) for process, video in self.reading.tolist() if video != NONE}


def videos_of(loader: DataLoader) -> WatchedDataset:
    """The data set of a loader of ours."""
    return cast(WatchedDataset, loader.dataset)


def read(loader: DataLoader) -> Iterator[Sample]:
    """The loader's batches. Raises UserError where a reading process found a mistake."""
    for batch in loader:
        if isinstance(batch, Mistake):
            raise UserError(batch.text)
        yield batch


@contextmanager
def reading_faults() -> Iterator[None]:
    """Turns the death or the silence of a reading process, which may be noticed anywhere, into a UserError."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        busy = {process: video for data in list(_watched) for process, video in data.busy().items()}
        if late := re.match(r"DataLoader timed out after ([\d.]+) seconds", str(error)):
            at = ", ".join(f"{video} (process {process})" for process, video in busy.items()) or "nothing"
            end_readers()  # which would be waited for otherwise
            raise UserError(
                f"no batch of videos came for {float(late[1]):g} s (TRAIN.TIMEOUT); still being read: {at}; look at "
                "that file and its disk"
            ) from None
        if dead := _dead(error, busy):
            at = ", ".join(busy[process] for process in dead if process in busy) or "no video"
            end_readers()  # or PyTorch raises the same once more, anywhere, when the next of them ends
            raise UserError(
                f"reading process {', '.join(map(str, dead))} died while it read {at}; the file may be damaged, or the "
                "system short of memory (DATA.NUM_WORKERS)"
            ) from None
        raise


def _dead(error: Exception, busy: Collection[int]) -> list[int]:
    """The reading processes that died, as PyTorch says; where a batch broke off on its way, the `busy` now gone."""
    if said := re.match(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(error)):
        return [int(process) for process in said[1].split(",")]
    if isinstance(error, RuntimeError) or not busy:
        return []
    told = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    living = {child.pid: child for child in multiprocessing.active_children() if child.pid in busy}
    if len(living) == len(busy):  # what it holds, connections and sentinel, ends a moment before it does
        ended = wait([child.sentinel for child in living.values()], timeout=1)
        for child in living.values():
            if child.sentinel in ended:
                child.join()
    dead = [process for process in busy if process not in living or not living[process].is_alive()]
    signal.signal(signal.SIGCHLD, told)
    return dead


def end_readers() -> None:
    """Ends the processes that read videos, also those that hang; nothing of theirs may be read afterwards."""
    told = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would raise an error for each
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    for data in list(_watched):
        data.reading.fill_(NONE)
    signal.signal(signal.SIGCHLD, told)
