"""Samples and batches: a function of (seed, epoch, sample) alone; what becomes of videos that cannot be read."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.cropping import EvalCrop, TrainCrop, clips_on
from echoviewclip.datasets.dataset import MAX_REPLACEMENTS, VideoDataset
from echoviewclip.datasets.intake.encode import write_mjpeg
from echoviewclip.datasets.loader import EpochSampler, TrainingData, evaluation_loader
from echoviewclip.datasets.sample import Sample
from echoviewclip.datasets.sampling import segment_indices, stride_indices
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.seeding import generator
from tests.media import numbered_frames, write_video

VIDEOS, FRAMES, SIZE = 11, 12, 32
BAD = "clip 4.avi"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Readable videos and `list.txt`; `one_bad.txt` names an unreadable one in place of the fifth."""
    folder = tmp_path_factory.mktemp("videos")
    lines = []
    for k in range(VIDEOS):
        write_video(folder / f"good {k}.avi", numbered_frames(FRAMES, height=40, width=48, seed=k))
        lines.append(f"good {k}.avi {k % 3}")
    (folder / "list.txt").write_text("\n".join(lines))
    (folder / BAD).write_bytes((folder / "good 4.avi").read_bytes()[:3000])
    (folder / "one_bad.txt").write_text("\n".join([*lines[:4], f"{BAD} 1", *lines[5:]]))
    (folder / "all_bad.txt").write_text(f"{BAD} 0\n" * 3)
    return folder


def dataset(folder: Path, name: str = "list.txt", **options) -> VideoDataset:
    return VideoDataset(read_annotations(folder / name), **({"frames": 4, "size": SIZE, "train": True} | options))


def training_data(videos: VideoDataset, **options) -> TrainingData:
    settings = {"batch_size": 3, "workers": 0, "seed": 0, "rank": 0, "world": 1}
    settings |= {"pin_memory": False, "max_bad_fraction": 0.5} | options
    return TrainingData(videos, DeviceTransform(train=True), **settings)


def joined(batches) -> Sample:
    """All samples of some batches, in order."""
    *columns, faults, warnings = zip(*batches, strict=True)
    tensors = (None if column[0] is None else torch.cat(column) for column in columns)
    return Sample(*tensors, *([remark for part in said for remark in part] for said in (faults, warnings)))


def assert_same(one: Sample, other: Sample) -> None:
    assert one[-2:] == other[-2:] and (one.box is None) == (other.box is None)
    for ours, theirs in zip(one[:-2], other[:-2], strict=True):
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


# A sample.


def test_a_training_sample_is_one_clip_cropped_at_random(folder):
    sample = dataset(folder)[7]
    random = generator(0, 0, 7)
    seed = int(random.integers(2**63))
    indices = segment_indices(FRAMES, 4, random)
    with open_video(folder / "good 7.avi") as video:
        pixels = video.frames(indices[0])
    random.random()  # decides on the background
    expected = TrainCrop(SIZE)(pixels, random)
    assert torch.equal(sample.video, expected) and sample.video.shape == (1, 4, 3, SIZE, SIZE)
    assert sample.frames.tolist() == indices.tolist()
    assert (sample.label.item(), sample.place.item(), sample.seed.item()) == (1, 7, seed)
    assert torch.isnan(sample.score) and not sample.failed and sample.faults == []


@pytest.mark.parametrize("clips, crops", [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_an_evaluation_sample_has_all_views_with_the_crops_of_a_clip_together(folder, clips, crops):
    sample = dataset(folder, train=False, clips=clips, crops=crops)[2]
    indices = segment_indices(FRAMES, 4, clips=clips)
    with open_video(folder / "good 2.avi") as video:
        expected = torch.cat([EvalCrop(SIZE, crops)(video.frames(row)) for row in indices])
    assert torch.equal(sample.video, expected) and len(expected) == clips * crops
    assert sample.frames.tolist() == np.repeat(indices, crops, axis=0).tolist()


@pytest.mark.parametrize("options", [{}, {"background_swap": 1.0}, {"train": False, "clips": 2, "crops": 3}])
def test_a_batch_cut_on_the_device_is_the_batch_cut_in_the_worker(folder, options):
    videos = [dataset(folder, "one_bad.txt", resize_on_device=there, **options) for there in (False, True)]
    loaders = [evaluation_loader(v, batch_size=3, workers=0, rank=0, world=1, pin_memory=False) for v in videos]
    for worker, device in zip(*loaders, strict=True):
        assert device.video.shape[-2:] == (40, 48) and worker.box is None
        assert_same(device._replace(video=clips_on(torch.device("cpu"), device, SIZE), box=None), worker)


def test_evaluation_is_the_same_in_every_epoch(folder):
    videos = dataset(folder, train=False)
    first = videos[3].video
    videos.set_epoch(9)
    assert torch.equal(videos[3].video, first)


def test_targets_of_every_kind_reach_the_sample(folder):
    (folder / "many.txt").write_text("good 0.avi 0 2\ngood 1.avi 1\n")
    (folder / "scores.txt").write_text("good 0.avi 0.25\n")
    many = VideoDataset(read_annotations(folder / "many.txt", target="multilabel"), frames=2, size=8)
    assert many[0].label.tolist() == [1, 0, 1] and many[1].label.tolist() == [0, 1, 0]
    scores = VideoDataset(read_annotations(folder / "scores.txt", target="score"), frames=2, size=8)
    assert scores[0].score.item() == 0.25 and scores[0].label.item() == -1


def test_the_rates_of_the_file_choose_the_frames_of_a_heart_cycle(tmp_path):
    write_mjpeg(tmp_path / "a.avi", iter(numbered_frames(100, 32, 48)), fps=40, heart_rate=80)
    (tmp_path / "list.txt").write_text("a.avi 0\n")
    for mode, step in (("cycle", 60 / 80 * 40 / 8), ("stride", 0.1 * 40)):
        sample = dataset(tmp_path, train=False, frames=8, sampling=mode, stride_seconds=0.1)[0]
        assert sample.frames.tolist() == stride_indices(100, 8, step).tolist()


# Of (seed, epoch, sample) alone.


def test_a_sample_changes_with_seed_and_epoch_only(folder):
    videos = dataset(folder)
    first = videos[5]
    assert torch.equal(videos[5].video, first.video) and torch.equal(videos[5].seed, first.seed)
    assert torch.equal(dataset(folder)[5].video, first.video)
    videos.set_epoch(1)
    assert not torch.equal(videos[5].seed, first.seed)
    assert not torch.equal(dataset(folder, seed=1)[5].seed, first.seed)
    drawn = {tuple(dataset(folder, seed=seed)[5].frames.flatten().tolist()) for seed in range(12)}
    assert len(drawn) > 6


def test_workers_and_batches_change_no_sample(folder):
    """Two epochs, as workers that live on must see the second; and a video that is replaced."""
    expected = [joined(training_data(dataset(folder, "one_bad.txt")).epoch(epoch)) for epoch in range(2)]
    assert not torch.equal(expected[0].seed, expected[1].seed)
    for workers, batch_size in ((0, 4), (1, 3), (2, 4), (2, 1)):
        data = training_data(dataset(folder, "one_bad.txt"), workers=workers, batch_size=batch_size)
        for epoch in range(2):
            assert_same(joined(data.epoch(epoch)), expected[epoch])


def test_the_share_of_a_process_changes_no_sample(folder):
    whole = joined(training_data(dataset(folder)).epoch(3))
    for rank in range(2):
        share = joined(training_data(dataset(folder), rank=rank, world=2).epoch(3))
        wrapped = torch.arange(rank, 12, 2) % VIDEOS  # twelve places for eleven videos
        tensors = (None if values is None else values[wrapped] for values in whole[:-2])
        assert_same(share, Sample(*tensors, faults=[], warnings=[]))


def test_augmentation_follows_the_sample_not_the_batch(folder):
    transform = DeviceTransform(train=True, flip=0.5, color_jitter=0.8, gray_scale=0.2, erasing=0.3)
    results = []
    for batch_size in (1, 4):
        data, found = training_data(dataset(folder), batch_size=batch_size), {}
        for batch in data.epoch(0):
            for row, index in enumerate(batch.place.tolist()):
                found[index] = transform(batch.video[:, 0], batch.seed)[row]
        results.append(found)
    for index in range(VIDEOS):
        torch.testing.assert_close(results[0][index], results[1][index], rtol=0, atol=1e-5)


# The order of an epoch.


@given(st.integers(1, 200), st.integers(0, 5), st.integers(0, 5), st.integers(1, 9))
def test_the_shares_of_all_processes_cover_the_epoch(videos, seed, epoch, world):
    shares = []
    for rank in range(world):
        sampler = EpochSampler(videos, seed, rank, world)
        sampler.epoch = epoch
        shares.append(list(sampler))
        assert len(shares[-1]) == len(sampler) == -(-videos // world)
    counts = np.bincount(np.concatenate(shares), minlength=videos)
    assert counts.min() >= 1 and len(counts) == videos
    assert counts.sum() - videos < world  # as few twice as equal shares allow


@given(st.integers(1, 100), st.integers(0, 4), st.integers(1, 4), st.integers(0, 120))
def test_after_a_resume_the_rest_of_the_share_follows(videos, epoch, world, skip):
    sampler = EpochSampler(videos, 7, 0, world)
    sampler.epoch = epoch
    whole = list(sampler)
    sampler.skip = skip
    assert list(sampler) == whole[skip:]


def test_the_order_depends_on_seed_and_epoch():
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(50, seed, 0, 1)
        sampler.epoch = epoch
        return list(sampler)

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) != order(1, 1)
    assert sorted(order(3, 9)) == list(range(50))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_epoch_gives_the_batches_that_were_left(folder, workers):
    data = training_data(dataset(folder), workers=workers)
    whole = list(data.epoch(2))
    rest = list(training_data(dataset(folder), workers=workers).epoch(2, skip=2))
    assert data.batches == len(whole) == len(rest) + 2
    assert_same(joined(rest), joined(whole[2:]))


@pytest.mark.parametrize("world", [1, 2, 3, 20])
def test_evaluation_reads_each_video_once_over_all_processes(folder, world):
    seen = []
    for rank in range(world):
        loader = evaluation_loader(
            dataset(folder, train=False), batch_size=2, workers=0, rank=rank, world=world, pin_memory=False
        )
        share = [index for batch in loader for index in batch.place.tolist()]
        assert share == sorted(share)
        seen += share
    assert sorted(seen) == list(range(VIDEOS))


# Videos that cannot be read.


def test_in_training_an_unreadable_video_is_replaced_by_another(folder):
    videos = dataset(folder, "one_bad.txt")
    sample = videos[4]
    index = sample.place.item()
    assert sample.failed and index != 4
    assert sample.label.item() == videos.annotations.labels[index]
    [(name, reason)] = sample.faults
    assert name == BAD and reason
    again = videos[4]
    assert again.place.item() == index and torch.equal(again.video, sample.video)


def test_the_replacement_changes_from_epoch_to_epoch(folder):
    videos, chosen = dataset(folder, "one_bad.txt"), set()
    for epoch in range(30):
        videos.set_epoch(epoch)
        chosen.add(videos[4].place.item())
    assert 4 not in chosen and len(chosen) > 5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_replaced_video_is_logged_once_with_its_path_and_counted(folder, caplog, workers):
    data = training_data(dataset(folder, "one_bad.txt"), workers=workers)
    with caplog.at_level(logging.WARNING):
        for epoch in range(3):
            batches = list(data.epoch(epoch))
            assert sum(len(batch.video) for batch in batches) == VIDEOS
            assert sum(batch.failed.sum().item() for batch in batches) == 1
    warnings = [record.getMessage() for record in caplog.records if BAD in record.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{BAD} cannot be read and is replaced by another video: ")
    assert data.bad_videos == 1


def test_more_unreadable_videos_than_allowed_stop_the_run_with_the_list(folder):
    data = training_data(dataset(folder, "one_bad.txt"), max_bad_fraction=0.01)
    with pytest.raises(UserError) as caught:
        list(data.epoch(0))
    first, second = str(caught.value).split("\n")
    assert first == (
        "1 of 11 training videos cannot be read, more than DATA.MAX_BAD_FRACTION 0.01 allows; fix or remove them:"
    )
    assert second.startswith(f"  {BAD}: ")


def test_unreadable_videos_of_all_processes_are_counted_together(folder, monkeypatch):
    data = training_data(dataset(folder), max_bad_fraction=1.5 / VIDEOS)
    shares = [{"a.avi": "cut off"}, {}]
    monkeypatch.setattr("echoviewclip.datasets.loader.gather", lambda own: [own, *shares])
    data.share_faults()
    assert data.bad_videos == 1
    shares.append({"b.avi": "empty"})
    with pytest.raises(UserError) as caught:
        data.share_faults()
    assert str(caught.value).startswith("2 of 11 training videos cannot be read, more than DATA.MAX_BAD_FRACTION ")
    assert str(caught.value).endswith("\n  a.avi: cut off\n  b.avi: empty")


def test_unreadable_videos_of_one_epoch_do_not_count_in_the_next(folder):
    data = training_data(dataset(folder), max_bad_fraction=1 / VIDEOS)
    for epoch, name in enumerate(("a.avi", "b.avi")):  # as where a network drive fails now and then
        next(data.epoch(epoch))
        data.note([(name, "timed out")])
        assert data.bad_videos == 1
    with pytest.raises(UserError):
        data.note([("c.avi", "timed out")])


def test_as_many_unreadable_videos_as_allowed_do_not_stop_the_run(folder):
    list(training_data(dataset(folder, "one_bad.txt"), max_bad_fraction=1 / VIDEOS).epoch(0))


def test_where_nothing_can_be_read_training_stops(folder):
    with pytest.raises(UserError, match=rf"{MAX_REPLACEMENTS + 1} videos in a row cannot be read; the last: .*{BAD}: "):
        dataset(folder, "all_bad.txt")[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_in_evaluation_an_unreadable_video_is_a_failed_row_and_nothing_is_replaced(folder, workers):
    videos = dataset(folder, "one_bad.txt", train=False, clips=2)
    loader = evaluation_loader(videos, batch_size=4, workers=workers, rank=0, world=1, pin_memory=False)
    batches = list(loader)
    samples = joined(batches)
    assert samples.place.tolist() == list(range(VIDEOS))
    assert samples.failed.tolist() == [index == 4 for index in range(VIDEOS)]
    assert [name for batch in batches for name, _ in batch.faults] == [BAD]
    assert (samples.video[4] == 0).all() and (samples.frames[4] == -1).all()
    assert samples.label[4] == 1
    assert samples.video.flatten(1).any(1).sum() == VIDEOS - 1


def test_an_evaluation_in_which_nothing_can_be_read_still_has_all_rows(folder):
    videos = dataset(folder, "all_bad.txt", train=False)
    assert [videos[k].failed.item() for k in range(3)] == [True] * 3


def test_a_missing_file_is_a_fault_like_any_other(folder):
    (folder / "missing.txt").write_text("nowhere.avi 0\ngood 1.avi 1\n")
    sample = dataset(folder, "missing.txt", train=False)[0]
    assert sample.faults == [("nowhere.avi", "cannot be read: No such file or directory")]


# Background.


def moving_disk(seed: int, background: int) -> np.ndarray:
    """uint8 [8, 96, 96, 3]: grain that moves in a disk, around it a still grey."""
    y, x = np.mgrid[:96, :96]
    grain = np.random.default_rng(seed).integers(60, 250, (8, 24, 24)).repeat(4, 1).repeat(4, 2)
    return np.where(np.hypot(y - 48, x - 48) < 40, grain, background)[..., None].repeat(3, -1).astype(np.uint8)


def test_a_background_comes_from_another_video_of_the_list(tmp_path):
    for number, background in enumerate((30, 220)):
        np.save(tmp_path / f"{number}.npy", moving_disk(number, background))
    (tmp_path / "list.txt").write_text("0.npy 0\n1.npy 1\n")
    options = {"size": 96, "frames": 8, "scales": (1,)}
    corners = {
        dataset(tmp_path, background_swap=1.0, seed=k, **options)[0].video[0, 0, 0, 0, 0].item() for k in range(9)
    }
    assert corners == {30, 220}
    for seed in range(3):
        plain = dataset(tmp_path, seed=seed, **options)[0].video
        assert (plain[..., 0, 0] == 30).all()
        swapped = dataset(tmp_path, background_swap=1.0, seed=seed, **options)[0].video
        assert torch.equal(swapped[..., 30:66, 30:66], plain[..., 30:66, 30:66])
    assert (dataset(tmp_path, background_swap=1.0, train=False, **options)[0].video[..., 3, 3] == 30).all()


def test_a_background_that_cannot_be_read_is_black(tmp_path):
    np.save(tmp_path / "0.npy", moving_disk(0, 90))
    (tmp_path / "1.npy").write_text("rubbish")
    (tmp_path / "list.txt").write_text("0.npy 0\n" + "1.npy 1\n" * 20)
    sample = dataset(tmp_path, background_swap=1.0, size=96, frames=8, scales=(1,))[0]
    assert (sample.video[..., 0, 0] == 0).all() and not sample.failed
