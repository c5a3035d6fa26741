"""Videos that are asked for by their paths while others are read: their list need not be known when reading begins.

The same processes read from the first video to the last. What they are to read they are told batch by batch, so that
memory does not grow with the number of videos.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar, cast

import torch
from torch.utils.data import DataLoader, Dataset

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.reading import WatchedDataset, read
from echoviewclip.datasets.sample import Mistake, Sample, collate
from echoviewclip.utils.stopping import leave_signals_to_parent
from echoviewclip.utils.urls import shown

Group = TypeVar("Group")


class Asked(NamedTuple):
    """A video that is to be read.

    Attributes:
        path: where it lies.
        place: what its sample's `place` is to be.
        video: its number among all that are asked for, from 0.
    """

    path: str
    place: int
    video: int


class VideosByPath(Dataset):
    """Samples of videos that are asked for one by one, opened and sampled as `dataset` does it in evaluation.

    `waiting` are, in the process that asks, the batches that have been asked for and have not come.
    """

    def __init__(self, dataset: VideoDataset) -> None:
        """The list of `dataset` counts for nothing."""
        self.dataset, self.size = dataset, dataset.size
        self.waiting: deque[list[Asked]] = deque()

    def __getitem__(self, asked: Asked) -> Sample:
        self.dataset.annotations = Annotations.of_paths([asked.path])
        return self.dataset[0]._replace(place=torch.tensor(asked.place))

    def name(self, video: int) -> str:
        """What may be shown of the path of a video that is waited for, by its number."""
        return next((shown(one.path) for batch in self.waiting for one in batch if one.video == video), "a video")


class GroupReader(Generic[Group]):
    """Batches of the videos of groups, group after group, by the same reading processes; a batch is of one group.

    Iterating yields each group and its paths with the batches of this process' share of it, which are to be taken
    before the next group is asked for. A share is that of `evaluation_loader`; it may be empty. A sample's `place` is
    that in its group. `groups` are taken a few batches before their turn.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        groups: Iterable[tuple[Group, Sequence[str]]],
        *,
        batch_size: int,
        workers: int,
        rank: int,
        world: int,
        pin_memory: bool,
        timeout: float = 0,
    ) -> None:
        """`groups` are their paths, each with what is to be yielded; `timeout` as in `TrainingData`."""
        self.groups, self.batch_size, self.rank, self.world = groups, batch_size, rank, world
        self.videos = VideosByPath(dataset)
        # Groups that are waited for, and the number of their batches.
        self._begun: deque[tuple[tuple[Group, Sequence[str]], int]] = deque()
        self.loader = DataLoader(
            WatchedDataset(self.videos, workers),
            batch_sampler=self._ask(),
            collate_fn=_collate_some,
            num_workers=workers,
            pin_memory=pin_memory,
            worker_init_fn=leave_signals_to_parent,
            timeout=timeout if workers else 0,
        )

    def __iter__(self) -> Iterator[tuple[tuple[Group, Sequence[str]], Iterator[Sample]]]:
        batches = cast(Iterator[Sample | None], read(self.loader))
        for first in batches:
            group, count = self._begun.popleft()
            yield group, self._of_a_group(first, islice(batches, count - 1))

    def _of_a_group(self, first: Sample | None, others: Iterator[Sample | None]) -> Iterator[Sample]:
        self.videos.waiting.popleft()
        if first is not None:
            yield first
        for batch in others:
            self.videos.waiting.popleft()
            if batch is not None:
                yield batch

    def _ask(self) -> Iterator[list[Asked]]:
        """The batches of this process; of a group of which it has no video an empty one, by which the group is met."""
        number = 0
        for group, paths in self.groups:
            share = range(self.rank, len(paths), self.world)
            asked = [Asked(paths[place], place, number + k) for k, place in enumerate(share)]
            number += len(asked)
            batches = [asked[k : k + self.batch_size] for k in range(0, len(asked), self.batch_size)] or [[]]
            self._begun.append(((group, paths), len(batches)))
            for batch in batches:
                self.videos.waiting.append(batch)
                yield batch


def _collate_some(items: Sequence[Sample | Mistake]) -> Sample | Mistake | None:
    return collate(items) if items else None
