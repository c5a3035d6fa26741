"""Reading processes that find a mistake, die or hang: one line that names the video."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import weakref

import pytest
import torch

from echoviewclip.datasets import forward
from echoviewclip.datasets.reading import WatchedDataset, reading_faults
from echoviewclip.utils.errors import UserError
from tests.tiny_data import tiny, tiny_options, train
from tests.utils.test_files import refusal

READERS = {"DATA__NUM_WORKERS": 2, "TRAIN__TIMEOUT": 1.0}


def reading(monkeypatch, name: str, then) -> None:
    """Calls `then` in the process that reads the video of that name."""
    open_video = forward.open_video

    def opened(path, *arguments):
        if str(path).endswith(name):
            then()
        return open_video(path, *arguments)

    monkeypatch.setattr(forward, "open_video", opened)


def test_a_mistake_that_a_reading_process_finds_is_one_line(tiny_folder, tmp_path, monkeypatch):
    def mistake():
        raise UserError("DATA.DECODER torchcodec is not installed")

    reading(monkeypatch, "clip 3.avi", mistake)
    config = tiny(tiny_folder, tmp_path, **READERS)
    assert refusal(lambda: train(config)) == "DATA.DECODER torchcodec is not installed"


@pytest.mark.parametrize("name", ["clip 3.avi", "clip 12.avi"])  # of the training, of the evaluation
def test_a_reading_process_that_dies_is_one_line_that_names_its_video(tiny_folder, tmp_path, monkeypatch, name):
    reading(monkeypatch, name, lambda: os.kill(os.getpid(), signal.SIGKILL))
    said = refusal(lambda: train(tiny(tiny_folder, tmp_path, **READERS)))
    assert re.match(rf"reading process \d+ died while it read {name}; the file may be damaged", said), said


@pytest.mark.parametrize("ends", [True, False])
def test_a_batch_that_breaks_off_on_its_way_names_the_process_that_died_if_one_did(ends, monkeypatch):
    monkeypatch.setattr("echoviewclip.datasets.reading._watched", weakref.WeakSet())  # none of other tests

    class Named:
        size = 8

        def __getitem__(self, index):
            raise AssertionError

        def name(self, video: int) -> str:
            return f"video {video}"

    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0 if ends else 60,))
    process.start()
    watched = WatchedDataset(Named(), 1)
    watched.reading[0] = torch.tensor([process.pid, 7])

    def broken_off():
        with reading_faults():
            raise ConnectionResetError(104, "Connection reset by peer")

    try:
        if ends:
            said = refusal(broken_off)
            assert said.startswith(f"reading process {process.pid} died while it read video 7; the file may be damaged")
        else:
            with pytest.raises(ConnectionResetError):
                broken_off()
            assert process.is_alive()
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("name", ["clip 3.avi", pytest.param("clip 12.avi", marks=pytest.mark.slow)])
def test_a_reading_process_that_hangs_is_one_line_that_names_its_video(tiny_folder, tmp_path, monkeypatch, name):
    stopped = tmp_path / "stopped"

    def hang():
        stopped.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)

    reading(monkeypatch, name, hang)
    said = refusal(lambda: train(tiny(tiny_folder, tmp_path / "run", **READERS)))
    with pytest.raises(ProcessLookupError):
        os.kill(int(stopped.read_text()), signal.SIGCONT)
    assert re.match(rf"no batch of videos came for 1 s \(TRAIN.TIMEOUT\); still being read: .*{name} ", said), said


STOPPED_READER = """
import os, signal, sys
from echoviewclip.datasets import forward
open_video = forward.open_video
def opened(path, *arguments):
    if path.endswith("clip 3.avi"):
        os.kill(os.getpid(), signal.SIGSTOP)
    return open_video(path, *arguments)
forward.open_video = opened
from echoviewclip import main
from echoviewclip.utils.errors import exit_code
sys.exit(exit_code(main.main))
"""


@pytest.mark.slow
def test_a_program_whose_reading_process_hangs_ends(tiny_folder, tmp_path):
    patient = READERS | {"TRAIN__TIMEOUT": 5.0}  # where the machine is busy, the first video takes a while
    words = (str(word) for pair in tiny_options(tiny_folder, tmp_path, **patient) for word in pair)
    start = [sys.executable, "-c", STOPPED_READER, "-cfg", "configs/phantom/view.yaml", "--opts", *words]
    done = subprocess.run(start, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "clip 3.avi" in done.stderr
