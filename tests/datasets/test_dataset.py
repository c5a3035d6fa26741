"""Samples and batches: a function of (seed, epoch, sample) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.cropping import EvalCrop, TrainCrop, clips_on
from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.intake.encode import write_mjpeg
from echoviewclip.datasets.loader import evaluation_loader
from echoviewclip.datasets.sample import Sample
from echoviewclip.datasets.sampling import segment_indices, stride_indices
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.seeding import generator
from tests.datasets.small_list import FRAMES, SIZE, VIDEOS, assert_same, dataset, joined, training_data
from tests.media import numbered_frames

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
