"""The order of an epoch over shards: every video once, the same whoever reads, and a plan that only goes forward."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.shard_order import Shards, ShardSampler, shuffled
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.seeding import generator

LAYOUTS = st.lists(st.integers(1, 9), min_size=1, max_size=30)  # videos of each shard


def shards(sizes) -> Shards:
    paths = [f"/d/{shard:03d}.tar/{video}.avi" for shard, size in enumerate(sizes) for video in range(size)]
    return Shards(Annotations.of_paths(paths))


def sampler(sizes, rank=0, world=1, batch_size=3, buffer=20, epoch=0, seed=0) -> ShardSampler:
    made = ShardSampler(shards(sizes), seed, rank, world, batch_size=batch_size, buffer=buffer)
    made.epoch = epoch
    return made


@settings(max_examples=40, deadline=None)
@given(LAYOUTS, st.integers(1, 5), st.integers(1, 5), st.integers(0, 60), st.integers(0, 3))
def test_the_shares_of_all_processes_cover_the_epoch(sizes, world, batch_size, buffer, epoch):
    shares = []
    for rank in range(world):
        made = sampler(sizes, rank, world, batch_size, buffer, epoch)
        shares.append([turn.video for turn in made])
        assert len(shares[-1]) == len(made) == -(-sum(sizes) // world)
        assert made.order(epoch)[rank::world].tolist() == shares[-1]
    counts = np.bincount(np.concatenate(shares), minlength=sum(sizes))
    assert counts.min() >= 1 and len(counts) == sum(sizes)
    assert counts.sum() - sum(sizes) < world  # as few twice as equal shares allow


@settings(max_examples=40, deadline=None)
@given(LAYOUTS, st.integers(1, 3), st.integers(1, 5), st.integers(0, 60), st.integers(0, 100))
def test_the_plan_reads_each_video_left_once_and_forward_and_holds_no_more_than_the_buffer(
    sizes, world, batch_size, buffer, skip
):
    made = sampler(sizes, world - 1, world, batch_size, buffer)
    whole = [turn.video for turn in made]
    made.skip = skip
    turns = list(made)
    assert [turn.video for turn in turns] == whole[skip:]
    assert Counter(video for turn in turns for video in turn.ahead) == Counter(whole[skip:])
    held, read = set(), defaultdict(list)
    for turn in turns:
        held |= set(turn.ahead)
        read[turn.lane] += turn.ahead
        assert turn.video in held
        assert len(held) <= made.buffer * made.lanes
        held.remove(turn.video)
    shard_of = np.repeat(np.arange(len(sizes)), sizes)
    for videos in read.values():
        visits = [shard for k, shard in enumerate(shard_of[videos]) if k == 0 or shard != shard_of[videos[k - 1]]]
        assert len(set(visits)) >= len(visits) - 1  # a shard again only where the row of all shards begins again
        for shard in set(visits):
            inside = [video for video in videos if shard_of[video] == shard]
            assert inside == sorted(inside) or len(visits) > len(set(visits)) or world > 1


def test_batches_are_of_one_lane_each_and_reading_processes_share_the_lanes():
    made = sampler([5] * 24, world=2, batch_size=4, buffer=24)
    turns = list(made)
    batches = [turns[k : k + 4] for k in range(0, len(turns), 4)]
    assert made.lanes == 12 and made.buffer == 2
    assert [{turn.lane for turn in batch} for batch in batches] == [{k % 12} for k in range(len(batches))]
    assert [made.readers(most) for most in (0, 1, 4, 5, 8, 12, 40)] == [0, 1, 4, 4, 6, 12, 12]
    few = sampler([5] * 3)
    assert few.lanes == 3 and [few.readers(most) for most in (1, 2, 4)] == [1, 1, 3]


def test_shards_are_read_in_the_order_of_the_list_and_each_epoch_takes_them_in_another():
    one_by_one = sampler([3, 3, 3, 3], world=4, batch_size=1, buffer=1)  # a process a shard, nothing shuffled in it
    order = one_by_one.order(0).reshape(3, 4).T
    assert sorted(order.tolist()) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert order.tolist() != one_by_one.order(1).reshape(3, 4).T.tolist()
    orders = {tuple(sampler([4] * 6, epoch=epoch, seed=seed).order(epoch)) for epoch in range(3) for seed in range(3)}
    assert len(orders) == 9


def test_a_buffer_of_one_shuffles_nothing_and_one_of_all_gives_each_order_as_often():
    assert shuffled(5, 1, generator(0)).tolist() == [0, 1, 2, 3, 4]
    counts = Counter(tuple(shuffled(3, 8, generator(0, k)).tolist()) for k in range(3000))
    assert set(counts) == set(permutations(range(3)))
    assert all(abs(count - 500) < 5 * np.sqrt(500) for count in counts.values())  # five standard deviations


def test_a_video_leaves_a_buffer_of_three_at_most_two_places_early():
    for k in range(50):
        order = shuffled(20, 3, generator(k))
        assert sorted(order) == list(range(20))
        assert (order - np.arange(20) <= 2).all()


def test_a_list_with_a_video_in_no_shard_is_refused(tmp_path):
    with pytest.raises(UserError) as refused:
        Shards(Annotations.of_paths(["/d/0.tar/a.avi", "/d/b.avi"]))
    assert str(refused.value) == (
        ".:2: DATA.SHUFFLE_BUFFER reads shards, and this video lies in none (SHARD.tar/VIDEO); set it to 0, or write "
        "shards with tools/prepare.py --shards"
    )
