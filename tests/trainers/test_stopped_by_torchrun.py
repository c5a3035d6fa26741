"""`torchrun main.py` that is asked to stop: all processes stop at the next step, process 0 saves, the run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echoviewclip.utils.checkpoint import load_checkpoint
from tests.forked import children, end_all
from tests.tiny_data import tiny_options

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tiny_folder, tmp_path):
    """Starts a training of so many epochs in two processes."""
    started: list[subprocess.Popen] = []

    def start(epochs: int) -> subprocess.Popen:
        started.append(_start(tiny_folder, tmp_path, epochs))
        return started[-1]

    yield start
    for program in started:
        end_all(program)


def _start(folder: Path, output: Path, epochs: int) -> subprocess.Popen:
    settings = {"TRAIN__EPOCHS": epochs, "EVAL_FREQ": 10_000, "TRAIN__SAVE_MINUTES": 0, "TRAIN__AUTO_RESUME": True}
    words = [str(word) for pair in tiny_options(folder, output, DATA__NUM_WORKERS=1, **settings) for word in pair]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    return subprocess.Popen(
        [*launcher, "main.py", "-cfg", "configs/phantom/view.yaml", "--opts", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_training_saves_and_goes_on(start, tmp_path):
    launcher, log = start(10_000), tmp_path / "log.txt"
    while not (log.is_file() and "epoch 1" in log.read_text()):
        assert launcher.poll() is None
        time.sleep(0.02)
    ranks = children(launcher.pid)
    launcher.send_signal(signal.SIGTERM)
    said = launcher.communicate(timeout=120)[1]
    assert len(ranks) == 2 and not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    assert "SIGKILL" not in said and launcher.returncode
    place = load_checkpoint(tmp_path / "last.pth")["training"]
    assert f"asked to stop: saved after step {place['step']}; " in log.read_text()
    again = start(place["step"] // 3 + 1)  # three steps an epoch
    said = again.communicate()[1]
    assert again.returncode == 0, said
    assert load_checkpoint(tmp_path / "last.pth")["training"]["step"] == 3 * (place["step"] // 3 + 1)
