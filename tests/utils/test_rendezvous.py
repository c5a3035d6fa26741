"""Launchers of several machines, on loopback: they number their processes, hear of each other, and begin again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from echoviewclip.utils.errors import STOPPED, UserError
from echoviewclip.utils.nodes import Nodes
from echoviewclip.utils.rendezvous import Ended, Meeting, Outcome, Round


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def meetings(monkeypatch):
    """Nodes of these numbers of this many, as threads of this process."""
    monkeypatch.setenv("RDZV_TIMEOUT", "30")
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "")  # so that what the meetings set is taken back
    monkeypatch.setenv("LOGLEVEL", "ERROR")
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")
    port = free_port()
    return lambda numbers, count: [Meeting(Nodes(count, number, "127.0.0.1", port)) for number in numbers]


def together(calls) -> list:
    """Results of calls that wait for each other, or what they raise."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        return [future.exception() or future.result() for future in futures]


def test_processes_are_numbered_by_node_and_counted_in_all(meetings):
    nodes = meetings((2, 0, 1), 3)
    rounds = together([lambda m=m, n=n: m.join(n, 0) for m, n in zip(nodes, (4, 1, 2), strict=True)])
    assert rounds == [Round(0, 3, 7), Round(0, 0, 7), Round(0, 1, 7)]
    assert [m.lost() or m.ended() for m in nodes] == [False] * 3
    again = together([lambda m=m, n=n: m.join(n, 1) for m, n in zip(nodes, (4, 1, 2), strict=True)])
    assert again == [Round(1, 3, 7), Round(1, 0, 7), Round(1, 1, 7)]
    assert together([lambda m=m: m.leave(0, "", 10.0) for m in nodes]) == [None] * 3


def test_a_node_that_ends_the_run_tells_the_others_why(meetings):
    first, second = meetings((0, 1), 2)
    together([lambda: first.join(1, 0), lambda: second.join(1, 0)])
    second.leave(2, "DATA.ROOT is missing", 0.0)
    while not first.ended():  # what the rendezvous says is up to a second old
        assert not first.lost()
        time.sleep(0.05)
    with pytest.raises(Ended) as caught:
        first.join(1, 1)
    assert caught.value.outcome == Outcome(1, 2, "DATA.ROOT is missing")
    first.leave(0, "", 0.0)


def test_two_nodes_of_one_number_begin_nothing(meetings):
    errors = together([lambda m=m: m.join(1, 0) for m in meetings((0, 0), 2)])
    assert [type(error) for error in errors] == [UserError] * 2
    assert {str(error) for error in errors} == {"NODE_RANK is 0, 0 on the 2 nodes; each has its own, from 0"}


def test_nodes_that_are_counted_differently_begin_nothing(meetings):
    nodes = [meetings([0], 2)[0], meetings([1], 3)[0]]

    def join(meeting: Meeting) -> Round:
        try:
            return meeting.join(1, 0)
        except UserError as error:
            meeting.leave(2, str(error), 0.0)
            raise

    errors = together([lambda m=m: join(m) for m in nodes])
    told = next(str(error) for error in errors if isinstance(error, UserError))
    assert told in ("NNODES is 2 on node 0, but 3 on another", "NNODES is 3 on node 1, but 2 on another")
    assert [error.outcome.message for error in errors if isinstance(error, Ended)] == [told]


@pytest.mark.parametrize("number", [0, 1])
def test_a_node_that_does_not_come_is_a_mistake_after_a_while(meetings, monkeypatch, number):
    monkeypatch.setenv("RDZV_TIMEOUT", "1")
    (alone,) = meetings([number], 2)
    with pytest.raises(UserError, match=r"not all of 2 nodes \(NNODES\) have met at RDZV_ENDPOINT 127\.0\.0\.1:\d+"):
        alone.join(1, 0)


def test_a_port_that_is_taken_is_a_mistake(monkeypatch):
    monkeypatch.setenv("RDZV_TIMEOUT", "5")
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        with pytest.raises(UserError, match="node 0 cannot listen there"):
            Meeting(Nodes(2, 0, "127.0.0.1", taken.getsockname()[1])).join(1, 0)


@pytest.mark.parametrize("text", ["soon", "inf", "nan", "0", "-5"])
def test_a_time_that_is_none_is_a_mistake(monkeypatch, text):
    monkeypatch.setenv("RDZV_TIMEOUT", text)
    with pytest.raises(UserError, match=f"RDZV_TIMEOUT must be a number of seconds, at least 1; found '{text}'"):
        Meeting(Nodes(2, 0, "127.0.0.1", 1))


HEAD = """
import os, signal, sys
from echoviewclip.utils.errors import LostPeer, UserError, exit_code
RANK = int(os.environ["RANK"])
AGAIN = os.environ["TORCHELASTIC_RESTART_COUNT"]
os.write(1, f"{RANK} of {os.environ['WORLD_SIZE']}, {os.environ['LOCAL_RANK']} here, begun {AGAIN}\\n".encode())
def lost(*_): raise LostPeer("another process has ended")
signal.signal(signal.SIGUSR2, lost)
"""


@pytest.fixture
def port() -> int:
    """Where the nodes meet."""
    return free_port()


@pytest.fixture
def launched(tmp_path, port):
    """Starts the launcher of a node; what it says goes to a pipe."""
    environment = os.environ | {"NNODES": "2", "RDZV_ENDPOINT": f"localhost:{port}", "RDZV_TIMEOUT": "120"}
    begun = []

    def start(number: int, body: str, processes: int = 1, **variables: str) -> subprocess.Popen:
        script = tmp_path / "script.py"
        script.write_text(HEAD + body)
        begun.append(
            subprocess.Popen(
                [sys.executable, "-m", "echoviewclip.utils.launch", str(processes), str(script)],
                env=environment | {"NODE_RANK": str(number)} | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return begun[-1]

    yield start
    for launcher in begun:
        launcher.kill()


@pytest.mark.slow
def test_a_mistake_on_one_node_ends_both_with_its_line_and_code(launched, tmp_path):
    body = """
def main():
    if RANK == 2: raise UserError("DATA.ROOT: not here")
    while True: signal.pause()
sys.exit(exit_code(main))
"""
    first, second = launched(0, body), launched(1, body, 2, RANK_LOGS=str(tmp_path / "logs"))
    assert second.communicate() == ("", "error: DATA.ROOT: not here\n")
    # Its process is killed once it has had time to end by itself, as it would in a training that misses the other.
    assert first.stdout.readline() == "0 of 3, 0 here, begun 0\n"
    os.kill(int(Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()[0]), signal.SIGUSR2)
    assert first.communicate()[1].splitlines()[-1] == "error: node 1: DATA.ROOT: not here"
    assert (first.returncode, second.returncode) == (2, 2)
    logs = {file.name: file.read_text() for file in (tmp_path / "logs").iterdir()}
    assert logs == {
        "rank_1.log": "1 of 3, 0 here, begun 0\n",
        "rank_2.log": "2 of 3, 1 here, begun 0\n",
    }


def test_a_node_that_waits_for_others_can_be_stopped(launched, port):
    alone = launched(0, "")
    with socket.socket() as visitor:
        while visitor.connect_ex(("localhost", port)):
            assert alone.poll() is None
            time.sleep(0.05)
    alone.send_signal(signal.SIGTERM)
    assert (alone.communicate(), alone.returncode) == (("", ""), STOPPED)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_node_that_is_killed_and_started_again_begins_all_anew(launched, number):
    body = """
if AGAIN == "0":
    while True: signal.pause()
"""
    launchers = {0: launched(0, body), 1: launched(1, body)}
    for rank, launcher in launchers.items():
        assert launcher.stdout.readline() == f"{rank} of 2, 0 here, begun 0\n"
    launchers[number].kill()
    launchers[number].wait()
    launchers[number] = launched(number, body)  # the other's process hangs, as NCCL would
    for rank, launcher in launchers.items():
        said, errors = launcher.communicate()
        assert (said, launcher.returncode) == (f"{rank} of 2, 0 here, begun 1\n", 0), errors
