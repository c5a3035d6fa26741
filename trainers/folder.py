"""The folder of a run: one process writes to it at a time, and no run takes the place of another unasked."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml
from yacs.config import CfgNode

from echoviewclip.evaluation.prediction_files import NAMES
from echoviewclip.trainers.saving import BEST, LAST, PREVIOUS
from echoviewclip.trainers.trackers.tracker import RUN_IDS
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import HOST, make_folder, writing

log = logging.getLogger(__name__)

LOCK = ".lock"
CHECKPOINTS = (LAST, PREVIOUS, BEST, "ckpt_epoch_*.pth")
OF_A_RUN = ("config.yaml", "metrics.jsonl", *CHECKPOINTS)
REST = (
    "log.txt",
    "progress.png",
    "feature_cache",
    "metrics.json",
    *NAMES,
    "report.html",
    "tensorboard",
    "wandb",
    "mlflow",
    RUN_IDS,
    "evaluation",
)


def results_folder(config: CfgNode) -> Path:
    """Where a run writes: OUTPUT where it trains; an evaluation leaves that alone and has a folder for each list."""
    output = Path(config.OUTPUT)
    return output / "evaluation" / Path(config.DATA.VAL_FILE).stem if config.TEST.ONLY_TEST else output


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Holds a folder, which is made, for this process; the system lets go when the process ends, however it ends.

    Raises UserError where another process holds it.
    """
    make_folder(folder)
    with writing(folder / LOCK):
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            # Not flock, which the worker processes of a killed run would hold on to.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = os.read(file, 200).decode(errors="replace") or "a process that has just begun"
            raise UserError(
                f"{folder}: another run is writing there ({holder}); wait for its end, stop it, or name another folder "
                "(--output DIR)"
            ) from None
        except OSError as error:
            log.warning("%s: the disk has no locks (%s), so see to it that no other run writes there", folder, error)
        os.ftruncate(file, 0)
        with writing(folder / LOCK):
            os.write(file, f"process {os.getpid()} on {HOST}".encode())
        try:
            yield
        finally:
            os.ftruncate(file, 0)
    finally:
        os.close(file)


@contextmanager
def removed_if_unused(folder: Path) -> Iterator[None]:
    """Removes a folder again that was not there before, where the user's mistake ends the run before it begins.

    A run has begun when its config.yaml is there. Parents that were made for the folder are removed, too.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except UserError:
        if new and folder.is_dir() and set(os.listdir(folder)) <= {LOCK, "log.txt"}:
            shutil.rmtree(folder)
            for parent in new[1:]:
                with suppress(OSError):  # not empty
                    parent.rmdir()
        raise


def check_folder(config: CfgNode, overwrite: bool) -> None:
    """Raises UserError where a training would write into another run's folder without going on with that run.

    `overwrite`: the user wants the other run removed, which `remove_run` does.
    """
    folder, go_on = Path(config.OUTPUT), config.TRAIN.AUTO_RESUME
    own = bool(config.MODEL.RESUME) and Path(config.MODEL.RESUME).resolve().parent == folder.resolve()
    if overwrite:
        _check_overwrite(config, own)
        return
    found = [file.name for file in _files(folder, OF_A_RUN)]
    if config.TEST.ONLY_TEST or not found:
        return
    ways = "--overwrite removes it, --output DIR names another folder"
    stage = _stage(folder / "config.yaml")
    if stage not in (None, config.STAGE):
        raise UserError(f"{folder} holds a run of stage {stage}, and this is stage {config.STAGE}; {ways}")
    if not (go_on or own):
        names = ", ".join(found[:3]) + (", …" if found[3:] else "")
        raise UserError(
            f"{folder} holds a run already ({names}); --opts TRAIN.AUTO_RESUME True goes on with it, {ways}"
        )
    if not (own or any(_files(folder, (LAST, PREVIOUS)))) and any(_files(folder, CHECKPOINTS)):
        raise UserError(
            f"{folder} holds checkpoints, but no {LAST} to go on from; --resume CKPT goes on from one of them, {ways}"
        )


def _check_overwrite(config: CfgNode, own: bool) -> None:
    """`own`: MODEL.RESUME lies in the folder that would be emptied."""
    if config.TEST.ONLY_TEST:
        raise UserError("--overwrite is for a training; an evaluation leaves the run as it is")
    if config.TRAIN.AUTO_RESUME:
        raise UserError("--overwrite removes the run that TRAIN.AUTO_RESUME goes on with; give one of them")
    if own:
        raise UserError(
            f"--overwrite would remove {config.MODEL.RESUME}, which --resume names; name another --output DIR"
        )


def remove_run(folder: Path) -> None:
    """Removes all that a run and its evaluations left in a folder, but for the log, and nothing else."""
    for path in _files(folder, (*OF_A_RUN, *(name for name in REST if name != "log.txt"))):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def holds_run(folder: Path) -> bool:
    """Whether a training would be refused in a folder."""
    return any(_files(folder, OF_A_RUN))


def _files(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    return (file for pattern in patterns for file in sorted(folder.glob(pattern)))


def _stage(file: Path) -> str | None:
    """The stage that a run's configuration names; None where it cannot be read."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))["STAGE"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return None
