"""What the frozen part of a model sees in the training videos, computed once and kept on disk (TRAIN.CACHE_FEATURES).

Draw d is what epoch d would train on: its batches with their augmentation, blending and synthetic outliers. Epoch e
trains on draw e mod TRAIN.CACHE_DRAWS: the features of its own videos in its own order, and the draw's outliers. So
the epochs below the number of draws are those of a run without a cache, and where nothing but the order is random, all
are. A draw is completed before the first epoch that needs it; each process computes the batches of its share.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from echoviewclip.datasets.ahead import sent_ahead
from echoviewclip.datasets.configured import reading_processes
from echoviewclip.datasets.loader import TrainingData
from echoviewclip.datasets.sample import Mistake
from echoviewclip.inference.precision import Precision
from echoviewclip.models.outputs import FrozenFeatures
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.trainers.cache_files import HEADER, Address, CachedClips, join, write_batch
from echoviewclip.trainers.cache_key import cache_key
from echoviewclip.trainers.inputs import Batch, PixelInputs
from echoviewclip.trainers.stages import Stage
from echoviewclip.utils.distributed import barrier, from_main, gather, is_main, rank, world
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.progress import Progress
from echoviewclip.utils.stopping import Stop, leave_signals_to_parent

log = logging.getLogger(__name__)

GB = 1e9  # bytes


class FeatureCache:
    """The batches of a training as frozen features; `Inputs` of a `Trainer`.

    Attributes:
        folder: where the features of exactly these weights, videos and settings are.
        draws: how many draws the epochs take in turn.
    """

    def __init__(
        self, config: CfgNode, stage: Stage, model: VideoCLIP, precision: Precision, data: TrainingData, stop: Stop
    ) -> None:
        """Says how much disk it will take. Raises UserError where the image tower trains or that is too much."""
        if not model.image_frozen:
            raise UserError(
                f"TRAIN.CACHE_FEATURES True: stage {config.STAGE} trains the image tower, so what it sees in a video "
                "changes with every step; set it False"
            )
        self.config, self.stage, self.model, self.precision = config, stage, model, precision
        self.data, self.stop = data, stop
        self.pixels = PixelInputs(config, stage, data, precision.device)
        self.draws = min(config.TRAIN.CACHE_DRAWS, config.TRAIN.EPOCHS)
        key = cache_key(config, stage, model, precision, data.dataset.annotations) if is_main() else ""
        self.folder = cache_root(config) / from_main(key)
        stage.train_mode(model)
        frames, size = config.DATA.NUM_FRAMES, config.DATA.INPUT_SIZE
        # Of one clip: shapes and types of what is computed.
        self.example = self._encode(torch.zeros(1, frames, 3, size, size, device=precision.device))
        self._check_room()

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """See `Inputs`; completes the epoch's draw before."""
        draw = epoch % self.draws
        self._complete(draw)
        self.data.begin(skip)
        workers = reading_processes(self.config)
        loader = DataLoader(
            CachedClips(self.folder),
            batch_sampler=self._plan(epoch, draw)[skip:],
            collate_fn=join,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=leave_signals_to_parent,
            timeout=self.config.TRAIN.TIMEOUT if workers else 0,
        )
        yield from sent_ahead(self._read(loader), self._on_device, self.precision.device)

    def _read(self, loader: DataLoader) -> Iterator[Batch]:
        for batch in loader:
            if isinstance(batch, Mistake):
                raise UserError(batch.text)
            self.data.note(batch.faults)
            yield batch

    def _plan(self, epoch: int, draw: int) -> list[list[Address]]:
        """Where this process finds the clips of each batch of an epoch, its outliers last."""
        sampler, size = self.data.sampler, self.data.batch_size
        order = sampler.order(draw)
        place = np.arange(len(order))[rank() :: world()]
        if epoch != draw:
            first = np.empty(sampler.videos, np.int64)  # where in the draw each video stands
            first[order[::-1]] = np.arange(len(order))[::-1]
            place = first[sampler.order(epoch)[rank() :: world()]]
        process, place = place % world(), place // world()
        clips = [
            Address(draw, *found)
            for found in zip(process.tolist(), (place // size).tolist(), (place % size).tolist(), strict=True)
        ]
        plan = []
        for number, rows in enumerate(self._rows()):
            own = clips[number * size : (number + 1) * size]
            plan.append(own + [Address(draw, rank(), number, row) for row in range(len(own), rows)])
        return plan

    def _rows(self) -> list[int]:
        """How many clips each of this process' batches of an epoch has with its outliers."""
        share, size = len(self.data.sampler), self.data.batch_size
        videos = [min(size, share - start) for start in range(0, share, size)]
        return [count + self.pixels.outliers.count(count) for count in videos]

    def _complete(self, draw: int) -> None:
        """Computes what is missing of a draw, here and in the other processes. Raises UserError and Stopped."""
        files = [Address(draw, rank(), number, 0).file(self.folder) for number in range(self.data.batches)]
        start = next((number for number, file in enumerate(files) if not file.is_file()), len(files))
        rounds = max(gather(len(files) - start))
        if not rounds:
            return
        log.info(
            "computing the features of draw %d of %d, batch %d of %d on", draw + 1, self.draws, start + 1, len(files)
        )
        account = dict(self.data.bad)  # of the epoch under way
        batches = self.stop.between(self.pixels.epoch(draw, skip=start), rounds)
        with Progress("cache features", len(files), "batches", done=start, shown=is_main()) as progress:
            for file, batch in zip(files[start:], batches, strict=True):
                assert isinstance(batch.seen, Tensor)
                write_batch(file, self._encode(batch.seen, batch.lit).map(self._stored), batch)
                progress.add()
        self.data.bad = account
        barrier()

    def _encode(self, video: Tensor, lit: np.ndarray | None = None) -> FrozenFeatures:
        with torch.no_grad(), self.precision.autocast():
            return self.model.encode_frozen(video, self.stage.parts, lit)

    def _stored(self, tensor: Tensor) -> Tensor:
        """As the cache holds it. Raises UserError where half precision does not reach as far."""
        if tensor.dtype != torch.float32 or self.config.TRAIN.CACHE_DTYPE == "computed":
            return tensor
        half = tensor.half()
        if (half.isinf() & tensor.isfinite()).any():
            raise UserError(
                "TRAIN.CACHE_DTYPE half: the features reach beyond the range of float16; set it to computed"
            )
        return half

    def _on_device(self, batch: Batch) -> Batch:
        """A batch as it was computed: on the device, in its type."""
        device = self.precision.device
        assert isinstance(batch.seen, FrozenFeatures)
        seen = FrozenFeatures(
            *(
                None if tensor is None or like is None else tensor.to(device, non_blocking=True).to(like.dtype)
                for tensor, like in zip(batch.seen, self.example, strict=True)
            )
        )
        return batch._replace(seen=seen, targets=batch.targets.to(device, non_blocking=True))

    def _check_room(self) -> None:
        """Says how much disk the draws take; raises UserError, on all processes, where that is too much."""
        problem = from_main(self._problem() if is_main() else "")
        if problem:
            raise UserError(problem)

    def _problem(self) -> str:
        """What speaks against it, or nothing."""
        root, limit = self.folder.parent, self.config.TRAIN.CACHE_LIMIT
        if not self.config.TRAIN.CACHE_FOLDER:
            for other in root.glob("*"):  # of other weights, videos or settings, which no other run uses
                if other != self.folder:
                    shutil.rmtree(other)
        files = self._files()
        needed, there = sum(files.values()), sum(size for file, size in files.items() if file.is_file())
        others = sum(file.stat().st_size for file in root.rglob("*") if file.is_file() and file not in files)
        free = shutil.disk_usage(next(path for path in (root, *root.parents) if path.exists())).free
        taken = f"{self._draws_in_words()} take {_shown(needed)} in {root}"
        log.info("feature cache: %s, of which %s are there", taken, _shown(there))
        ways = "lower TRAIN.CACHE_DRAWS, name a folder on another disk (TRAIN.CACHE_FOLDER), or set it False"
        if needed + others > limit * GB:
            beside = f" beside {_shown(others)} of other caches" if others else ""
            return (
                f"TRAIN.CACHE_FEATURES True: {taken}{beside}, more than TRAIN.CACHE_LIMIT {limit:g} GB; raise that, "
                f"{ways}"
            )
        if needed - there > free:
            return (
                f"TRAIN.CACHE_FEATURES True: {taken}, of which {_shown(there)} are there and {_shown(free)} are free; "
                f"{ways}"
            )
        return ""

    def _files(self) -> dict[Path, int]:
        """Each file of the draws, of all processes, and the bytes that it takes at most."""
        clip = self.clip_bytes()
        return {
            Address(draw, process, number, 0).file(self.folder): count * clip + HEADER
            for draw in range(self.draws)
            for process in range(world())
            for number, count in enumerate(self._rows())
        }

    def _draws_in_words(self) -> str:
        videos, clips = len(self.data.sampler), sum(self._rows())
        made = f" and {(clips - videos) * world()} outliers" if clips > videos else ""
        return f"{self.draws} draw{'s' * (self.draws > 1)} of {videos * world()} videos{made}"

    def clip_bytes(self) -> int:
        """Of a clip in the cache."""
        stored = [self._stored(tensor) for tensor in self.example if tensor is not None]
        defects = torch.zeros(1, len(self.config.MODEL.DEFECTS))
        stored.append(self.stage.targets(torch.zeros(1, dtype=torch.int64), torch.zeros(1), defects))
        lit = self.config.DATA.INPUT_SIZE**2 * self.config.MODEL.DROP_BLACK
        return sum(tensor.nbytes for tensor in stored) + torch.int64.itemsize + lit


def own_root(config: CfgNode) -> Path:
    """The folder of a run's own caches."""
    return Path(config.OUTPUT) / "feature_cache"


def cache_root(config: CfgNode) -> Path:
    """The folder that a run's cache is in, a folder for each key."""
    return Path(config.TRAIN.CACHE_FOLDER) if config.TRAIN.CACHE_FOLDER else own_root(config)


def remove_own_cache(config: CfgNode) -> None:
    """Removes what a run has cached for itself alone; a cache in TRAIN.CACHE_FOLDER stays for other runs."""
    if is_main() and not config.TRAIN.CACHE_FOLDER and own_root(config).is_dir():
        shutil.rmtree(own_root(config))


def _shown(size: float) -> str:
    return f"{size / GB:.3g} GB"
