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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.checkpoint import load_checkpoint, write_checkpoint
from utils.errors import UserError
from utils.files import atomic_path, temporary_path

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.pth", "last.prev.pth", "best.pth"


def commit(folder: Path, content: dict[str, Any], also: Sequence[str] = (), keep_previous: bool = True) -> None:
    """Writes `content` under the names `also` and then as last.pth, whose former file becomes last.prev.pth.

    With `keep_previous` False the former last.pth is damaged, and last.prev.pth stays as it is. Raises UserError where
    the disk is full.
    """
    with atomic_path(folder / LAST) as written:
        write_checkpoint(written, content)
        for name in also:
            with atomic_path(folder / name) as copy:
                shutil.copyfile(written, copy)
        if keep_previous and (folder / LAST).is_file():
            _also_named(folder / LAST, folder / PREVIOUS)


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


def restore_best(folder: Path, content: dict[str, Any], figure: str) -> float:
    """Puts the best.pth that a checkpoint of a run counts on into `folder`; returns the best figure from now on.

    It is there already, or it is the checkpoint itself, or lies beside that. Where it is nowhere, the best of the
    evaluations to come is kept: −inf is returned, unless best.pth is of an evaluation that the run is going to repeat.

    Args:
        content: the checkpoint that the run goes on from, `file` its path.
        figure: the metric that says which checkpoint is best.
    """
    training, source = content["training"], Path(content["file"])
    best = training["best"]
    if best == -math.inf:
        return best
    beside = [source.parent / BEST]
    if "best_epoch" in training:
        beside.append(source.parent / checkpoint_of_epoch(training["best_epoch"]))
    for file in dict.fromkeys((folder / BEST, source, *beside)):
        if _read(file).get("metrics", {}).get(figure) == best:
            if file != folder / BEST:
                with atomic_path(folder / BEST) as copy:
                    shutil.copyfile(file, copy)
                log.warning("%s is written again from %s", folder / BEST, file)
            return best
    if _read(folder / BEST).get("training", {}).get("step", 0) > training["step"]:
        log.warning("%s is of a later step than %s, from which the run goes on", folder / BEST, source)
        return best
    log.warning("the best checkpoint until now (%s %.4f) is lost: best.pth will be the best from now on", figure, best)
    return -math.inf


def _read(file: Path) -> dict[str, Any]:
    """A checkpoint, empty where there is none that can be read."""
    try:
        return load_checkpoint(file)
    except UserError:
        return {}
