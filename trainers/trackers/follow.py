"""Tells the trackers of LOG.BACKENDS each line of metrics.jsonl; one that fails is a warning and ends no training."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread

from yacs.config import CfgNode

from echoviewclip.trainers.trackers.tracker import Line, Run, Tracker
from echoviewclip.utils.errors import UserError, first_line

log = logging.getLogger(__name__)

NEEDED = {"tensorboard": ("tensorboard",), "wandb": ("wandb",), "mlflow": ("mlflow", "sqlalchemy")}  # name → modules
ENVIRONMENT = {  # that the libraries read as they are imported, where the user has not set it
    "WANDB_ERROR_REPORTING": "false",  # the library's own reports of its faults
    "MLFLOW_DISABLE_TELEMETRY": "true",  # … and of its use
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # The experiment that a new database begins with would hold the path of the current folder.
    "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
}
PATIENCE = 60.0  # seconds that a training waits for a tracker when it begins, and when it ends

Open = Callable[[Run], Tracker]


def check_trackers(config: CfgNode) -> None:
    """Raises UserError where the library of a tracker of LOG.BACKENDS is not installed."""
    for name in config.LOG.BACKENDS:
        if not all(importlib.util.find_spec(module) for module in NEEDED[name]):
            raise UserError(f"LOG.BACKENDS {name}: not installed; pip install {name}, or leave {name} out")


@contextmanager
def followed(names: Iterable[str], run: Run, kept: Iterable[Line]) -> Iterator[Callable[[Line], None]]:
    """Yields what tells one more line to all trackers, which learn first what they lack of the lines that are `kept`.

    A thread tells each tracker, so that no step waits for a disk or a network. They begin one after the other, and this
    waits for each, no longer than PATIENCE: libraries import as they begin, and neither two imports at a time nor a
    fork in the middle of one is safe.
    """
    kept = list(kept)
    followers = []
    for name in dict.fromkeys(names):
        if begin := _opener(name):
            followers.append(Follower(name, begin, run, kept))
            followers[-1].begun.wait(PATIENCE)
    finished = False

    def tell(line: Line) -> None:
        for follower in followers:
            follower.tell(line)

    try:
        yield tell
        finished = True
    finally:
        for follower in followers:
            follower.close(finished)


def _opener(name: str) -> Open | None:
    """What begins a tracker's run; None, with a warning, where its library cannot be imported."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    try:
        if name == "wandb":
            from echoviewclip.trainers.trackers.wandb import Wandb

            return Wandb
        if name == "mlflow":
            from echoviewclip.trainers.trackers.mlflow import Mlflow

            return Mlflow
        from echoviewclip.trainers.trackers.tensorboard import TensorBoard

        return TensorBoard
    except Exception as error:
        _warn(name, error)
        return None


def _warn(name: str, error: BaseException) -> None:
    reason = re.sub(r"//[^/\s]*@", "//", first_line(error))  # of an address without user and password
    log.warning("%s does not follow the training from here on: %s", name, reason)


class Follower:
    """One tracker and the thread that tells it; `begun` is set when the tracker knows the run, or has failed."""

    def __init__(self, name: str, begin: Open, run: Run, kept: Iterable[Line]) -> None:
        self.name, self.begun, self._finished = name, Event(), False
        self._waiting: SimpleQueue[Line | None] = SimpleQueue()
        for line in kept:
            self._waiting.put(line)
        self._thread = Thread(target=self._work, args=(begin, run), daemon=True)
        self._thread.start()

    def tell(self, line: Line) -> None:
        """Hands over one more line, which is dropped where the tracker has failed."""
        if self._thread.is_alive():
            self._waiting.put(line)

    def close(self, finished: bool) -> None:
        """Waits until all lines have arrived, but no longer than PATIENCE."""
        self._finished = finished
        self._waiting.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            log.warning("%s does not answer; it may lack the last lines of metrics.jsonl", self.name)

    def _work(self, begin: Open, run: Run) -> None:
        try:
            tracker = begin(run)
            self.begun.set()
            if tracker.place:
                log.info("%s: %s", self.name, tracker.place)
            for line in iter(self._waiting.get, None):
                if line.number >= tracker.lines:
                    tracker.tell(line)
            tracker.close(self._finished)
        except (Exception, SystemExit) as error:  # whatever a library of others raises
            _warn(self.name, error)
            self.begun.set()
