"""Optimiser steps whose loss or gradient is not finite: each is left out, and too many in a row end the run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from echoviewclip.inference.checkpoint import Checkpoint
from echoviewclip.models.outputs import present
from echoviewclip.utils.distributed import from_main, gather
from echoviewclip.utils.errors import UserError

log = logging.getLogger(__name__)

SHOWN = 20  # videos that a message names


def poisoned(loss: Tensor) -> Tensor:
    """`loss`, whose gradients are all nan where it is not finite itself.

    Nothing else has to be tested or exchanged then: the norm of the gradients, which all processes share, tells of the
    losses of every process and every batch of the optimiser step.
    """
    return loss * (loss.detach() * 0 + 1)


Batch = tuple[int, int, Tensor, Tensor]  # epoch, number in it, videos, loss


@dataclass
class Step:
    """An optimiser step: what it was made of here, and whether it failed (a bool on the device)."""

    batches: list[Batch]
    failed: Tensor


class Guard:
    """Counts the optimiser steps that were left out, and raises UserError after `limit` of them in a row.

    The device itself leaves a step out (`Precision.step`), on all processes alike. On a CPU the outcome is read at
    once; on other devices with the next report or save, so that no step waits for the one before.
    """

    def __init__(self, limit: int, name: Callable[[int], str], saved: Callable[[], str]) -> None:
        """`name` gives the name of a video of the training list, `saved` says what is on disk."""
        self.limit, self.name, self.saved = limit, name, saved
        self.left_out, self.in_a_row = 0, 0
        self._batches: list[Batch] = []  # of the step under way
        self._unread: list[Step] = []

    def saw(self, epoch: int, batch: int, videos: Tensor, loss: Tensor) -> None:
        """A batch of the step under way: its number in the epoch from 0, places in the list int64 [B], its loss."""
        self._batches.append((epoch, batch, videos, loss))

    def stepped(self, failed: Tensor) -> None:
        """The step under way is made, or left out (`failed`, a bool scalar on the device)."""
        self._unread.append(Step(self._batches, failed))
        self._batches = []
        if failed.device.type == "cpu":
            self.read()

    def read(self) -> None:
        """Waits for the device and counts. All processes call this at the same place. Raises UserError."""
        if not self._unread:
            return
        unread, self._unread = self._unread, []
        failures = torch.stack([step.failed for step in unread]).tolist()
        for step, failed in zip(unread, failures, strict=True):
            self.in_a_row = self.in_a_row + 1 if failed else 0
            if failed:
                self._report(step)

    def _report(self, step: Step) -> None:
        self.left_out += 1
        epoch, batch, *_ = step.batches[-1]
        place = f"epoch {epoch + 1}, batch {batch + 1}"
        videos = self._videos(step)
        if self.in_a_row >= self.limit:
            raise UserError(
                f"{place}: the loss or the gradient is not finite, for {self.in_a_row} optimiser steps in a row "
                f"(TRAIN.MAX_BAD_STEPS); they were left out, and {self.saved()}; lower TRAIN.LR, set "
                f"TRAIN.CLIP_GRAD 1 or look at the videos of the last step: {videos}"
            )
        log.warning(
            "%s: the loss or the gradient is not finite, so the step is left out; its videos: %s", place, videos
        )

    def _videos(self, step: Step) -> str:
        """The names of the videos in the batches whose loss was not finite, of all processes; else of all batches."""
        shares = gather([(bool(loss.isfinite()), videos.tolist()) for *_, videos, loss in step.batches])
        batches = [batch for share in shares for batch in share]
        chosen = [videos for finite, videos in batches if not finite] or [videos for _, videos in batches]
        names = list(dict.fromkeys(self.name(i) for videos in chosen for i in videos))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return ", ".join(names[:SHOWN]) + more


class RunningStatistics:
    """The running statistics of a model's batch norms, which a batch moves before its loss is known."""

    def __init__(self, model: nn.Module) -> None:
        self.named = running_statistics(model)
        self._kept: list[Tensor] = []

    def keep(self) -> None:
        """Remembers them, before the first batch of an optimiser step."""
        self._kept = [value.clone() for value in self.named.values()]

    @torch.no_grad()
    def put_back(self, failed: Tensor) -> None:
        """As they were when they were kept, where the step is left out (`failed`, a bool scalar on the device)."""
        for value, kept in zip(self.named.values(), self._kept, strict=True):
            value.copy_(torch.where(failed, kept, value))


def running_statistics(model: nn.Module) -> dict[str, Tensor]:
    """Mean, variance and number of batches of each batch norm, by their names in the model's state."""
    return {
        f"{name}.{key}": value
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        for key, value in module.named_buffers()
    }


def check_finite(checkpoint: Checkpoint, saved: Callable[[], str]) -> None:
    """Raises UserError, on all processes, where the main one's weights are of no use; `saved` says what is on disk."""
    training, weights = present(checkpoint.training), checkpoint.weights
    if training.weights is not None:
        weights = training.weights | {f"average of {name}": value for name, value in weights.items()}
    bad = from_main(not_finite(weights))
    if bad:
        names = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if bad[3:] else "")
        raise UserError(
            f"the weights are not finite after step {training.step} ({names}) and are not saved; "
            f"{saved()}; lower TRAIN.LR or set TRAIN.CLIP_GRAD 1"
        )


def not_finite(weights: dict[str, Tensor]) -> list[str]:
    """Names of tensors without a finite norm: they hold nan or inf, or values whose squares are beyond float32."""
    return [name for name, value in weights.items() if value.is_floating_point() and not value.norm().isfinite()]
