"""What a run keeps: `last.pth` says where the run stands, and all its other files follow from it.

Other checkpoints are written before the `last.pth` that counts on them, and lines of metrics.jsonl that a `last.pth`
does not count are dropped when the run goes on. So a run that is killed at any moment repeats what it did after its
`last.pth`, and ends with the files of a run that was not killed.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from yacs.config import CfgNode

from echoviewclip.inference.checkpoint import Checkpoint, read_file
from echoviewclip.models.outputs import present
from echoviewclip.trainers.history import MetricsLog
from echoviewclip.utils.checkpoint import save_checkpoint, write_checkpoint
from echoviewclip.utils.distributed import from_main, is_main
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path, temporary_path

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.pth", "last.prev.pth", "best.pth"


class RunFiles:
    """The files of a training, and which of its checkpoints is the best.

    Attributes:
        history: the lines of metrics.jsonl.
        figure: the metric that says which checkpoint is best.
        best, best_epoch: the best figure so far and the epoch, from 0, that it is of.
        saved: optimiser steps that are in last.pth; −1 where this process has not written it.
    """

    def __init__(self, config: CfgNode, figures: Sequence[str]) -> None:
        """The first of `figures` that any evaluation of the run has says which checkpoint is best."""
        self.config, self.figures, self.folder = config, figures, Path(config.OUTPUT)
        self.figure = figures[-1]
        self.history = MetricsLog(self.folder)
        self.best, self.best_epoch = -math.inf, -1
        self.start, self.saved = 0, -1
        self._saved_at = time.monotonic()
        self._last_is_whole = True  # the last.pth that is there, if any, can be read

    def go_on(self, checkpoint: Checkpoint, step: int) -> None:
        """Takes best.pth and metrics.jsonl back to where a checkpoint left them, after optimiser step `step`."""
        training, source = present(checkpoint.training), present(checkpoint.file)
        here = source.parent.resolve() == self.folder.resolve()
        self._last_is_whole = here and source.name == LAST
        self.start, self.figure, self.best_epoch = step, training.figure, training.best_epoch
        if is_main():
            self.best = restore_best(self.folder, checkpoint)
            self.history.go_on(source.parent, training.lines, step, same=here and source.name in (LAST, PREVIOUS))
        self.best = from_main(self.best)

    def due_by_steps(self, step: int) -> bool:
        """Whether SAVE_STEPS asks for a save after optimiser step `step`."""
        every = self.config.TRAIN.SAVE_STEPS
        return every > 0 and step % every == 0

    def due_by_time(self) -> bool:
        """Whether SAVE_MINUTES asks for a save; the clock of the main process decides, and others have to be told."""
        minutes = self.config.TRAIN.SAVE_MINUTES
        return is_main() and minutes > 0 and time.monotonic() - self._saved_at > 60 * minutes

    def names_of_epoch(self, epoch: int, metrics: dict[str, float]) -> list[str]:
        """The checkpoints beside last.pth that an epoch leaves, ckpt_epoch_N.pth by SAVE_FREQ and best.pth."""
        if metrics:
            self._choose_figure(metrics)
        value, frequency = metrics.get(self.figure, math.nan), self.config.SAVE_FREQ
        better = value > self.best
        if better:
            self.best, self.best_epoch = value, epoch
        if metrics:
            log.info("epoch %d  %s %.4f%s", epoch + 1, self.figure, value, "  (best so far)" if better else "")
        kept = frequency > 0 and (epoch + 1) % frequency == 0
        return [BEST] * better + [checkpoint_of_epoch(epoch)] * kept

    def _choose_figure(self, metrics: dict[str, float]) -> None:
        """Moves to the first figure that the evaluation has, and begins anew by it.

        Never back: where that figure is not defined, or the lists lack what it needs, an evaluation is not the best.
        """
        preferred = self.figures
        if self.best > -math.inf and self.figure in self.figures:
            preferred = self.figures[: self.figures.index(self.figure)]
        figure = next((name for name in preferred if name in metrics), self.figure)
        if figure != self.figure and self.best > -math.inf:
            log.warning("best.pth was chosen by %s, from now on it is by %s", self.figure, figure)
            self.best = -math.inf
        self.figure = figure

    def commit(self, checkpoint: Checkpoint, also: Sequence[str] = ()) -> None:
        """Writes a checkpoint under the names `also` and then as last.pth, whose former file becomes last.prev.pth.

        As best.pth it has no optimiser's state: nobody goes on from it. A former file that is damaged is not kept.
        Raises UserError where the disk is full.
        """
        self.history.flush()
        with atomic_path(self.folder / LAST) as written:
            write_checkpoint(written, checkpoint.content())
            for name in also:
                with atomic_path(self.folder / name) as copy:
                    if name == BEST:
                        write_checkpoint(copy, checkpoint.answering.content())
                    else:
                        shutil.copyfile(written, copy)
            if self._last_is_whole and (self.folder / LAST).is_file():
                _also_named(self.folder / LAST, self.folder / PREVIOUS)

    def note_saved(self, step: int) -> None:
        """last.pth holds the weights after `step`; on all processes, of which the main one has written it."""
        self.saved, self._last_is_whole, self._saved_at = step, True, time.monotonic()

    def saved_until(self) -> str:
        """What this run has left on disk, in words."""
        if self.saved < 0:
            return f"nothing was saved since the run began at step {self.start}"
        return f"{self.folder / LAST} holds the weights after step {self.saved}"


def _also_named(file: Path, name: Path) -> None:
    """Gives a file a second name, so that it is there at every moment; a disk without hard links lets it be renamed."""
    link = temporary_path(name)
    try:
        os.link(file, link)
        link.replace(name)
    except OSError:
        file.replace(name)
    finally:
        link.unlink(missing_ok=True)


def checkpoint_of_epoch(epoch: int) -> str:
    """The name of the checkpoint that SAVE_FREQ keeps; `epoch` counts from 0."""
    return f"ckpt_epoch_{epoch}.pth"


def restore_best(folder: Path, checkpoint: Checkpoint) -> float:
    """Puts the best.pth that a checkpoint of a run counts on into `folder`; returns the best figure from now on.

    It is there already, or it is the checkpoint itself, or lies beside that. Where it is nowhere, the best of the
    evaluations to come is kept: −inf is returned, unless best.pth is of an evaluation that the run is going to repeat.
    """
    training, source = present(checkpoint.training), present(checkpoint.file)
    best, figure = training.best, training.figure
    if best == -math.inf:
        return best
    beside = [source.parent / BEST, source.parent / checkpoint_of_epoch(training.best_epoch)]
    for file in dict.fromkeys((folder / BEST, source, *beside)):
        kept = _read(file)
        if kept and kept.metrics.get(figure) == best:
            if file != folder / BEST:
                save_checkpoint(folder / BEST, kept.answering.content())
                log.warning("%s is written again from %s", folder / BEST, file)
            return best
    kept = _read(folder / BEST)
    if kept and kept.epoch + 1 > training.epoch + training.batch / training.batches:
        log.warning("%s is of a later epoch than %s, from which the run goes on", folder / BEST, source)
        return best
    log.warning("the best checkpoint until now (%s %.4f) is lost: best.pth will be the best from now on", figure, best)
    return -math.inf


def _read(file: Path) -> Checkpoint | None:
    """A checkpoint of a run, None where there is none that can be read."""
    try:
        found = read_file(file)
    except UserError:
        return None
    return found if isinstance(found, Checkpoint) else None
