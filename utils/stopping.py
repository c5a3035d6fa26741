"""A run that is asked to stop: all processes agree where, save, and end with a code that says "start me again"."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from echoviewclip.utils.distributed import world
from echoviewclip.utils.errors import STOPPED

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
SAME = 1.0  # seconds within which a signal that comes again, say to the group and from the launcher, is the same

Batch = TypeVar("Batch")


class Stopped(SystemExit):
    """The run was asked to stop and leaves with code STOPPED; what it has done is saved."""

    def __init__(self) -> None:
        super().__init__(STOPPED)


class Stop:
    """Heeds SIGTERM and SIGUSR1 for the time of a `with` block, and agrees on stopping and saving among processes.

    A signal is heeded at the next `agree`, and never raises where it happens to arrive: Python ignores errors in hooks
    and destructors. A second signal ends the process at once.
    """

    def __init__(self, seconds: float = 1800.0) -> None:
        """`seconds` that a process waits for another's answer."""
        self._limit = timedelta(seconds=seconds)
        self._first: float | None = None  # when the first signal came
        self._before: dict[signal.Signals, Any] = {}
        self._group: Any = None
        self._asked: tuple[Tensor, Any] | None = None  # flags that are being exchanged

    def __enter__(self) -> Stop:
        # Flags travel between CPUs whatever the device, so that no step waits for an accelerator.
        self._group = dist.new_group(backend="gloo", timeout=self._limit) if world() > 1 else None
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._asked and kind is None:
            self._asked[1].wait()

    def _note(self, number: int, _: object) -> None:
        now = time.monotonic()
        if self._first is not None and now - self._first > SAME:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self._first is None:
            self._first = now

    def agree(self, save: bool = False) -> tuple[bool, bool]:
        """Whether to stop and whether to save, the same on all processes, which all call this at the same places.

        One process that wants it is enough. Of several processes each learns what was wanted at the call before: the
        exchange goes on during the step, and nobody waits for it.
        """
        wanted = [self._first is not None, save]
        if self._group is None:
            return wanted[0], wanted[1]
        stop = agreed = False
        if self._asked:
            flags, exchange = self._asked
            exchange.wait()
            stop, agreed = map(bool, flags.tolist())
        flags = torch.tensor([wanted[0], save and not agreed], dtype=torch.int32)
        self._asked = flags, dist.all_reduce(flags, dist.ReduceOp.MAX, group=self._group, async_op=True)
        return stop, agreed

    def between(self, batches: Iterable[Batch], rounds: int) -> Iterator[Batch]:
        """Yields `batches` and raises Stopped between two of them where all agree; for work that saves nothing.

        `rounds` is the largest number of batches that a process has.
        """
        for batch in batches:
            yield batch
            self._leave_if_agreed()
            rounds -= 1
        for _ in range(rounds):
            self._leave_if_agreed()

    def _leave_if_agreed(self) -> None:
        if self.agree()[0]:
            raise Stopped


def leave_signals_to_parent(_: int = 0) -> None:
    """For processes that read videos: they ignore what asks the run to stop, unless their parent sends it.

    Not by ignoring signals altogether, since the parent ends them by SIGTERM. A connection that breaks off, in any
    thread, is no fault of theirs: their parent, to whom alone they speak, was killed.
    """
    sys.excepthook = _silent_without_parent
    numbers = {*SIGNALS, signal.SIGINT}
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        threading.Thread(target=_listen, args=(numbers, os.getppid()), daemon=True).start()


def _silent_without_parent(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not isinstance(error, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, traceback)


def _listen(numbers: set[signal.Signals], parent: int) -> None:
    while signal.sigwaitinfo(numbers).si_pid != parent:
        pass
    os._exit(0)
