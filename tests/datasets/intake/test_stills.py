"""Single pictures: what shows faintly belongs to the image, and what has no usual outline is found by its grain."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from echoviewclip.datasets.sector import MOSTLY_IMAGE, find_image
from tests.datasets.intake.outlines import Fan

HEIGHT, WIDTH = 480, 640


def speckle(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A sector of speckle with a curved top, uint8 [H, W], and where it is."""
    polar = np.random.default_rng(seed).rayleigh(45, (1, 240, 160)).astype(np.float32)
    frames, inside = Fan(320, -20, -0.6, 0.6, 80, 440).paint(ndimage.gaussian_filter(polar, (0, 1, 1)), HEIGHT, WIDTH)
    return frames[0].clip(0, 255).astype(np.uint8), inside


def named(picture: np.ndarray) -> np.ndarray:
    """The picture with an invented name in a corner, as frames uint8 [1, H, W, 3]."""
    drawn = Image.fromarray(picture).convert("RGB")
    ImageDraw.Draw(drawn).text((4, 2), "DOE^JANE 1960-01-02", fill=(255, 255, 255), font_size=16)
    return np.asarray(drawn)[None]


@pytest.mark.parametrize("level", [1, 2])
def test_the_dark_rest_of_a_sector_belongs_to_the_image(level):
    picture, inside = speckle()
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    depth = np.hypot(columns - 320, rows + 20)
    picture = (picture * np.clip((180 - depth) / 60, 0, 1)).astype(np.uint8)  # the echoes fade
    picture[inside & (picture < level)] = level
    found = find_image(named(picture))
    assert found.confidence >= MOSTLY_IMAGE
    assert (inside & ~found.mask).sum() <= 0.01 * inside.sum()
    assert not found.mask[:20, :200].any(), "the name is left"


def test_a_sector_turned_sideways_is_found_by_its_grain():
    picture, inside = speckle()
    picture = ndimage.rotate(picture, 65, reshape=False, order=1)
    inside = ndimage.rotate(inside.astype(np.uint8), 65, reshape=False, order=0) > 0
    found = find_image(named(picture))
    assert found.confidence >= MOSTLY_IMAGE
    assert (inside & ~found.mask).sum() <= 0.01 * inside.sum()
    assert not found.mask[:20, :200].any(), "the name is left"
