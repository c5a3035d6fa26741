"""Which frames make a clip: the published formulas to the index, strides in seconds, whole heart cycles."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoviewclip.datasets.sampling import MODES, clip_indices, segment_indices, stride_indices
from echoviewclip.utils.seeding import generator

videos, lengths, seeds = st.integers(1, 2000), st.integers(1, 64), st.integers(0, 2**32)


class Recorded:
    """A generator that notes what was asked of it and draws the highest values."""

    def __init__(self) -> None:
        self.asked = []

    def integers(self, high: int, size: int) -> np.ndarray:
        self.asked.append((high, size))
        return np.full(size, high - 1)


# Uniform.


@given(videos, lengths)
def test_evaluation_takes_the_middle_of_each_segment(n, T):
    exact = [floor((i + Fraction(1, 2)) * n / T) for i in range(T)]
    np.testing.assert_array_equal(segment_indices(n, T), [exact])


@given(videos, lengths, seeds)
def test_training_takes_a_random_frame_of_each_segment(n, T, seed):
    if n < T:
        return
    drawn = generator(seed).integers(n // T, size=T)
    exact = [i * (n // T) + drawn[i] for i in range(T)]
    np.testing.assert_array_equal(segment_indices(n, T, generator(seed)), [exact])


@given(videos, lengths)
def test_training_draws_below_the_length_of_a_segment(n, T):
    if n < T:
        return
    recorded = Recorded()
    np.testing.assert_array_equal(segment_indices(n, T, recorded), [[(i + 1) * (n // T) - 1 for i in range(T)]])
    assert recorded.asked == [(n // T, T)]


@given(lengths)
def test_training_on_a_video_shorter_than_the_clip_repeats_frames(T):
    for n in range(1, T):
        exact = [min(round(Fraction(i * n, T)), n - 1) for i in range(T)]  # ties to even
        np.testing.assert_array_equal(segment_indices(n, T, generator(0)), [exact])


def test_uniform_by_hand():
    np.testing.assert_array_equal(segment_indices(32, 4), [[4, 12, 20, 28]])
    np.testing.assert_array_equal(segment_indices(10, 4), [[1, 3, 6, 8]])
    np.testing.assert_array_equal(segment_indices(3, 4), [[0, 1, 1, 2]])
    np.testing.assert_array_equal(segment_indices(1, 4), [[0, 0, 0, 0]])
    np.testing.assert_array_equal(segment_indices(3, 4, generator(0)), [[0, 1, 2, 2]])  # 0, .75, 1.5, 2.25


def test_every_frame_of_a_segment_is_drawn_as_often():
    drawn = np.concatenate([segment_indices(12, 3, generator(seed)) for seed in range(800)])
    for i in range(3):
        counts = np.bincount(drawn[:, i], minlength=12)[4 * i : 4 * i + 4]
        assert counts.sum() == 800 and counts.min() > 150


@given(videos, lengths, st.integers(1, 10))
def test_several_clips_divide_each_segment(n, T, C):
    exact = [[floor((i + (k + Fraction(1, 2)) / C) * n / T) for i in range(T)] for k in range(C)]
    np.testing.assert_array_equal(segment_indices(n, T, clips=C), exact)


def test_several_training_clips_are_drawn_apart():
    one, other = segment_indices(1600, 16, generator(0), clips=2)
    assert (one != other).any()


# Stride.


@given(videos, lengths, st.floats(0.1, 50), st.none() | seeds, st.integers(1, 5))
def test_frames_lie_a_stride_apart_and_loop_at_the_end(n, T, step, seed, C):
    rows = stride_indices(n, T, step, None if seed is None else generator(seed), C)
    assert rows.shape == (C, T) and rows.dtype == np.int64
    for row in rows:
        assert ((row >= 0) & (row < n)).all()
        steps = np.diff(row) % n
        assert np.isin(steps, [floor(step) % n, (floor(step) + 1) % n]).all()
    if (T - 1) * step <= n - 1:
        assert (np.diff(rows) >= 0).all()  # nothing loops where there is room


def test_a_stride_is_centred_in_evaluation():
    np.testing.assert_array_equal(stride_indices(11, 4, 2), [[2, 4, 6, 8]])
    np.testing.assert_array_equal(stride_indices(25, 4, 2, clips=3), [[3, 5, 7, 9], [9, 11, 13, 15], [15, 17, 19, 21]])


def test_a_stride_begins_anywhere_that_leaves_room_in_training():
    starts = {int(stride_indices(11, 4, 2, generator(seed))[0, 0]) for seed in range(200)}
    assert starts == set(range(5))


def test_a_video_shorter_than_the_clip_loops_as_a_machine_plays_it():
    np.testing.assert_array_equal(stride_indices(5, 8, 1), [[0, 1, 2, 3, 4, 0, 1, 2]])
    np.testing.assert_array_equal(stride_indices(1, 4, 3), [[0, 0, 0, 0]])


@pytest.mark.parametrize("fps, step", [(25, 1), (50, 2), (100, 4), (12.5, 0.5)])
def test_a_stride_in_seconds_covers_the_same_time_at_every_rate(fps, step):
    indices = clip_indices(400, 8, mode="stride", fps=fps, stride_seconds=0.04)
    np.testing.assert_array_equal(indices, stride_indices(400, 8, step))
    assert (indices[0, -1] - indices[0, 0]) / fps == pytest.approx(7 * 0.04, abs=1 / fps)


# Heart cycle.


@pytest.mark.parametrize("fps, heart_rate, step", [(30, 60, 3), (60, 60, 6), (30, 120, 1.5), (50, 75, 4)])
def test_a_heart_cycle_is_divided_into_equal_steps(fps, heart_rate, step):
    indices = clip_indices(200, 10, mode="cycle", fps=fps, heart_rate=heart_rate)
    np.testing.assert_array_equal(indices, stride_indices(200, 10, step))
    frames_in_a_cycle = fps * 60 / heart_rate
    assert indices[0, -1] - indices[0, 0] == pytest.approx(frames_in_a_cycle * 9 / 10, abs=1)


@pytest.mark.parametrize(
    "mode, rates",
    [
        ("stride", {}),
        ("cycle", {}),
        ("cycle", {"fps": 30}),
        ("cycle", {"heart_rate": 70}),
        ("uniform", {"fps": 30, "heart_rate": 70}),
    ],
)
def test_without_the_rates_that_it_needs_a_mode_is_uniform(mode, rates):
    np.testing.assert_array_equal(clip_indices(100, 16, mode=mode, **rates), segment_indices(100, 16))
    ours, theirs = (f(100, 16, generator=generator(3)) for f in (_of(mode, rates), segment_indices))
    np.testing.assert_array_equal(ours, theirs)


def _of(mode, rates):
    return lambda frames, length, generator: clip_indices(frames, length, mode=mode, generator=generator, **rates)


@given(videos, lengths, st.sampled_from(MODES), st.none() | st.floats(0.5, 1000), st.none() | st.floats(20, 250), seeds)
def test_every_mode_gives_frames_that_exist(n, T, mode, fps, heart_rate, seed):
    for chance in (None, generator(seed)):
        for clips in (1, 3):
            indices = clip_indices(n, T, mode=mode, fps=fps, heart_rate=heart_rate, generator=chance, clips=clips)
            assert indices.shape == (clips, T) and indices.dtype == np.int64
            assert indices.min() >= 0 and indices.max() < n


@given(videos, lengths, st.sampled_from(MODES), seeds)
def test_the_same_key_draws_the_same_clip(n, T, mode, seed):
    rates = {"mode": mode, "fps": 30.0, "heart_rate": 66.0}
    one, other = (clip_indices(n, T, generator=generator(seed, 4, 7), **rates) for _ in range(2))
    np.testing.assert_array_equal(one, other)
