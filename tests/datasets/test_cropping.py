"""Crops and resizing: where a box may lie, what is seen of it, and that worker and device give the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from torchvision.transforms.v2 import functional as reference

from echoviewclip.datasets.cropping import EvalCrop, TrainCrop, clips_on, crop_resize, crop_resize_batch
from echoviewclip.datasets.sample import Sample, collate
from echoviewclip.utils.seeding import generator
from tests.datasets.test_transforms import clips

CPU = torch.device("cpu")

# Resizing.


@pytest.mark.parametrize("height, width", [(97, 131), (480, 640), (40, 30)])
def test_resizing_is_antialiased_as_pil_does_it(height, width):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    ours = crop_resize(torch.from_numpy(noise).permute(2, 0, 1)[None], (0, 0, height, width), 32)
    pil = np.asarray(Image.fromarray(noise).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(ours[0].permute(1, 2, 0).numpy().astype(int) - pil).max() <= 1


def test_fine_stripes_become_grey_not_moire():
    stripes = torch.zeros(1, 3, 512, 512, dtype=torch.uint8)
    stripes[..., ::2] = 255
    small = crop_resize(stripes, (0, 0, 512, 512), 96)[..., 2:-2]
    assert (small.float() - 127.5).abs().max() < 12


def test_only_the_box_is_seen():
    video = torch.zeros(2, 3, 50, 60, dtype=torch.uint8)
    video[..., 10:30, 5:45] = 200
    assert (crop_resize(video, (10, 5, 20, 40), 16) == 200).all()


def test_a_box_of_the_right_size_is_cut_and_not_resized():
    video = clips(1, 2, 40)[0]
    result = crop_resize(video, (3, 5, 32, 32), 32)
    assert torch.equal(result, video[..., 3:35, 5:37]) and result.is_contiguous()


# Crops.


@given(st.integers(8, 700), st.integers(8, 700), st.integers(0, 1000))
def test_a_training_box_is_one_of_five_places_and_neighbouring_scales(height, width, seed):
    scales = (1, 0.875, 0.75, 0.66)
    top, left, h, w = TrainCrop(224, scales).boxes(height, width, generator(seed))[0]
    sides = [int(min(height, width) * scale) for scale in scales]
    assert (h, w) in {(sides[i], sides[j]) for i in range(4) for j in range(4) if abs(i - j) <= 1}
    corners = {(y, x) for y in (0, height - h) for x in (0, width - w)}
    assert (top, left) in corners | {((height - h) // 2, (width - w) // 2)}


def test_training_boxes_take_all_places_and_scales():
    crop = TrainCrop(224)
    boxes = {crop.boxes(100, 200, generator(seed))[0] for seed in range(2000)}
    shapes = {(h, w) for _, _, h, w in boxes}
    side = [100, 87, 75, 66]
    assert shapes == {(side[i], side[j]) for i in range(4) for j in range(4) if abs(i - j) <= 1}
    assert {(y, x) for y, x, h, w in boxes if (h, w) == (75, 75)} == {(0, 0), (0, 125), (25, 0), (25, 125), (12, 62)}


def test_the_training_crop_is_that_box_resized():
    video = clips(1, 3, 64)[0]
    crop = TrainCrop(24)
    expected = crop_resize(video, crop.boxes(64, 64, generator(5))[0], 24)
    assert torch.equal(crop(video, generator(5)), expected[None])


@pytest.mark.parametrize("height, width", [(256, 256), (256, 340), (480, 360), (582, 582)])
def test_the_evaluation_crop_is_the_published_resize_and_centre_crop(height, width):
    noise = np.random.default_rng(0).normal(size=(1, 3, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 0, min(height, width) / 32, min(height, width) / 32))
    video = torch.from_numpy((128 + 60 * smooth / smooth.std()).clip(0, 255).astype(np.uint8))
    published = reference.center_crop(reference.resize(video, 256, antialias=True), 224)
    ours = EvalCrop(224)(video)[0]
    assert ours.shape == (1, 3, 224, 224)
    assert (ours.short() - published.short()).abs().float().mean() < 2  # a fifth of a pixel apart at most


def test_the_evaluation_crop_is_centred():
    assert EvalCrop(224).boxes(256, 256) == [(16, 16, 224, 224)]
    assert EvalCrop(224).boxes(256, 300) == [(16, 38, 224, 224)]


def test_three_crops_cover_the_long_side():
    assert EvalCrop(224, 3).boxes(100, 180) == [(0, 0, 100, 100), (0, 40, 100, 100), (0, 80, 100, 100)]
    assert EvalCrop(224, 3).boxes(180, 100) == [(0, 0, 100, 100), (40, 0, 100, 100), (80, 0, 100, 100)]
    assert EvalCrop(24, 3)(clips(1, 2, 40)[0]).shape == (3, 2, 3, 24, 24)
    with pytest.raises(ValueError, match="crops must be 1 or 3"):
        EvalCrop(224, 2)


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30)
def test_the_smallest_videos_can_be_cropped(height, width):
    video = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    assert TrainCrop(8)(video, generator(0)).shape == (1, 1, 3, 8, 8)
    assert EvalCrop(8)(video).shape == (1, 1, 3, 8, 8)
    assert EvalCrop(8, 3)(video).shape == (3, 1, 3, 8, 8)


# On the device.


@st.composite
def cuts(draw, most: int) -> tuple[int, int, tuple[int, int, int, int], int]:
    """Height and width of a frame, a box in it whose sides are at most `most` × the new size, and that size."""
    size = draw(st.integers(2, 40))  # torch 2.14 itself fails at 1
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    box = []
    for side in (height, width):
        length = draw(st.integers(1, min(side, most * size)))
        box.append((draw(st.integers(0, side - length)), length))
    return height, width, (box[0][0], box[1][0], box[0][1], box[1][1]), size


def both_forms(cut: tuple, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    height, width, box, size = cut
    noise = np.random.default_rng(seed).integers(0, 256, (2, 3, height, width), np.uint8)
    video = torch.from_numpy(noise)
    return crop_resize(video, box, size), crop_resize_batch(video[None], torch.tensor([[box]]), size)[0, 0]


@given(cuts(most=4), st.integers(0, 1000))
@settings(deadline=None)
def test_the_device_gives_the_bytes_of_the_worker(cut, seed):
    worker, device = both_forms(cut, seed)
    assert torch.equal(worker, device)


@given(cuts(most=90), st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_pictures_made_much_smaller_differ_by_one_grey_level_at_most(cut, seed):
    worker, device = both_forms(cut, seed)
    assert (worker.int() - device.int()).abs().max() <= 1


def sample(video: torch.Tensor, box: torch.Tensor | None = None) -> Sample:
    """A sample of which only the video matters."""
    return Sample(video, box, None, *[torch.zeros(())] * 10, faults=[], warnings=[])


def test_videos_of_many_sizes_are_cut_in_one_batch():
    random = np.random.default_rng(0)
    videos = [torch.from_numpy(random.integers(0, 256, (2, 3, *sides), np.uint8)) for sides in ((50, 40), (30, 70))]
    crop = EvalCrop(24, crops=3)
    batch = collate([sample(video[None], torch.tensor(crop.boxes(*video.shape[-2:]))) for video in videos])
    assert batch.video.shape == (2, 1, 2, 3, 50, 70)
    ours = clips_on(CPU, batch, 24)
    assert ours.dtype == torch.uint8
    assert torch.equal(ours, torch.stack([crop(video) for video in videos]))


def test_clips_that_the_worker_cut_stay_as_they_are():
    video = clips(2)[:, None]
    assert torch.equal(clips_on(CPU, sample(video), 32), video)
