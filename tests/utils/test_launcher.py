"""utils.launch: one line names the cause of a failure, signals are passed on, and no process outlives its launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAD = """
import os, signal, sys, time
from echoviewclip.utils.errors import LostPeer, UserError, exit_code
RANK = int(os.environ["RANK"])
def wait():
    os.write(1, f"{RANK} {os.getpid()}\\n".encode())  # at once, as the other writes too
    while True:
        signal.pause()
"""


def start(folder: Path, body: str, count: int = 2) -> subprocess.Popen:
    """A launcher of processes that run `body`."""
    script = folder / "script.py"
    script.write_text(HEAD + body)
    return subprocess.Popen(
        [sys.executable, "-c", PATIENT, str(count), str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# As `python -m echoviewclip.utils.launch`, with less patience.
PATIENT = """
import sys
from echoviewclip.utils import launch
launch.PATIENCE = 1.0
raise SystemExit(launch.launch(int(sys.argv[1]), sys.argv[2:]))
"""


def ranks(launcher: subprocess.Popen, count: int = 2) -> dict[int, int]:
    """Process ids by rank, of processes that have begun to wait."""
    return dict(sorted(tuple(map(int, launcher.stdout.readline().split())) for _ in range(count)))


def wait_for_end(process: int) -> None:
    """Until a process is gone; not a child of this one, so that the system has to be asked."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            if "\nState:\tZ" in Path(f"/proc/{process}/status").read_text():
                return
        except FileNotFoundError:
            return
        time.sleep(0.01)
    pytest.fail(f"process {process} still runs")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_no_process_outlives_its_launcher(tmp_path, number):
    launcher = start(tmp_path, "wait()")
    children = ranks(launcher)
    launcher.send_signal(number)
    launcher.wait()
    for process in children.values():
        wait_for_end(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_are_passed_on_and_code_75_is_handed_back(tmp_path, number):
    body = "[signal.signal(n, lambda *_: sys.exit(75)) for n in (signal.SIGTERM, signal.SIGUSR1)]\nwait()"
    launcher = start(tmp_path, body)
    ranks(launcher)
    launcher.send_signal(number)
    assert (launcher.communicate()[1], launcher.returncode) == ("", 75)


def test_a_process_that_had_not_begun_when_it_was_asked_to_stop_is_to_be_started_again(tmp_path):
    launcher = start(tmp_path, "wait()")
    ranks(launcher)
    launcher.send_signal(signal.SIGTERM)
    assert (launcher.communicate()[1], launcher.returncode) == ("", 75)


def test_a_killed_process_is_named_and_the_others_say_nothing(tmp_path):
    body = """
def other():
    try:
        wait()
    except RuntimeError:
        raise LostPeer("another process has ended")
if RANK == 1:
    wait()
def fail(*_): raise RuntimeError
signal.signal(signal.SIGUSR2, fail)
sys.exit(exit_code(other))
"""
    launcher = start(tmp_path, body)
    children = ranks(launcher)
    os.kill(children[0], signal.SIGUSR2)  # as gloo notices the death of another before the launcher does
    os.kill(children[1], signal.SIGKILL)
    assert launcher.communicate()[1] == (
        f"error: process 1 (pid {children[1]}) was ended by SIGKILL; the system may be short of memory\n"
    )
    assert launcher.returncode == 128 + signal.SIGKILL


def test_a_process_that_does_not_answer_is_named_and_killed(tmp_path):
    body = """
def late():
    raise LostPeer("another process did not answer")
wait() if RANK == 1 else sys.exit(exit_code(late))
"""
    launcher = start(tmp_path, body)
    silent = ranks(launcher, 1)[1]
    os.kill(silent, signal.SIGSTOP)
    assert launcher.communicate()[1] == (
        f"error: process 1 (pid {silent}) did not answer within TRAIN.TIMEOUT and was killed\n"
    )
    assert launcher.returncode == 1
    wait_for_end(silent)


def test_a_mistake_wins_over_a_stop(tmp_path):
    body = "def f(): raise UserError('what to do')\nsys.exit(75 if RANK == 0 else exit_code(f))"
    launcher = start(tmp_path, body)
    assert (launcher.communicate()[1], launcher.returncode) == ("error: what to do\n", 2)
