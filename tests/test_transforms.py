"""Crops, resizing and augmentation: the same for all frames of a clip, in any batch, and what their names say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from torchvision.transforms.v2 import functional as reference

from datasets.transforms import (
    CLIP_MEAN,
    CLIP_STD,
    ERASED_AREA,
    DeviceTransform,
    EvalCrop,
    TrainCrop,
    crop_resize,
    erase_in_sector,
    jitter_colors,
    moving_pixels,
    swap_background,
)
from utils.seeding import generator


def clips(count: int = 4, frames: int = 3, size: int = 32, seed: int = 0) -> torch.Tensor:
    """Smooth coloured clips, uint8 [B, T, 3, S, S]."""
    noise = np.random.default_rng(seed).normal(size=(count, frames, 3, size, size))
    smooth = ndimage.gaussian_filter(noise, (0, 0, 0, 2, 2))
    return torch.from_numpy((128 + 60 * smooth / smooth.std()).clip(0, 255).astype(np.uint8))


def augmented(video: torch.Tensor, seeds: list[int], **chances: float) -> torch.Tensor:
    """[B, T, 3, S, S] in [0, 255] after augmentation, with the normalisation undone."""
    pixels = DeviceTransform(train=True, **chances)(video, torch.tensor(seeds))
    mean, std = (torch.tensor(v).view(3, 1, 1) * 255 for v in (CLIP_MEAN, CLIP_STD))
    return pixels * std + mean


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
    top, left, h, w = TrainCrop(224, scales).box(height, width, generator(seed))
    sides = [int(min(height, width) * scale) for scale in scales]
    assert (h, w) in {(sides[i], sides[j]) for i in range(4) for j in range(4) if abs(i - j) <= 1}
    corners = {(y, x) for y in (0, height - h) for x in (0, width - w)}
    assert (top, left) in corners | {((height - h) // 2, (width - w) // 2)}


def test_training_boxes_take_all_places_and_scales():
    crop = TrainCrop(224)
    boxes = {crop.box(100, 200, generator(seed)) for seed in range(2000)}
    shapes = {(h, w) for _, _, h, w in boxes}
    side = [100, 87, 75, 66]
    assert shapes == {(side[i], side[j]) for i in range(4) for j in range(4) if abs(i - j) <= 1}
    assert {(y, x) for y, x, h, w in boxes if (h, w) == (75, 75)} == {(0, 0), (0, 125), (25, 0), (25, 125), (12, 62)}


def test_the_training_crop_is_that_box_resized():
    video = clips(1, 3, 64)[0]
    crop = TrainCrop(24)
    expected = crop_resize(video, crop.box(64, 64, generator(5)), 24)
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


# Normalisation.


def test_evaluation_only_normalises():
    video = clips()
    expected = (video.double() / 255 - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
    everything = {"flip": 1.0, "color_jitter": 1.0, "gray_scale": 1.0, "erasing": 1.0}
    result = DeviceTransform(train=False, **everything)(video)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-5)
    assert DeviceTransform(train=False, dtype=torch.bfloat16)(video).dtype == torch.bfloat16


def test_training_with_all_chances_at_zero_only_normalises():
    video = clips()
    same = DeviceTransform(train=True)(video, torch.arange(4))
    torch.testing.assert_close(same, DeviceTransform(train=False)(video), rtol=0, atol=0)


def test_training_needs_seeds():
    with pytest.raises(ValueError, match="a seed for each clip"):
        DeviceTransform(train=True)(clips())


# In the worker one by one, or on the device in batches: the same result, of the seed alone.

EVERYTHING = {"flip": 0.5, "color_jitter": 0.8, "gray_scale": 0.3, "erasing": 0.5}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_clip_alone_comes_out_as_it_does_in_a_batch(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    transform, video, seeds = DeviceTransform(train=True, **EVERYTHING), clips(12), torch.arange(12)
    in_the_worker = torch.cat([transform(video[k : k + 1], seeds[k : k + 1]) for k in range(12)])
    on_the_device = transform(video.to(device), seeds).cpu()
    torch.testing.assert_close(on_the_device, in_the_worker, rtol=0, atol=1e-4)
    assert not torch.allclose(in_the_worker, DeviceTransform(train=False)(video))


def test_the_company_in_a_batch_changes_nothing():
    transform, video, seeds = DeviceTransform(train=True, **EVERYTHING), clips(12), torch.arange(100, 112)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))[:5]
    whole = transform(video, seeds)
    torch.testing.assert_close(transform(video[order], seeds[order]), whole[order], rtol=0, atol=1e-5)


def test_the_global_generators_are_not_used():
    transform, video, seeds = DeviceTransform(train=True, **EVERYTHING), clips(), torch.arange(4)
    torch.manual_seed(0), np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = transform(video, seeds)
    assert torch.equal(torch.get_rng_state(), before[0]) and (np.random.get_state()[1] == before[1]).all()
    torch.manual_seed(1)
    assert torch.equal(transform(video, seeds), first)


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_augmentation_comes_as_often_as_asked(name):
    video = clips(1, 2, 16).expand(300, -1, -1, -1, -1)
    result = augmented(video, list(range(300)), **{name: 0.3})
    changed = ((result - video).abs() > 1).flatten(1).any(1)
    assert changed.float().mean() == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize("name", EVERYTHING)
def test_all_frames_of_a_clip_get_the_same_treatment(name):
    still = clips(6, 1).expand(-1, 5, -1, -1, -1)
    result = augmented(still, list(range(6)), **{name: 1.0})
    torch.testing.assert_close(result, result[:, :1].expand_as(result), rtol=0, atol=1e-3)


# What each augmentation does.


def test_flip_mirrors_left_and_right():
    video = clips()
    torch.testing.assert_close(augmented(video, [0, 1, 2, 3], flip=1.0), video.flip(-1).float(), rtol=0, atol=1e-3)


def test_grey_scale_removes_colour_and_keeps_brightness():
    video = clips()
    result = augmented(video, [0, 1, 2, 3], gray_scale=1.0)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    torch.testing.assert_close(result, (video * weights).sum(2, keepdim=True).expand(video.shape), rtol=0, atol=1e-3)


def amounts(**changes: float) -> torch.Tensor:
    order = ("brightness", "contrast", "saturation", "hue")
    return torch.tensor([[changes.get(name, 0.0) for name in order]])


@pytest.mark.parametrize("name, width", [("brightness", 0.4), ("contrast", 0.4), ("saturation", 0.2)])
@pytest.mark.parametrize("amount", [-1.0, -0.3, 0.5, 1.0])
def test_jitter_is_that_of_torchvision(name, width, amount):
    video = clips(1, 1)  # of one frame: torchvision's contrast is about each frame's own mean, ours about the clip's
    theirs = getattr(reference, f"adjust_{name}")(video.float() / 255, 1 + amount * width) * 255
    # torchvision weighs red by 0.2989 instead of 0.299
    torch.testing.assert_close(jitter_colors(video, amounts(**{name: amount})), theirs, rtol=0, atol=0.1)


def test_no_jitter_changes_nothing():
    video = clips()
    torch.testing.assert_close(jitter_colors(video, torch.zeros(4, 4)), video.float(), rtol=0, atol=1e-2)


def test_hue_turns_colours_and_leaves_grey_and_brightness():
    gray = torch.full((1, 1, 3, 4, 4), 90.0)
    torch.testing.assert_close(jitter_colors(gray, amounts(hue=1.0)), gray, rtol=0, atol=1e-2)
    reddish = torch.tensor([140.0, 100.0, 100.0]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 4, 4)
    forth, back = jitter_colors(reddish, amounts(hue=1.0)), jitter_colors(reddish, amounts(hue=-1.0))
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    for turned in (forth, back):
        torch.testing.assert_close((turned * luma).sum(2), (reddish * luma).sum(2), rtol=0, atol=0.1)
        assert (turned - reddish).abs().max() > 5
    assert (forth - back).abs().max() > 10
    torch.testing.assert_close(jitter_colors(forth, amounts(hue=-1.0)), reddish, rtol=0, atol=0.1)


def test_jitter_stays_in_range():
    extreme = torch.randint(0, 2, (16, 2, 3, 8, 8), generator=torch.Generator().manual_seed(0)) * 255
    draws = torch.rand(16, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1
    result = jitter_colors(extreme.float(), draws)
    assert result.min() >= 0 and result.max() <= 255


# Erasing.


def sector(size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (np.hypot(y, x - size / 2) < 0.9 * size) & (np.abs(x - size / 2) < 0.6 * y)


def ultrasound(frames: int = 6, size: int = 64, seed: int = 0) -> torch.Tensor:
    """Grain that moves in a sector on a bright, still background: uint8 [T, 3, S, S]."""
    grain = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(frames, size, size)), (0.7, 1, 1))
    grain = (120 + 40 * grain / grain.std()).clip(20, 250)
    picture = np.where(sector(size), grain, 60).astype(np.uint8)
    return torch.from_numpy(picture)[:, None].repeat(1, 3, 1, 1)


def rectangle(erased: torch.Tensor) -> tuple[int, int, int, int]:
    """Top, bottom, left, right (exclusive) of the one black rectangle of a picture bool [H, W]."""
    rows, columns = erased.any(1).nonzero().flatten(), erased.any(0).nonzero().flatten()
    top, bottom, left, right = rows[0].item(), rows[-1].item() + 1, columns[0].item(), columns[-1].item() + 1
    assert erased[top:bottom, left:right].all() and erased.sum() == (bottom - top) * (right - left)
    return top, bottom, left, right


def test_a_rectangle_is_erased_around_a_point_of_the_sector():
    video = ultrasound()[None]
    moving = moving_pixels(video)[0]
    assert (moving.numpy() <= sector(64)).all() and moving.float().mean() > 0.3
    draws = torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    centres = []
    for draw in draws:
        erased = (erase_in_sector(video, draw[None]) == 0)[0]
        assert torch.equal(erased, erased[:1, :1].expand_as(erased))  # the same in all frames and colours
        top, bottom, left, right = rectangle(erased[0, 0])
        if top > 0 and left > 0 and bottom < 64 and right < 64:
            centres.append(((top + bottom - 1) // 2, (left + right - 1) // 2))
    assert len(centres) > 50
    assert all(moving[y, x] for y, x in centres)
    assert len(set(centres)) > 40


def test_the_erased_area_is_within_its_bounds():
    video = torch.full((1, 2, 3, 200, 200), 90, dtype=torch.uint8)
    for area in (0.0, 0.5, 0.999):
        for aspect in (0.0, 0.5, 0.999):
            draws = torch.tensor([[0.5 + 0.5 / 200, area, aspect]])  # the middle of a clip in which nothing moves
            top, bottom, left, right = rectangle((erase_in_sector(video, draws) == 0)[0, 0, 0])
            share = (bottom - top) * (right - left) / 200**2
            assert share == pytest.approx(ERASED_AREA[0] + area * (ERASED_AREA[1] - ERASED_AREA[0]), rel=0.1)
            assert (bottom - top) / (right - left) == pytest.approx(3 ** (2 * aspect - 1), rel=0.1)


def test_a_clip_in_which_nothing_moves_is_erased_anywhere():
    video = torch.full((40, 2, 3, 32, 32), 90, dtype=torch.uint8)
    draws = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    erased = (erase_in_sector(video, draws) == 0)[:, 0, 0]
    assert erased.flatten(1).any(1).all() and erased.any(0).float().mean() > 0.8


# Background.


def test_the_background_is_swapped_and_the_image_stays():
    video = ultrasound(size=128)
    other = torch.full((3, 90, 170), 222, dtype=torch.uint8)
    swapped = swap_background(video, other)
    inside = torch.from_numpy(ndimage.binary_erosion(sector(128), iterations=4))
    outside = ~torch.from_numpy(ndimage.binary_dilation(sector(128), iterations=8))
    assert torch.equal(swapped[..., inside], video[..., inside])
    assert (swapped[..., outside] == 222).all()


def test_where_no_image_is_found_the_background_stays():
    video = torch.full((6, 3, 64, 64), 100, dtype=torch.uint8)
    assert torch.equal(swap_background(video, torch.zeros(3, 64, 64, dtype=torch.uint8)), video)
