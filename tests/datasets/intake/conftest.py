"""A folder of hospital files, and a run that prepares it."""

from __future__ import annotations

import pytest

from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from tests.datasets.intake.hospital import manifest
from tests.media import numbered_frames, write_video


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def run(source, tmp_path):
    """Prepares the source; returns the folder and its manifest."""

    def run(stills=False, keep_names=True, size=256, workers=0, of=None, to="done", crop=True):
        prepare(of or source, tmp_path / to, Options(size, stills, keep_names, crop=crop), workers)
        return tmp_path / to, manifest(tmp_path / to)

    return run


@pytest.fixture
def seven(source):
    """Seven small videos."""
    for number in range(7):
        write_video(source / f"{number}.mp4", numbered_frames(4 + number, seed=number), codec="libx264")
    return source
