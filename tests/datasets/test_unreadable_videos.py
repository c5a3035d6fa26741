"""Videos that cannot be read: replaced and counted in training, a failed row in evaluation."""

from __future__ import annotations

import logging

import pytest
import torch

from echoviewclip.datasets.dataset import MAX_REPLACEMENTS
from echoviewclip.datasets.loader import evaluation_loader
from echoviewclip.utils.errors import UserError
from tests.datasets.small_list import BAD, VIDEOS, dataset, joined, training_data


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
