"""Batches: who reads which video when, as a function of seed and epoch; worker processes; shares of processes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from torch.utils.data import DataLoader

from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.epoch_order import BalancedSampler, EpochSampler
from echoviewclip.datasets.reading import WatchedDataset, read
from echoviewclip.datasets.sample import Remark, Sample, collate
from echoviewclip.datasets.shard_order import Shards, ShardSampler
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.utils.distributed import gather
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.stopping import leave_signals_to_parent

log = logging.getLogger(__name__)


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
        shuffle_buffer: int = 0,
        balanced_over: np.ndarray | None = None,
    ) -> None:
        """`timeout`: seconds that the reading processes may take for a batch (0: no limit).

        `shuffle_buffer`: the videos lie in shards, which are read front to back and shuffled among so many (0: videos
        are read in any order). Then `workers` may be fewer, so that they share the lanes. Raises UserError where a
        video lies in no shard.
        `balanced_over`: classes int [N] of the videos, of which an epoch then holds equally many; not of shards.
        """
        self.dataset, self.transform = dataset, transform
        self.sampler = EpochSampler(len(dataset), seed, rank, world)
        if balanced_over is not None:
            self.sampler = BalancedSampler(balanced_over, seed, rank, world)
        if shuffle_buffer:
            shards = Shards(dataset.annotations)
            self.sampler = ShardSampler(shards, seed, rank, world, batch_size=batch_size, buffer=shuffle_buffer)
            workers = _sharing(self.sampler, workers)
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


def _sharing(sampler: ShardSampler, workers: int) -> int:
    """How many of the reading processes share the lanes; the log says so where they are fewer."""
    readers = sampler.readers(workers)
    log.info(
        "%d shards are read front to back, %d at once by %d reading processes, with %d videos to be shuffled",
        *(len(sampler.shards), sampler.lanes, readers, sampler.buffer * sampler.lanes),
    )
    if readers < workers:
        log.info("%d of %d reading processes: their number divides that of the shards read at once", readers, workers)
    return readers


def evaluation_loader(
    dataset: VideoDataset,
    *,
    batch_size: int,
    workers: int,
    rank: int,
    world: int,
    pin_memory: bool,
    timeout: float = 0,
    places: Sequence[int] | None = None,
) -> DataLoader:
    """This process' share of a list, or of the `places` in it: each video is in exactly one share, in order."""
    share = (range(len(dataset)) if places is None else places)[rank::world]
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
