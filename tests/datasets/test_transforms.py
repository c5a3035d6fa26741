"""Augmentation: the same for all frames of a clip, in any batch, and what their names say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms.v2 import functional as reference

from echoviewclip.datasets.transforms import (
    CLIP_MEAN,
    CLIP_STD,
    ERASED_AREA,
    DeviceTransform,
    erase_in_sector,
    jitter_colors,
    moving_pixels,
    swap_background,
)


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
