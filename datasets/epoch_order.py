"""The order of an epoch and the share that each process has of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from echoviewclip.utils.seeding import generator


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
