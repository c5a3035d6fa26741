"""Real trainings in two processes: one that is asked to stop stops both, one that hangs is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import STOPPED
from tests.tiny_data import tiny_options

pytestmark = pytest.mark.slow


@pytest.fixture
def training(tiny_folder, tmp_path):
    """A training in two processes that is under way: the launcher and the processes' ids."""
    settings = {"TRAIN__EPOCHS": 10_000, "TRAIN__TIMEOUT": 8.0, "EVAL_FREQ": 10_000, "TRAIN__SAVE_MINUTES": 0}
    words = (str(word) for pair in tiny_options(tiny_folder, tmp_path, **settings) for word in pair)
    start = [
        sys.executable,
        "-m",
        "echoviewclip.utils.launch",
        "2",
        "main.py",
        "-cfg",
        "configs/phantom/view.yaml",
        "--opts",
        *words,
    ]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    launcher = subprocess.Popen(start, env=os.environ | {"OMP_NUM_THREADS": "1"}, **streams)
    until = time.monotonic() + 120
    while not ((tmp_path / "log.txt").is_file() and "epoch 1" in (tmp_path / "log.txt").read_text()):
        assert launcher.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    ranks = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    yield launcher, sorted(map(int, ranks))
    launcher.kill()


def test_a_process_that_is_asked_to_stop_stops_both_which_save(training, tmp_path):
    launcher, ranks = training
    os.kill(ranks[1], signal.SIGUSR1)
    assert (launcher.communicate(timeout=60)[1], launcher.returncode) == ("", STOPPED)
    training = load_checkpoint(tmp_path / "last.pth")["training"]
    assert f"asked to stop: saved after step {training['step']}; " in (tmp_path / "log.txt").read_text()


def test_a_process_that_hangs_is_named(training):
    launcher, ranks = training
    os.kill(ranks[1], signal.SIGSTOP)
    assert launcher.communicate(timeout=120)[1] == (
        f"error: process 1 (pid {ranks[1]}) did not answer within TRAIN.TIMEOUT and was killed\n"
    )


def test_a_process_that_dies_is_named(training):
    launcher, ranks = training
    os.kill(ranks[0], signal.SIGKILL)
    said = launcher.communicate(timeout=60)[1]
    assert said == f"error: process 0 (pid {ranks[0]}) was ended by SIGKILL; the system may be short of memory\n"
