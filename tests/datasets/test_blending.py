"""Mixup and CutMix on clips: one draw for all frames, boxes in height and width only, targets in the same shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from echoviewclip.datasets.blending import Blending, cut_box
from echoviewclip.utils.seeding import generator

BLACK_AND_WHITE = torch.stack([torch.zeros(5, 3, 16, 24), torch.ones(5, 3, 16, 24)])  # [2, 5, 3, 16, 24]
TARGETS = torch.eye(2)


def test_switched_off_nothing_is_blended():
    video, targets = Blending(0, 0, 0.5)(BLACK_AND_WHITE, TARGETS, generator(0))
    assert torch.equal(video, BLACK_AND_WHITE) and torch.equal(targets, TARGETS)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_blends_clip_and_target_in_one_share(seed):
    video, targets = Blending(0.8, 0, 0.5)(BLACK_AND_WHITE, TARGETS, generator(seed))
    share = float(generator(seed).beta(0.8, 0.8))
    torch.testing.assert_close(video[1], torch.full_like(video[1], share))
    torch.testing.assert_close(video[0], torch.full_like(video[0], 1 - share))
    torch.testing.assert_close(targets, torch.tensor([[share, 1 - share], [1 - share, share]]))


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_cuts_one_box_through_all_frames_and_counts_its_pixels(seed):
    video, targets = Blending(0, 1.0, 0.5)(BLACK_AND_WHITE, TARGETS, generator(seed))
    for frame in video[0]:
        assert torch.equal(frame, video[0, 0])  # time stays whole
    picture = video[0, 0, 0]
    rows, columns = picture.any(dim=1), picture.any(dim=0)
    assert torch.equal(picture.bool(), rows[:, None] & columns)  # a box
    assert torch.equal(video[1], 1 - video[0])
    assert targets[0, 1].item() == pytest.approx(picture.mean().item()) == targets[1, 0].item()


def test_the_inputs_stay_as_they_are():
    video, targets = BLACK_AND_WHITE.clone(), TARGETS.clone()
    for blending in (Blending(1, 0, 0), Blending(0, 1, 0)):
        blending(video, targets, generator(1))
    assert torch.equal(video, BLACK_AND_WHITE) and torch.equal(targets, TARGETS)


def test_where_both_are_on_cutmix_comes_as_often_as_asked():
    blending = Blending(0.8, 1.0, 0.25)
    blended = (blending(BLACK_AND_WHITE, TARGETS, generator(seed))[0] for seed in range(400))
    cut = [bool(((video == 0) | (video == 1)).all()) for video in blended]
    assert np.mean(cut) == pytest.approx(0.25, abs=0.06)


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 1), st.integers(0, 1000))
def test_a_box_lies_within_the_frame(height, width, share, seed):
    top, bottom, left, right = cut_box(height, width, share, generator(seed))
    assert 0 <= top <= bottom <= height and 0 <= left <= right <= width
    assert (bottom - top) * (right - left) <= (1 - share) * height * width + 1e-6
