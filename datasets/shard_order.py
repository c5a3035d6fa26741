"""The order of an epoch over videos in shards: shards at random, each front to back, shuffled in a buffer.

A shard is a `.tar` archive of many videos, as of WebDataset. Everything here is a function of the list, the seed, the
epoch and the number of processes; nothing is read. So a resume knows without reading which videos are left, and from
which shard and place on they lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.epoch_order import EpochSampler
from echoviewclip.datasets.video.tar import split_path
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.seeding import generator

LANES = (12, 6, 4, 3, 2, 1)  # so that many numbers of reading processes share the most


class Turn(NamedTuple):
    """A video whose turn it is, and what its process reads before: a part of the epoch's plan for one lane.

    Attributes:
        video: its place in the list.
        lane: the stretch of shards that it lies in; one process reads a lane, front to back.
        run: counts up where an epoch, or what is left of it, begins.
        ahead: places in the list of videos to read now and to keep until their turn, in the order in which they lie.
    """

    video: int
    lane: int
    run: int
    ahead: list[int]


class Shards:
    """Which videos of a list lie in which shard.

    Attributes:
        videos: int64 [N], places in the list, shard by shard, in the order of the list within a shard.
        starts: int64 [S + 1], where in `videos` each shard begins.
    """

    def __init__(self, listed: Annotations) -> None:
        """Raises UserError where a video lies in no shard."""
        numbers: dict[str, int] = {}
        shard_of = np.empty(len(listed), np.int64)
        for i, path in enumerate(listed.paths()):
            if (parts := split_path(path)) is None:
                raise UserError(
                    f"{listed.file}:{listed.lines[i]}: DATA.SHUFFLE_BUFFER reads shards, and this video lies in none "
                    "(SHARD.tar/VIDEO); set it to 0, or write shards with tools/prepare.py --shards"
                )
            shard_of[i] = numbers.setdefault(parts[0], len(numbers))
        self.videos = np.argsort(shard_of, kind="stable")
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(shard_of, minlength=len(numbers)))])

    def __len__(self) -> int:
        return len(self.starts) - 1

    def order(self, random: np.random.Generator) -> np.ndarray:
        """All videos, int64 [N]: shards in random order, each front to back."""
        return np.concatenate([self.videos[self.starts[s] : self.starts[s + 1]] for s in random.permutation(len(self))])


def count_shards(listed: Annotations) -> int:
    """How many archives the videos of a list lie in; 0 where one of them lies in none."""
    archives = set()
    for path in listed.paths():
        if (parts := split_path(path)) is None:
            return 0
        archives.add(parts[0])
    return len(archives)


class ShardSampler(EpochSampler):
    """This process' share of an epoch as turns, all shares equally long.

    The shards of an epoch in their order are one long row of videos, of which each process has a stretch, and of this
    each lane one. Batch k is of lane k mod `lanes`: reading processes take batches in turn, so that each has lanes of
    its own where their number divides that of the lanes, and the order is the same whatever that number.
    """

    def __init__(self, shards: Shards, seed: int, rank: int, world: int, *, batch_size: int, buffer: int) -> None:
        """`buffer`: videos that the lanes of a process hold together at most, each one at least."""
        super().__init__(len(shards.videos), seed, rank, world)
        self.shards, self.batch_size, self.run = shards, batch_size, 0
        self.lanes = next(lanes for lanes in LANES if lanes <= max(1, len(shards) // world))
        self.buffer = max(1, buffer // self.lanes)
        self.lane_of = np.arange(len(self)) // batch_size % self.lanes  # of each of the share's places in the epoch

    def readers(self, most: int) -> int:
        """The greatest number of reading processes up to `most` that share the lanes; 0 stays 0."""
        return next((count for count in range(most, 0, -1) if self.lanes % count == 0), 0)

    def order(self, epoch: int) -> np.ndarray:
        """See `EpochSampler`."""
        shares = []
        for rank in range(self.world):
            share = np.empty(len(self), np.int64)
            for lane, (row, order) in enumerate(self._lanes(epoch, rank)):
                share[self.lane_of == lane] = row[order]
            shares.append(share)
        return np.stack(shares, axis=1).ravel()

    def __iter__(self) -> Iterator[Turn]:  # type: ignore[override]
        self.run += 1
        left = []
        for lane, (row, order) in enumerate(self._lanes(self.epoch, self.rank)):
            left.append(_plan(row, order[np.count_nonzero(self.lane_of[: self.skip] == lane) :]))
        for lane in self.lane_of[self.skip :].tolist():
            video, ahead = next(left[lane])
            yield Turn(video, lane, self.run, ahead)

    def _lanes(self, epoch: int, rank: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each lane of a process its videos as they lie and the order of their turns, both int64 [n]."""
        row = np.resize(self.shards.order(generator(self.seed, epoch)), len(self) * self.world)
        row = row[rank * len(self) : (rank + 1) * len(self)]
        ends = np.cumsum(np.bincount(self.lane_of, minlength=self.lanes))
        for lane, part in enumerate(np.split(row, ends[:-1])):
            yield part, shuffled(len(part), self.buffer, generator(self.seed, epoch, rank, lane, 1))


def shuffled(count: int, buffer: int, random: np.random.Generator) -> np.ndarray:
    """The order in which 0 … count − 1 leave a shuffle buffer, int64 [count].

    The buffer holds `buffer` of them; each time one of those in it leaves at random, and the next one takes its place.
    """
    draws = random.integers(np.minimum(buffer, count - np.arange(count))).tolist()
    held, order = list(range(min(buffer, count))), np.empty(count, np.int64)
    for k, draw in enumerate(draws):
        order[k] = held[draw]
        if k + buffer < count:
            held[draw] = k + buffer
        else:
            held[draw] = held[-1]
            held.pop()
    return order


def _plan(row: np.ndarray, order: np.ndarray) -> Iterator[tuple[int, list[int]]]:
    """Each video whose turn is left, and which have to be read before: those that lie up to it and have not been."""
    lying = np.sort(order)
    upto = np.searchsorted(lying, np.maximum.accumulate(order), side="right")
    for place, start, end in zip(order.tolist(), [0, *upto[:-1].tolist()], upto.tolist(), strict=True):
        yield int(row[place]), row[lying[start:end]].tolist()
