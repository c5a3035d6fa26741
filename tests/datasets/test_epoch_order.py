"""The order of an epoch: a function of seed and epoch, shared by processes, the same after a resume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoviewclip.datasets.epoch_order import EpochSampler
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
