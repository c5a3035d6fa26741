"""A folder of hospital files and a run that prepares it; a folder of a public data set and the lists of its adapter."""

from __future__ import annotations

import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake import adapters
from echoviewclip.datasets.intake.check import check_annotations
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


@pytest.fixture
def lists(source, tmp_path):
    """Runs an adapter; returns what a list of it says, video by video."""

    def run(name, table="annotations", target="class"):
        done = adapters.adapt(name, source, tmp_path / "lists")
        assert done.absent == []
        listed = read_annotations(tmp_path / "lists" / f"{table}.csv", done.root, target=target)
        assert check_annotations(listed) == [] or not adapters.ADAPTERS[name].labels
        return [(listed.name(i), int(listed.labels[i]), listed.patient(i)) for i in range(len(listed))]

    return run
