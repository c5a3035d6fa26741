"""Batches: who reads which video when, as a function of seed and epoch; worker processes; shares of processes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
from torch.utils.data import DataLoader, Sampler

from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.reading import WatchedDataset, read
from echoviewclip.datasets.sample import Remark, Sample, collate
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.utils.distributed import gather
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.seeding import generator
from echoviewclip.utils.stopping import leave_signals_to_parent

log = logging.getLogger(__name__)


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


class TrainingData:
    """The training list as batches, epoch by epoch, and the account of videos that could not be read."""

    def __init__(
        self,
        dataset: VideoDataset,
        transform: DeviceTransform,
        *,
        batch_size: int,
        workers: int,
        seed: int,
        rank: int,
        world: int,
        pin_memory: bool,
        max_bad_fraction: float,
        timeout: float = 0,
    ) -> None:
        """`timeout`: seconds that the reading processes may take for a batch (0: no limit)."""
        self.dataset, self.transform = dataset, transform
        self.sampler = EpochSampler(len(dataset), seed, rank, world)
        self.batch_size, self.max_bad_fraction = batch_size, max_bad_fraction
        self.batches = -(-len(self.sampler) // batch_size)
        self.bad: dict[str, str] = {}  # why videos could not be read in this epoch, by name
        self._named: set[str] = set()  # which of them the log has named, in any epoch
        self.loader = DataLoader(
            WatchedDataset(dataset, workers),
            batch_size,
            sampler=self.sampler,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            worker_init_fn=leave_signals_to_parent,
            timeout=timeout if workers else 0,
        )

    @property
    def bad_videos(self) -> int:
        """How many videos could not be read so far in this epoch, here and, by `share_faults`, in other processes."""
        return len(self.bad)

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Sample]:
        """The batches of an epoch but the first `skip`.

        Raises UserError with the list once more than the allowed share of the videos could not be read.
        """
        self.begin(skip)
        self.dataset.set_epoch(epoch)
        self.sampler.epoch, self.sampler.skip = epoch, skip * self.batch_size
        for batch in read(self.loader):
            self.note(batch.faults)
            yield batch

    def begin(self, skip: int) -> None:
        """A new epoch's account of unreadable videos; a resume within an epoch (`skip`) goes on counting."""
        self.bad = self.bad if skip else {}

    def share_faults(self) -> None:
        """Joins the accounts of all processes; all have to call this at the same place. Raises as `epoch` does."""
        for share in gather(self.bad):
            self.note(share.items())

    def note(self, faults: Iterable[Remark]) -> None:
        """Counts videos that could not be read, and names new ones in the log. Raises as `epoch` does."""
        new = {name: reason for name, reason in faults if name not in self.bad}
        for name in sorted(new.keys() - self._named):
            log.warning("%s cannot be read and is replaced by another video: %s", name, new[name])
        self._named |= new.keys()
        self.bad |= new
        if len(self.bad) > self.max_bad_fraction * len(self.dataset):
            names = "".join(f"\n  {name}: {reason}" for name, reason in sorted(self.bad.items()))
            raise UserError(
                f"{len(self.bad)} of {len(self.dataset)} training videos cannot be read, more than "
                f"DATA.MAX_BAD_FRACTION {self.max_bad_fraction} allows; fix or remove them:{names}"
            )


def evaluation_loader(
    dataset: VideoDataset, *, batch_size: int, workers: int, rank: int, world: int, pin_memory: bool, timeout: float = 0
) -> DataLoader:
    """This process' share of a list: each video of the list is in exactly one share, in order."""
    share = range(rank, len(dataset), world)
    return DataLoader(
        WatchedDataset(dataset, workers),
        batch_size,
        sampler=share,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=leave_signals_to_parent,
        timeout=timeout if workers else 0,
    )
