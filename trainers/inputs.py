"""What a training step looks at: clips as the model sees them, or what its frozen part has computed from them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from echoviewclip.datasets.ahead import sent_ahead
from echoviewclip.datasets.blending import Blending
from echoviewclip.datasets.cropping import cut_clips, send_pixels
from echoviewclip.datasets.loader import TrainingData
from echoviewclip.datasets.outliers import SyntheticOutliers
from echoviewclip.datasets.sample import Remark, Sample
from echoviewclip.models.outputs import FrozenFeatures
from echoviewclip.trainers.stages import Stage
from echoviewclip.utils.distributed import rank
from echoviewclip.utils.seeding import generator


class Batch(NamedTuple):
    """B videos and M synthetic outliers made of them, on the device but for `place`.

    Attributes:
        seen: normalised clips [B + M, T, 3, S, S], or the frozen features of as many.
        lit: bool [B + M, S, S], the pixels that are not black, in main memory (`VideoCLIP.forward`); None: all count.
        targets: float32 [B + M, K], those of outliers zero.
        place: int64 [B], the videos' places in the list.
        faults: each video that could not be read for this batch, and why.
    """

    seen: Tensor | FrozenFeatures
    lit: np.ndarray | None
    targets: Tensor
    place: Tensor
    faults: list[Remark]


class Inputs(Protocol):
    """The batches of a training."""

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """Those of an epoch but the first `skip`; raises as `TrainingData.epoch` does."""


class PixelInputs:
    """Clips that are read, augmented and normalised anew in each epoch: a function of (seed, epoch, batch, process)."""

    def __init__(self, config: CfgNode, stage: Stage, data: TrainingData, device: torch.device) -> None:
        self.config, self.stage, self.data, self.device = config, stage, data, device
        self.blending = Blending(config.AUG.MIXUP, config.AUG.CUTMIX, config.AUG.MIXUP_SWITCH_PROB)
        self.outliers = SyntheticOutliers(config.AUG.OUTLIERS if stage.learns_outliers else ())

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """See `Inputs`."""
        device = self.device
        batches = sent_ahead(self.data.epoch(epoch, skip), partial(send_pixels, device=device), device)
        for number, batch in enumerate(batches, start=skip):
            key = generator(self.config.SEED, epoch, number, rank())
            key.integers(2**63)  # the training loop's
            clips = cut_clips(batch, self.config.DATA.INPUT_SIZE).squeeze(1)
            video = self.data.transform(clips, batch.seed)
            lit = None if batch.lit is None else self._lit(batch, batch.lit, copy.deepcopy(key))
            said = (values.to(device, non_blocking=True) for values in (batch.label, batch.score, batch.defects))
            video, targets = self.blending(video, self.stage.targets(*said), key)
            video, targets = self.outliers(video, targets, batch.label.numpy(), key)
            yield Batch(video, lit, targets, batch.place, batch.faults)

    def _lit(self, batch: Sample, lit: Tensor, key: np.random.Generator) -> np.ndarray:
        """Where the clips made of a batch are lit, bool [B + M, S, S]; `lit` is bool [B, 1, S, S], `key` the batch's.

        What is done to the clips is done, by the same draws, to clips that are red where these are lit: only one
        colour, so that an outlier of one clip's grey and another's colours is lit where either is.
        """
        lit = self.data.transform.move(lit.squeeze(1), batch.seed)
        video = torch.stack([lit, *2 * [torch.zeros_like(lit)]], dim=1).unsqueeze(1).float()
        video, targets = self.blending(video, torch.zeros(len(video), 1), key)
        video, _ = self.outliers(video, targets, batch.label.numpy(), key)
        return (video != 0).any(dim=(1, 2)).numpy()
