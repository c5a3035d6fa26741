"""The order of an epoch: a function of seed and epoch, shared by processes, the same after a resume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoviewclip.datasets.epoch_order import BalancedSampler, Draw, EpochSampler
from echoviewclip.datasets.loader import evaluation_loader
from tests.datasets.small_list import VIDEOS, assert_same, dataset, joined, training_data


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


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=60), st.integers(0, 3), st.integers(1, 4))
def test_a_balanced_epoch_holds_equally_many_of_each_class_and_no_class_twice_before_once(classes, epoch, world):
    classes = np.array(classes)
    shares = [balanced_share(classes, epoch, rank, world) for rank in range(world)]
    together = [drawn for turn in zip(*shares, strict=True) for drawn in turn]
    assert {len(share) for share in shares} == {-(-len(classes) // world)}
    videos = np.array([drawn if isinstance(drawn, int) else drawn.video for drawn in together[: len(classes)]])
    counts = np.unique(classes[videos], return_counts=True)[1]
    assert np.ptp(np.append(counts, 0 if len(counts) < len(set(classes.tolist())) else counts[0])) <= 1
    for one in np.unique(classes[videos]):
        times = np.bincount(videos, minlength=len(classes))[classes == one]
        assert np.ptp(times) <= 1
    assert len(set(together)) == len(together)  # no sample twice: a video's next draw is another sample


def balanced_share(classes, epoch, rank=0, world=1, seed=7, skip=0):
    sampler = BalancedSampler(classes, seed, rank, world)
    sampler.epoch, sampler.skip = epoch, skip
    return list(sampler)


def test_a_balanced_order_is_a_function_of_seed_and_epoch_and_goes_on_where_it_stopped():
    classes = np.array([0] * 30 + [1] * 5 + [2])
    whole = balanced_share(classes, 3, world=2)
    assert balanced_share(classes, 3, world=2, skip=5) == whole[5:]
    assert balanced_share(classes, 3) == [
        drawn for turn in zip(whole, balanced_share(classes, 3, 1, 2), strict=True) for drawn in turn
    ]
    assert balanced_share(classes, 4) != balanced_share(classes, 3) != balanced_share(classes, 3, seed=8)
    seen = {drawn for epoch in range(30) for drawn in balanced_share(classes, epoch) if isinstance(drawn, int)}
    assert seen == set(range(36))  # other videos of a large class in each epoch


def test_a_video_that_is_drawn_again_is_another_sample(folder):
    videos = dataset(folder)
    first, again = videos[2], videos[Draw(2, 1)]
    assert first.place == again.place == 2 and first.seed != again.seed
    assert videos[Draw(2, 1)].seed == again.seed != videos[Draw(2, 2)].seed


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_balanced_epoch_gives_the_batches_that_were_left(folder, workers):
    how = {"workers": workers, "balanced_over": np.array([0] * 9 + [1] * 2)}
    data = training_data(dataset(folder), **how)
    whole = list(data.epoch(2))
    assert_same(joined(training_data(dataset(folder), **how).epoch(2, skip=2)), joined(whole[2:]))
    assert len(joined(whole).place) == VIDEOS


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
