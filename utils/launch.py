"""Several processes of one script on this machine: `python -m echoviewclip.utils.launch COUNT SCRIPT ARGUMENTS…`.

As torchrun, but a failure is one line that names its cause, however many processes it brings down; SIGTERM, SIGUSR1 and
SIGINT are passed on; and the processes die with this one, however it ends.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from echoviewclip.utils.errors import ERROR_FILE, STOPPED, Failure

ASKS_TO_STOP = {signal.SIGTERM, signal.SIGUSR1}
PASSED_ON = {*ASKS_TO_STOP, signal.SIGINT, signal.SIGHUP}
INTERRUPTED = 130  # of a process that got SIGINT
PR_SET_PDEATHSIG = 1  # prctl(2)
PATIENCE = 20.0  # seconds from the first process that ends to the last, before those that are left are killed


@dataclass
class Rank:
    """One process: its number, itself, and the file where it says why it failed."""

    number: int
    process: subprocess.Popen
    file: Path

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs, minus the signal that ended it."""
        return self.process.poll()

    @property
    def lost_peer(self) -> bool:
        """Whether it failed because another did."""
        failure = Failure.read(self.file)
        return failure is not None and failure.lost_peer


def launch(count: int, script: list[str]) -> int:
    """Runs `count` processes to their end; the exit code of the one that failed first, 0 if none did."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})  # waited for, in `_wait`
    with tempfile.TemporaryDirectory() as folder:
        ranks = _start(count, script, Path(folder))
        try:
            failed, passed_on = _wait(ranks)
            return _outcome(ranks, failed, passed_on)
        finally:
            for rank in ranks:
                rank.process.kill()
                rank.process.wait()


def _start(count: int, script: list[str], folder: Path) -> list[Rank]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", max(1, (os.cpu_count() or 1) // count)),
    }
    ranks, launcher = [], os.getpid()
    for number in range(count):
        file = folder / str(number)
        own = common | {"RANK": number, "LOCAL_RANK": number, ERROR_FILE: file}
        process = subprocess.Popen(
            [sys.executable, *script],
            env=os.environ | {name: str(value) for name, value in own.items()},
            start_new_session=True,  # a signal to the terminal's group reaches the processes once, through this one
            preexec_fn=lambda: _be_a_child_of(launcher),
        )
        ranks.append(Rank(number, process, file))
    return ranks


def _be_a_child_of(launcher: int) -> None:
    """Runs in the new process: it hears signals again, and the system kills it when the launcher ends."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON | {signal.SIGCHLD})
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:  # it ended before it could be told so
            os._exit(1)


def _wait(ranks: list[Rank]) -> tuple[list[Rank], list[int]]:
    """Waits for the end of all; those that failed, in the order of their ends, and the signals that were passed on.

    Where one ends for a reason of its own, the others are of no use, and are killed. Where one stops because it was
    asked to, or because another does not answer, the others have PATIENCE seconds to end, too.
    """
    failed: list[Rank] = []
    passed_on: list[int] = []
    deadline = math.inf
    while any(rank.code is None for rank in ranks) and time.monotonic() < deadline:
        heard = signal.sigtimedwait(PASSED_ON | {signal.SIGCHLD}, max(0.0, min(deadline - time.monotonic(), 60.0)))
        if heard is not None and heard.si_signo in PASSED_ON:
            passed_on.append(heard.si_signo)
            for rank in ranks:
                rank.process.send_signal(heard.si_signo)
        new = [rank for rank in ranks if rank.code and rank not in failed]
        failed += new
        if any(rank.code != STOPPED and not rank.lost_peer for rank in new):
            break
        if new:
            deadline = min(deadline, time.monotonic() + PATIENCE)
    return failed, passed_on


def _outcome(ranks: list[Rank], failed: list[Rank], passed_on: list[int]) -> int:
    """Says in one line what went wrong, and returns the exit code."""
    if not failed:
        return 0
    silent = [rank for rank in ranks if rank.code is None]
    if all(rank.lost_peer for rank in failed) and silent:
        names = " and ".join(f"process {rank.number} (pid {rank.process.pid})" for rank in silent)
        print(f"error: {names} did not answer within TRAIN.TIMEOUT and was killed", file=sys.stderr)
        return 1
    first = min(failed, key=lambda rank: (rank.lost_peer, rank.code == STOPPED))
    code = first.process.returncode
    if code in (STOPPED, INTERRUPTED):
        return code
    if -code in passed_on:
        # One signal ends nothing but a process that has not begun and so has nothing to save.
        return STOPPED if len(passed_on) == 1 and -code in ASKS_TO_STOP else 128 - code
    print(f"error: {_cause(first)}", file=sys.stderr)
    return code if code > 0 else 128 - code


def _cause(rank: Rank) -> str:
    if failure := Failure.read(rank.file):
        return failure.message
    code = rank.process.returncode
    if code > 0:
        return f"process {rank.number} ended with an error"  # it has printed its traceback
    name = signal.Signals(-code).name
    hint = "; the system may be short of memory" if name == "SIGKILL" else ""
    return f"process {rank.number} (pid {rank.process.pid}) was ended by {name}{hint}"


if __name__ == "__main__":
    raise SystemExit(launch(int(sys.argv[1]), sys.argv[2:]))
