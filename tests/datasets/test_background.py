"""Backgrounds that are taken from other videos of the list."""

from __future__ import annotations

import numpy as np
import torch

from tests.datasets.small_list import dataset


def moving_disk(seed: int, background: int) -> np.ndarray:
    """uint8 [8, 96, 96, 3]: grain that moves in a disk, around it a still grey."""
    y, x = np.mgrid[:96, :96]
    grain = np.random.default_rng(seed).integers(60, 250, (8, 24, 24)).repeat(4, 1).repeat(4, 2)
    return np.where(np.hypot(y - 48, x - 48) < 40, grain, background)[..., None].repeat(3, -1).astype(np.uint8)


def test_a_background_comes_from_another_video_of_the_list(tmp_path):
    for number, background in enumerate((30, 220)):
        np.save(tmp_path / f"{number}.npy", moving_disk(number, background))
    (tmp_path / "list.txt").write_text("0.npy 0\n1.npy 1\n")
    options = {"size": 96, "frames": 8, "scales": (1,)}
    corners = {
        dataset(tmp_path, background_swap=1.0, seed=k, **options)[0].video[0, 0, 0, 0, 0].item() for k in range(9)
    }
    assert corners == {30, 220}
    for seed in range(3):
        plain = dataset(tmp_path, seed=seed, **options)[0].video
        assert (plain[..., 0, 0] == 30).all()
        swapped = dataset(tmp_path, background_swap=1.0, seed=seed, **options)[0].video
        assert torch.equal(swapped[..., 30:66, 30:66], plain[..., 30:66, 30:66])
    assert (dataset(tmp_path, background_swap=1.0, train=False, **options)[0].video[..., 3, 3] == 30).all()


def test_a_background_that_cannot_be_read_is_black(tmp_path):
    np.save(tmp_path / "0.npy", moving_disk(0, 90))
    (tmp_path / "1.npy").write_text("rubbish")
    (tmp_path / "list.txt").write_text("0.npy 0\n" + "1.npy 1\n" * 20)
    sample = dataset(tmp_path, background_swap=1.0, size=96, frames=8, scales=(1,))[0]
    assert (sample.video[..., 0, 0] == 0).all() and not sample.failed
