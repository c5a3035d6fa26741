"""Several processes of one script on this machine: `python -m echoviewclip.utils.launch COUNT SCRIPT ARGUMENTS…`.

As torchrun, but a failure is one line that names its cause, however many processes it brings down; SIGTERM, SIGUSR1 and
SIGINT are passed on; and the processes die with this one, however it ends. On several machines (utils/nodes.py) the
launchers meet (utils/rendezvous.py); where one is lost, the others wait for it and begin their processes anew.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TypeVar

from echoviewclip.utils.errors import ERROR_FILE, STOPPED, Failure, UserError, exit_code
from echoviewclip.utils.nodes import Nodes
from echoviewclip.utils.ranks import STORE
from echoviewclip.utils.rendezvous import Ended, Meeting, Round

ASKS_TO_STOP = {signal.SIGTERM, signal.SIGUSR1}
PASSED_ON = {*ASKS_TO_STOP, signal.SIGINT, signal.SIGHUP}
INTERRUPTED = 130  # of a process that got SIGINT
PR_SET_PDEATHSIG = 1  # prctl(2)
PATIENCE = 20.0  # seconds from the first process that ends to the last, before those that are left are killed
LOOK = 2.0  # seconds between two looks at the other machines
RESTARTS = 10  # of a run that loses machines again and again
LOGS = "RANK_LOGS"  # a folder where all processes but the first write what they print, to rank_N.log

Result = TypeVar("Result")


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


@dataclass
class Watched:
    """What became of processes: those that failed, in the order of their ends, and signals that were passed on to them.

    `lost`: they are of no use, because another machine was lost.
    """

    ranks: list[Rank]
    failed: list[Rank] = field(default_factory=list)
    passed_on: list[int] = field(default_factory=list)
    lost: bool = False


def launch(count: int, script: list[str], nodes: Nodes | None = None) -> int:
    """Runs `count` processes to their end; the exit code of the one that failed first, 0 if none did.

    With several `nodes`, whose launchers all do this, it may be a process of another; 2 where they do not find each
    other.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})  # waited for, in `_wait`
    if nodes is not None:
        return _launch_among(nodes, count, script)
    met = {"WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    with _started(count, script, os.environ, met) as ranks:
        return _told(*_outcome(_wait(ranks)))


def _launch_among(nodes: Nodes, count: int, script: list[str]) -> int:
    environment, meeting = dict(os.environ), Meeting(nodes)
    code, message = 1, f"other nodes were lost more than {RESTARTS} times"
    try:
        for attempt in range(RESTARTS + 1):
            met = _unless_signalled(partial(meeting.join, count, attempt))
            if isinstance(met, int):
                code, message = STOPPED if met in ASKS_TO_STOP else 128 + met, ""  # there is nothing to save
                break
            with _started(count, script, environment, _of_round(met, nodes), met.first) as ranks:
                watched = _wait(ranks, meeting)
                if not watched.lost:
                    code, message = _outcome(watched)
                    break
            print(f"node {nodes.number}: processes of another have ended; all nodes meet again", file=sys.stderr)
    except Ended as ended:
        meeting.leave(0, "", PATIENCE)
        outcome = ended.outcome
        return _told(outcome.code, outcome.message and f"node {outcome.node}: {outcome.message}")
    except UserError as error:
        code, message = 2, str(error)
    meeting.leave(code, message, PATIENCE)
    return _told(code, message)


def _of_round(met: Round, nodes: Nodes) -> dict[str, object]:
    """What torch.distributed reads: the processes meet in the store of node 0's launcher."""
    return {
        "WORLD_SIZE": met.world,
        "MASTER_ADDR": nodes.host,
        "MASTER_PORT": nodes.port,
        "TORCHELASTIC_RESTART_COUNT": met.attempt,
        STORE: f"attempt_{met.attempt}",
    }


def _told(code: int, message: str) -> int:
    if message:
        print(f"error: {message}", file=sys.stderr)
    return code


def _unless_signalled(action: Callable[[], Result]) -> Result | int:
    """What the action returns or raises in a thread of its own; the number of a signal that comes before."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def act() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=act, daemon=True)
    thread.start()
    while thread.is_alive():
        heard = signal.sigtimedwait(PASSED_ON, 0.1)
        if heard is not None:
            return heard.si_signo
    if errors:
        raise errors[0]
    return results[0]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _started(
    count: int, script: list[str], environment: Mapping[str, str], met: Mapping[str, object], first: int = 0
) -> Iterator[list[Rank]]:
    """Processes that run, numbered from `first`; those that still do are killed at the end."""
    threads = environment.get("OMP_NUM_THREADS", max(1, (os.cpu_count() or 1) // count))
    common = {**met, "LOCAL_WORLD_SIZE": count, "OMP_NUM_THREADS": threads}
    ranks, launcher = [], os.getpid()
    with tempfile.TemporaryDirectory() as folder:
        try:
            for local in range(count):
                number, file = first + local, Path(folder, str(local))
                own = common | {"RANK": number, "LOCAL_RANK": local, ERROR_FILE: file}
                with _words(environment.get(LOGS), number) as streams:
                    process = subprocess.Popen(
                        [sys.executable, *script],
                        env={**environment, **{name: str(value) for name, value in own.items()}},
                        start_new_session=True,  # a signal to the terminal's group reaches it once, through this one
                        preexec_fn=lambda: _be_a_child_of(launcher),
                        **streams,
                    )
                ranks.append(Rank(number, process, file))
            yield ranks
        finally:
            for rank in ranks:
                rank.process.kill()
                rank.process.wait()


@contextmanager
def _words(folder: str | None, number: int) -> Iterator[dict]:
    """Where a process prints to: its own file of the folder RANK_LOGS, or where this one does."""
    if not folder or number == 0:
        yield {}
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with Path(folder, f"rank_{number}.log").open("ab") as stream:
        yield {"stdout": stream, "stderr": subprocess.STDOUT}


def _be_a_child_of(launcher: int) -> None:
    """Runs in the new process: it hears signals again, and the system kills it when the launcher ends."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON | {signal.SIGCHLD})
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:  # it ended before it could be told so
            os._exit(1)


def _wait(ranks: list[Rank], meeting: Meeting | None = None) -> Watched:
    """Waits for the end of all.

    Where one ends for a reason of its own, the others are of no use, and are killed. Where one stops because it was
    asked to, or because another does not answer, the others have PATIENCE seconds to end, too; so they have where
    another node has ended the run. With a `meeting` the one that does not answer may run elsewhere.
    """
    watched, deadline = Watched(ranks), math.inf
    while any(rank.code is None for rank in ranks) and time.monotonic() < deadline:
        limit = 60.0 if meeting is None else LOOK
        heard = signal.sigtimedwait(PASSED_ON | {signal.SIGCHLD}, max(0.0, min(deadline - time.monotonic(), limit)))
        if heard is not None and heard.si_signo in PASSED_ON:
            watched.passed_on.append(heard.si_signo)
            for rank in ranks:
                rank.process.send_signal(heard.si_signo)
        new = [rank for rank in ranks if rank.code and rank not in watched.failed]
        watched.failed += new
        if any(rank.code != STOPPED and not _misses_another(rank, meeting) for rank in new):
            return watched
        if meeting is not None and heard is None and meeting.lost():
            watched.lost = True
            return watched
        if new or (meeting is not None and heard is None and meeting.ended()):
            deadline = min(deadline, time.monotonic() + PATIENCE)
    # A process that is left waits for another node, whose launcher says why.
    if meeting is not None and not any(rank.code == STOPPED for rank in ranks):
        watched.lost = any(rank.code is None or _misses_another(rank, meeting) for rank in ranks)
    return watched


def _misses_another(rank: Rank, meeting: Meeting | None) -> bool:
    """Whether a process failed because another was lost; NCCL's watchdog aborts one that another machine's left."""
    return rank.lost_peer or (meeting is not None and rank.code == -signal.SIGABRT)


def _outcome(watched: Watched) -> tuple[int, str]:
    """The exit code, and what went wrong in one line, where that is for the user to know."""
    failed, passed_on = watched.failed, watched.passed_on
    if not failed:
        return 0, ""
    silent = [rank for rank in watched.ranks if rank.code is None]
    if all(rank.lost_peer for rank in failed) and silent:
        names = " and ".join(f"process {rank.number} (pid {rank.process.pid})" for rank in silent)
        return 1, f"{names} did not answer within TRAIN.TIMEOUT and was killed"
    first = min(failed, key=lambda rank: (rank.lost_peer, rank.code == STOPPED))
    code = first.process.returncode
    if code in (STOPPED, INTERRUPTED):
        return code, ""
    if -code in passed_on:
        # One signal ends nothing but a process that has not begun and so has nothing to save.
        return STOPPED if len(passed_on) == 1 and -code in ASKS_TO_STOP else 128 - code, ""
    return code if code > 0 else 128 - code, _cause(first)


def _cause(rank: Rank) -> str:
    if failure := Failure.read(rank.file):
        return failure.message
    code = rank.process.returncode
    if code > 0:
        return f"process {rank.number} ended with an error"  # it has printed its traceback
    name = signal.Signals(-code).name
    hint = "; the system may be short of memory" if name == "SIGKILL" else ""
    return f"process {rank.number} (pid {rank.process.pid}) was ended by {name}{hint}"


def main() -> int:
    """Launches; the nodes are those that the environment names."""
    return launch(int(sys.argv[1]), sys.argv[2:], Nodes.of(os.environ))


if __name__ == "__main__":
    status = exit_code(main)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread that waits for other machines does not hold it up
