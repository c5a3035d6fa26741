"""Work that may never end: jobs in processes of their own, which cost only themselves, and a time limit for a block."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from echoviewclip.utils.errors import UserError

MAX_SECONDS = 1800.0  # for one video; a decoder that takes longer is taken for one that never ends


@dataclass(frozen=True)
class Lost:
    """In place of the result of a job that has none."""

    reason: str
    late: bool = False  # it took too long, rather than died


def run_jobs(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], workers: int, seconds: float = MAX_SECONDS
) -> Iterator[tuple[int, Any]]:
    """Yields (place of the job, `function(*job)` or Lost) as they are done, at most `workers` at a time.

    A process that dies (a crash in a library, the system short of memory) or takes more than `seconds` for one job is
    replaced. A UserError of the function ends all; other errors it must deal with itself.
    """
    waiting = enumerate(jobs)
    idle: list[_Worker] = []
    busy: list[_Worker] = []
    try:
        while True:
            while len(busy) < workers and (job := next(waiting, None)):
                worker = idle.pop() if idle else _Worker(function)
                busy.append(worker)
                worker.begin(*job, seconds)
            if not busy:
                return
            for worker in _first_done(busy):
                result = worker.result(seconds)
                busy.remove(worker)
                worker.stop() if isinstance(result, Lost) else idle.append(worker)
                yield worker.place, result
    finally:
        for worker in idle + busy:
            worker.stop()


class _Worker:
    """One process and the job it has."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_serve, args=(theirs, function), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def begin(self, place: int, job: tuple[Any, ...], seconds: float) -> None:
        self.place, self.deadline = place, time.monotonic() + seconds
        with suppress(OSError):  # a process that has died in the meantime: `result` says so
            self.pipe.send(job)

    def result(self, seconds: float) -> Any:
        """Of a job that is done or has had its time."""
        if not self.pipe.poll():
            return Lost(f"took more than {seconds:g} s", late=True)
        try:
            result = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return Lost(_how_it_ended(self.process.exitcode))
        if isinstance(result, UserError):
            raise result
        return result

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _first_done(busy: Sequence[_Worker]) -> list[_Worker]:
    """Waits for at least one worker that has answered, has died or is late."""
    while True:
        first = min(worker.deadline for worker in busy)
        ready = wait([worker.pipe for worker in busy], max(0.0, first - time.monotonic()))
        now = time.monotonic()
        if done := [worker for worker in busy if worker.pipe in ready or worker.deadline <= now]:
            return done


class OutOfTime(TimeoutError):
    """A block has taken longer than its `time_limit`."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises OutOfTime in a block that takes longer (0: never).

    A library is interrupted when it next returns to Python, as decoders do after each frame. Without effect outside
    of the main thread of a process, which alone receives signals.
    """
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise_timeout(*_: object) -> None:
    raise OutOfTime


def _serve(pipe: Connection, function: Callable[..., Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is for the parent, which stops its workers
    torch.set_num_threads(1)
    while True:
        try:
            job = pipe.recv()
        except EOFError:  # the parent is gone
            return
        try:
            pipe.send(function(*job))
        except UserError as error:
            pipe.send(error)


def _how_it_ended(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed: the system may be short of memory"
    if code is not None and code < 0:
        return f"its decoder crashed ({signal.Signals(-code).name})"
    return f"its process ended with code {code}"
