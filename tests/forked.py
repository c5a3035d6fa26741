"""Trainings in forks of this process, to be killed: they have imported everything already. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from echoviewclip import main
from echoviewclip.utils import launch
from echoviewclip.utils.errors import exit_code


def start(processes: int, command: Sequence[str], log: Path) -> int:
    """Starts a training in so many processes, whose words go to `log`; its process id."""
    program = os.fork()
    if program == 0:
        _end(lambda: _run(processes, command, log))
    return program


def _run(processes: int, command: Sequence[str], log: Path) -> int:
    os.setsid()
    with log.open("ab") as words:
        os.dup2(words.fileno(), 1)
        os.dup2(words.fileno(), 2)
    return _main(command) if processes == 1 else _launch(processes, command)


class Forked:
    """`subprocess.Popen` of main.py by a fork of this process, which has imported everything already."""

    def __init__(
        self, command: Sequence[str], *, preexec_fn: Callable[[], None], env: dict[str, str], start_new_session: bool
    ) -> None:
        self.pid = os.fork()
        self.returncode: int | None = None
        if self.pid == 0:
            _end(lambda: self._become(command[1:], preexec_fn, env, start_new_session))

    def _become(
        self, words: Sequence[str], preexec_fn: Callable[[], None], env: dict[str, str], new_session: bool
    ) -> int:
        if new_session:
            os.setsid()
        preexec_fn()
        os.environ.clear()
        os.environ.update(env)
        return _main(words)

    def poll(self) -> int | None:
        """The exit code, None while the process runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int:
        """The exit code, once there is one."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To a process that still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends the process."""
        self.send_signal(signal.SIGKILL)


def _main(words: Sequence[str]) -> int:
    sys.argv = list(words)
    return exit_code(main.main)


def _launch(processes: int, words: Sequence[str]) -> int:
    launch.subprocess.Popen = Forked  # type: ignore[assignment,misc]  # it has what the launcher needs
    return launch.launch(processes, list(words))


def _end(action: Callable[[], int]) -> None:
    """Ends this process with the action's exit code."""
    code = 1
    try:
        code = action()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def children(process: int) -> list[int]:
    """Ids of a process' children."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def end_all(program: subprocess.Popen) -> None:
    """Ends a launcher, such as torchrun, and its processes, where they still run."""
    for process in [*children(program.pid), program.pid] if program.poll() is None else []:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    program.wait()
    for pipe in (program.stdout, program.stderr):
        if pipe:
            pipe.close()


def wait(program: int, seconds: float) -> int | None:
    """The exit code; None where the program still runs after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(program, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.005)
