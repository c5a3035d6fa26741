"""The order of an epoch and the share that each process has of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from echoviewclip.utils.seeding import generator


class Draw(NamedTuple):
    """A video that an epoch holds more than once.

    Attributes:
        video: its place in the list.
        repeat: how many times the epoch has held it before, from 1: each time it is sampled and augmented again.
    """

    video: int
    repeat: int


class EpochSampler(Sampler[int]):
    """This process' share of an epoch's random order, all shares equally long (the order wraps around at its end).

    The order depends on (seed, epoch) alone; `skip` samples of the share are left out after a resume.
    """

    def __init__(self, videos: int, seed: int, rank: int, world: int) -> None:
        self.videos, self.seed, self.rank, self.world = videos, seed, rank, world
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return -(-self.videos // self.world)

    def order(self, epoch: int) -> np.ndarray:
        """The videos of an epoch as all processes see them, int64 [len(self) · world]: in turn one for each process."""
        return np.resize(generator(self.seed, epoch).permutation(self.videos), len(self) * self.world)

    def __iter__(self) -> Iterator[int]:
        share = self.order(self.epoch)[self.rank :: self.world]
        return iter(share[self.skip :].tolist())


class BalancedSampler(EpochSampler):
    """As `EpochSampler`, with equally many videos of each class in an epoch, as long as one that holds each video once.

    Of N videos and K classes each gives N // K to an epoch, or one more, at random which. A class gives its videos in
    random order, all of them before any a second time; of a larger class each epoch holds others.
    """

    def __init__(self, classes: np.ndarray, seed: int, rank: int, world: int) -> None:
        """`classes` int [N] are those of the videos; numbers that no video has are no classes."""
        super().__init__(len(classes), seed, rank, world)
        self.members = [np.flatnonzero(classes == one) for one in np.unique(classes)]

    def order(self, epoch: int) -> np.ndarray:
        """See `EpochSampler`; a video may stand there several times."""
        random = generator(self.seed, epoch)
        counts = np.full(len(self.members), self.videos // len(self.members))
        counts[random.permutation(len(counts))[: self.videos - counts.sum()]] += 1
        drawn = [_in_turns(members, count, random) for members, count in zip(self.members, counts, strict=True)]
        return np.resize(random.permutation(np.concatenate(drawn)), len(self) * self.world)

    def __iter__(self) -> Iterator[int | Draw]:  # type: ignore[override]
        order = self.order(self.epoch)
        share = slice(self.rank, None, self.world)
        for video, repeat in zip(order[share][self.skip :].tolist(), _repeats(order)[share][self.skip :], strict=True):
            yield Draw(video, repeat) if repeat else video


def _in_turns(members: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` of `members`, int64 [count]: all of them in random order, then in another, and so on."""
    turns = [random.permutation(members) for _ in range(-(-count // len(members)))]
    return np.concatenate([np.empty(0, np.int64), *turns])[:count]


def _repeats(order: np.ndarray) -> list[int]:
    """How many times each video of an order stands before its place."""
    by_video = np.argsort(order, kind="stable")
    starts = np.flatnonzero(np.diff(order[by_video], prepend=-1))
    repeats = np.empty(len(order), np.int64)
    repeats[by_video] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return repeats.tolist()
