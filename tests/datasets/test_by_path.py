"""Groups of videos that the same processes read one after the other, taken a few batches before their turn."""

from __future__ import annotations

import os
import re
import signal
from itertools import count
from pathlib import Path

import pytest
import torch

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.by_path import GroupReader
from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.loader import evaluation_loader
from echoviewclip.datasets.reading import reading_faults
from echoviewclip.datasets.video.open import open_video
from tests.tiny_data import assert_same
from tests.utils.test_files import refusal

SIZES = (3, 1, 5, 2)  # of the groups


def dataset(paths=(), opener=None) -> VideoDataset:
    return VideoDataset(Annotations.of_paths(paths), frames=2, size=32, opener=opener)


def reader(groups, opener=None, workers=0, rank=0, world=1) -> GroupReader:
    options = {"batch_size": 2, "workers": workers, "rank": rank, "world": world, "pin_memory": False}
    return GroupReader(dataset(opener=opener), groups, **options)


@pytest.fixture
def groups(tiny_folder) -> list[tuple[int, list[str]]]:
    paths = iter(sorted(map(str, (tiny_folder / "videos").iterdir())))
    return [(number, [next(paths) for _ in range(size)]) for number, size in enumerate(SIZES)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2])
def test_each_group_is_read_as_a_list_of_its_own(groups, workers, world):
    for rank in range(world):
        found = [(group, list(batches)) for group, batches in reader(groups, workers=workers, rank=rank, world=world)]
        assert [group for group, _ in found] == groups
        for (_, paths), batches in found:
            options = {"workers": 0, "rank": rank, "world": world, "pin_memory": False}
            expected = list(evaluation_loader(dataset(paths), batch_size=2, **options))
            assert len(batches) == len(expected)
            for batch, other in zip(batches, expected, strict=True):
                for name in ("video", "frames", "place", "failed", "length", "fps", "faults", "warnings"):
                    assert_same(getattr(batch, name), getattr(other, name), name)


def test_one_process_reads_all_groups(groups, tmp_path):
    def noting(path: str, decoder: str):
        (tmp_path / str(os.getpid())).touch()
        return open_video(path, decoder)

    for _, batches in reader(groups, noting, workers=1):
        list(batches)
    processes = list(tmp_path.iterdir())
    assert len(processes) == 1 and processes[0].name != str(os.getpid())


@pytest.mark.parametrize("workers", [0, 1])
def test_groups_are_taken_a_few_batches_before_their_turn(groups, workers):
    taken: list[int] = []
    endless = (taken.append(number) or (number, groups[0][1]) for number in count())  # of two batches each
    reading = iter(reader(endless, workers=workers))
    for number in range(3):
        (found, _), batches = next(reading)
        assert found == number and len(torch.cat([batch.place for batch in batches])) == 3
        assert len(taken) <= number + 3


def test_what_cannot_be_read_is_a_sample_that_failed(groups, tmp_path):
    (tmp_path / "bad.avi").write_bytes(b"no video")
    groups[1][1][0] = str(tmp_path / "bad.avi")
    found = {number: list(batches) for (number, _), batches in reader(groups)}
    assert [bool(batch.failed.any()) for number in found for batch in found[number]] == [
        False,
        False,
        True,
        *4 * [False],
    ]
    assert [name for name, _ in found[1][0].faults] == [str(tmp_path / "bad.avi")]


def test_a_video_that_is_waited_for_is_named_by_its_number(groups):
    reading = reader(groups)
    asked = [one for batch in reading._ask() for one in batch]
    assert [one.video for one in asked] == list(range(len(asked)))
    assert [reading.videos.name(one.video) for one in asked] == [one.path for one in asked]
    assert reading.videos.name(len(asked)) == "a video"


def test_the_video_at_which_a_process_died_is_named(groups):
    victim = groups[2][1][4]

    def dying(path: str, decoder: str):
        if path == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return open_video(path, decoder)

    def read_all() -> None:
        with reading_faults():
            for _, batches in reader(groups, dying, workers=1):
                list(batches)

    assert re.match(rf"reading process \d+ died while it read .*{Path(victim).name}; ", refusal(read_all))
