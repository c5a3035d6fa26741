"""Synthetic outliers: as many as said, of no class, made of the batch alone, with time left whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echoviewclip.datasets.outliers import KINDS, SyntheticOutliers, mixed, shuffled, turned
from echoviewclip.utils.seeding import generator


def batch(size: int = 8, side: int = 16) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    video = torch.randn(size, 3, 3, side, side, generator=torch.Generator().manual_seed(0))
    labels = np.arange(size) % 4
    return video, torch.eye(4)[labels], labels


def test_half_as_many_outliers_follow_the_batch_with_targets_of_no_class():
    video, targets, labels = batch()
    more, wanted = SyntheticOutliers(list(KINDS))(video, targets, labels, generator(1))
    assert torch.equal(more[:8], video) and torch.equal(wanted[:8], targets)
    assert more.shape == (12, *video.shape[1:]) and not wanted[8:].any()


def test_outliers_are_a_function_of_the_generator():
    video, targets, labels = batch()
    make = SyntheticOutliers(list(KINDS))
    first, again, other = (make(video, targets, labels, generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_without_kinds_of_pictures_the_batch_stays():
    video, targets, labels = batch()
    more, wanted = SyntheticOutliers(["virtual"])(video, targets, labels, generator(1))
    assert more is video and wanted is targets


@pytest.mark.parametrize("seed", range(12))
def test_mixed_clips_hold_pixels_of_both_or_the_colours_of_the_other(seed):
    video, _, _ = batch()
    video, other = video.double(), video.flip(0).double() + 100
    made = mixed(video, other, generator(seed))
    own, foreign = (made == video), (made == other)
    if own.any() and foreign.any():
        assert (own | foreign).all()
        assert (foreign == foreign[:, :1, :1]).all()  # the same place in all frames and colours
    else:
        torch.testing.assert_close(made.mean(2), video.mean(2))  # grey of the one …
        torch.testing.assert_close(made - made.mean(2, True), other - other.mean(2, True))  # … chroma of the other


def test_a_batch_of_one_class_is_shuffled_rather_than_mixed_with_itself():
    video, targets, _ = batch()
    more, _ = SyntheticOutliers(["mixed"])(video, targets, np.zeros(8, int), generator(3))
    for made in more[8:]:
        assert not any(torch.equal(made, clip) for clip in video)
        assert any(torch.equal(made.flatten().sort()[0], clip.flatten().sort()[0]) for clip in video)


@pytest.mark.parametrize("kind", [shuffled, turned])
def test_shuffled_and_turned_clips_keep_their_pixels_and_the_order_of_frames(kind):
    video, _, _ = batch()
    made = kind(video, video, generator(5))
    assert not torch.equal(made, video)
    assert torch.equal(made.flatten(3).sort()[0], video.flatten(3).sort()[0])


def test_shuffling_moves_whole_patches_the_same_way_in_all_frames():
    video = torch.arange(16.0).view(4, 4).repeat_interleave(4, 0).repeat_interleave(4, 1).expand(1, 2, 3, 16, 16)
    made = shuffled(video, video, generator(5))
    corners = made[..., ::4, ::4]
    assert torch.equal(made, corners.repeat_interleave(4, -2).repeat_interleave(4, -1))
    assert torch.equal(corners[0, 0, 0], corners[0, 1, 2])
    assert sorted(corners[0, 0, 0].flatten().tolist()) == list(range(16))
