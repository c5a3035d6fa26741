"""Ultrasound files that nobody here made, which come with pydicom: prepared, and read raw as if they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom.data import get_testdata_file

from echoviewclip.datasets.intake.pictures import look_at, open_prepared
from echoviewclip.datasets.intake.preparation import Preparation
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.sector import MOSTLY_IMAGE, find_image
from echoviewclip.datasets.sector.mask import NOT_FOUND
from echoviewclip.datasets.video.open import open_video

FILES = ("examples_rgb_color", "examples_palette", "examples_ybr_color", "ExplVR_BigEnd")


def real(name: str) -> Path:
    return Path(get_testdata_file(f"{name}.dcm", download=False))


@pytest.mark.parametrize("crop", [True, False])
def test_in_memory_they_are_the_pixels_of_the_prepared_file(tmp_path, crop):
    source = tmp_path / "source"
    source.mkdir()
    for name in FILES:
        (source / f"{name}.dcm").write_bytes(real(name).read_bytes())
    options = Options(96, keep_names=True, crop=crop, stills=True)
    prepare(source, tmp_path / "data", options, 0)
    for name in FILES:
        with (
            open_video(tmp_path / "data/videos" / f"{name}.avi") as file,
            open_prepared(real(name), Preparation(size=96, crop=crop)) as memory,
        ):
            places = range(len(file))
            assert torch.equal(memory.frames(places), file.frames(places)), name


def test_a_sector_a_colour_box_and_a_palette_are_found():
    for name, share in (("examples_rgb_color", 0.48), ("examples_palette", 0.38), ("examples_ybr_color", 0.35)):
        with open_video(real(name)) as video:
            assert abs(look_at(video, crop=False).mask.mean() - share) < 0.02, name


@pytest.mark.parametrize("frames", [30, 8])
def test_the_dim_corners_of_a_sector_stay(frames):
    """Both are as good as black; the right one is seen in none of the first eight frames."""
    with open_video(real("examples_ybr_color")) as video:
        found = find_image(video.frames(range(frames)).permute(0, 2, 3, 1).numpy())
    assert found.confidence >= MOSTLY_IMAGE
    assert found.mask[150, 46] and found.mask[150, 288], "a corner is cut"
    assert not found.mask[150, 36] and not found.mask[150, 303], "the scale stays"


def test_a_picture_in_which_next_to_nothing_is_found_is_kept_whole_and_said():
    """A fan in one flat colour, of which two corners were taken for the image."""
    with open_video(real("ExplVR_BigEnd")) as video:
        found = find_image(np.asarray(video.frames([0]).permute(0, 2, 3, 1)))
    assert found.confidence < MOSTLY_IMAGE and NOT_FOUND in found.warnings
