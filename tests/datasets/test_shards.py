"""Training from shards: same samples as from files, whoever reads; front to back; damage costs what is damaged."""

from __future__ import annotations

import io
import shutil
from itertools import pairwise

import pytest
import torch

from echoviewclip.datasets import forward
from echoviewclip.datasets.loader import evaluation_loader
from echoviewclip.datasets.sample import Sample
from tests.datasets.shard_list import CUT, VIDEOS, shards_of, write_prepared
from tests.datasets.small_list import assert_same, dataset, joined, training_data


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "data"
    write_prepared(folder)
    return folder


@pytest.fixture
def shards(prepared, tmp_path):
    """A copy, to be damaged."""
    return shutil.copytree(prepared / "shards", tmp_path / "shards")


def data_of(folder, **options):
    videos = dataset(folder, "train.csv", seed=3)
    return training_data(videos, **{"seed": 3, "shuffle_buffer": 30, "batch_size": 2} | options)


def epoch_of(folder, epoch=1, skip=0, **options) -> Sample:
    return joined(data_of(folder, **options).epoch(epoch, skip))


def test_0_2_and_4_reading_processes_give_the_same_batches_and_a_resume_those_that_were_left(prepared):
    folder = prepared / "shards"
    assert len(shards_of(folder)) == 13
    whole = epoch_of(folder)
    assert sorted(whole.place.tolist()) == list(range(VIDEOS)) and not whole.faults
    for workers, skip in ((0, 5), (2, 0), (4, 7)):
        rest = epoch_of(folder, workers=workers, skip=skip)
        assert_same(rest, type(whole)(*(part if part is None else part[2 * skip :] for part in whole)))


def test_a_sample_is_that_of_the_video_as_a_file(prepared):
    def by_name(folder, **options) -> dict[str, Sample]:
        data = data_of(folder, **options)
        names = data.dataset.annotations
        return {names.name(int(b.place)).split("/")[-1]: b for b in data.epoch(1)}

    packed = by_name(prepared / "shards", batch_size=1)
    videos = dataset(prepared, "train.csv", seed=3)
    videos.set_epoch(1)
    order = sorted(range(VIDEOS), key=videos.annotations.name)  # the order of the list of shards
    listed = dataset(prepared / "shards", "train.csv", seed=3)
    for place, i in enumerate(order):
        name = videos.annotations.name(i)
        assert listed.annotations.name(place).endswith(f"/{name}")
        assert int(packed[name].label) == int(videos.annotations.labels[i])
        with videos.opener(videos.annotations.path(i), "pyav") as video:
            frames = video.frames(packed[name].frames.flatten())
        with listed.opener(listed.annotations.path(place), "pyav") as video:
            assert torch.equal(video.frames(packed[name].frames.flatten()), frames)


def test_processes_have_disjoint_shares_whose_union_is_everything(prepared):
    shares = [epoch_of(prepared / "shards", rank=rank, world=2, workers=2).place.tolist() for rank in range(2)]
    assert not set(shares[0]) & set(shares[1])
    assert sorted(shares[0] + shares[1]) == list(range(VIDEOS))


def test_a_process_opens_each_shard_once_and_reads_it_front_to_back_without_seeking(prepared, monkeypatch):
    opened, seeks = [], []

    class Counted(io.FileIO):
        def __init__(self, name):
            super().__init__(name)
            self.places = []
            opened.append(self)

        def readinto(self, buffer):
            self.places.append(self.tell())
            return super().readinto(buffer)

        def seek(self, *to):
            seeks.append(to)
            return super().seek(*to)

    def counting(name, mode, buffering):
        return io.BufferedReader(Counted(name), 1 << 13)

    monkeypatch.setattr(forward, "open", counting, raising=False)
    # As many lanes as shards, so that none is cut between two lanes.
    monkeypatch.setattr("echoviewclip.datasets.shard_order.LANES", (13,))
    samples = epoch_of(prepared / "shards")
    assert sorted(samples.place.tolist()) == list(range(VIDEOS))
    assert sorted(file.name for file in opened) == [str(shard) for shard in shards_of(prepared / "shards")]
    assert seeks == []
    assert all(a <= b for file in opened for a, b in pairwise(file.places))


def test_what_was_read_ahead_is_what_training_uses(prepared, monkeypatch):
    data = data_of(prepared / "shards")
    monkeypatch.setattr("echoviewclip.datasets.video.tar.open_member", None)  # which reads from where it lies
    assert not joined(data.epoch(0)).faults


def test_a_corrupted_video_in_a_shard_is_a_bad_video_and_no_other_is(shards):
    archive = shards / "videos" / CUT
    content = bytearray(archive.read_bytes())
    content[512:15_000] = bytes(14_488)  # of the first video
    archive.write_bytes(content)
    data = data_of(shards, workers=2)
    samples = joined(data.epoch(0))
    assert len(samples.place) == VIDEOS and int(samples.failed.sum()) == 1
    [(name, _)] = data.bad.items()
    assert name.startswith(f"{CUT}/")


@pytest.mark.parametrize("index", [True, False])
def test_of_a_shard_that_is_cut_short_the_videos_before_the_cut_are_good(shards, index):
    archive = shards / "videos" / CUT
    archive.write_bytes(archive.read_bytes()[:-12_000])
    if not index:
        archive.with_suffix(".idx").unlink()
    data = data_of(shards, workers=2)
    assert int(joined(data.epoch(0)).failed.sum()) == 1
    [(name, reason)] = data.bad.items()
    assert name.startswith(f"{CUT}/") and reason == "cannot be read: the archive is cut short"


def test_the_videos_of_a_shard_that_is_gone_are_bad(shards):
    (shards / "videos" / CUT).unlink()
    data = data_of(shards, workers=2)
    assert int(joined(data.epoch(0)).failed.sum()) == 2
    assert {name.split("/")[0] for name in data.bad} == {CUT}


def test_an_index_of_another_archive_changes_no_sample(prepared, shards):
    first, *others = shards_of(shards)
    for shard in others[:4]:
        shutil.copy(first.with_suffix(".idx"), shard.with_suffix(".idx"))
    text = others[5].with_suffix(".idx").read_text().splitlines()
    lines = [line.rsplit(" ", 1) for line in text[1:]]
    swapped = [f"{a[0]} {b[1]}" for a, b in zip(lines, lines[::-1], strict=True)]
    others[5].with_suffix(".idx").write_text("\n".join([text[0], *swapped]) + "\n")
    assert_same(epoch_of(shards), epoch_of(prepared / "shards"))


def test_evaluation_reads_the_same_shards(prepared):
    def evaluated(folder):
        videos = dataset(folder, "train.csv", train=False)
        loader = evaluation_loader(videos, batch_size=2, workers=0, rank=0, world=1, pin_memory=False)
        names = [videos.annotations.name(i).split("/")[-1] for i in range(VIDEOS)]
        samples = joined(loader)
        return {names[place]: samples.video[k] for k, place in enumerate(samples.place.tolist())}

    packed, files = evaluated(prepared / "shards"), evaluated(prepared)
    assert packed.keys() == files.keys()
    assert all(torch.equal(packed[name], files[name]) for name in files)
