"""A video that never ends costs its time and is named; the run goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.configured import video_dataset as dataset
from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.intake.asked import find_videos
from echoviewclip.datasets.loader import evaluation_loader
from echoviewclip.datasets.video.pyav import PyAVVideo
from echoviewclip.utils.config import load_config
from echoviewclip.utils.workers import time_limit
from tests.media import numbered_frames, write_video


@pytest.fixture
def videos(tmp_path) -> list[Path]:
    return [write_video(tmp_path / f"{name}.avi", numbered_frames(4)) for name in "abc"]


@pytest.fixture
def endless(monkeypatch):
    """A decoder that never comes to an end with b.avi."""
    decode = PyAVVideo.decode

    def endless(self, wanted):
        while self.path.endswith("b.avi"):
            time.sleep(0.001)
        yield from decode(self, wanted)

    monkeypatch.setattr(PyAVVideo, "decode", endless)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_decoder_that_never_ends_is_a_fault_of_its_video(videos, endless, workers):
    listed = Annotations.of_paths(videos)
    data = VideoDataset(listed, frames=2, size=16, seconds=0.5)
    loader = evaluation_loader(data, batch_size=1, workers=workers, rank=0, world=1, pin_memory=False)
    faults = [fault for batch in loader for fault in batch.faults]
    assert [(name, reason) for name, reason in faults] == [
        (str(videos[1]), "frame 1 cannot be read: decoding it takes too long")
    ]


def test_the_limit_is_a_setting(tmp_path):
    (tmp_path / "c.yaml").touch()
    config = load_config(tmp_path / "c.yaml", [("STAGE", "view"), ("DATA.TIMEOUT", "12.5")])
    assert dataset(config, Annotations.of_paths([]), train=False).seconds == 12.5


def test_a_time_limit_leaves_nothing_behind():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError), time_limit(0.05):
        threading.Event().wait(10)
    with time_limit(0):
        pass
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_other_threads_read_without_a_limit():
    found = []

    def read():
        with time_limit(0.01):
            time.sleep(0.05)
            found.append("read")

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert found == ["read"]


def test_predict_names_pipes_instead_of_waiting_for_them(videos, tmp_path):
    os.mkfifo(tmp_path / "pipe.avi")
    (tmp_path / "link.avi").symlink_to("pipe.avi")
    paths = find_videos([tmp_path, tmp_path / "pipe.avi"])
    data = VideoDataset(Annotations.of_paths(paths), frames=2, size=16)
    faults = {Path(name).name: reason for i in range(len(data)) for name, reason in data[i].faults}
    assert faults == dict.fromkeys(("pipe.avi", "link.avi"), "is a pipe, a socket or a device, not a file")
