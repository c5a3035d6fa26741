"""Letters are found on dark and on light ground, and bright tissue beside them is not taken for letters."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from echoviewclip.datasets.sector import find_image
from echoviewclip.datasets.sector.evidence import gather
from echoviewclip.datasets.sector.mask import WRITING
from tests.datasets.intake.screens import draw_screen

LINE = "DOE^JANE 1960-01"


def letters(height: int, width: int, left: int, top: int) -> np.ndarray:
    """How far pixels are ink, float32 [H, W] in [0, 1]."""
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).text((left, top), LINE, fill=255, font=ImageFont.load_default(14))
    return np.asarray(picture, np.float32) / 255


@pytest.mark.parametrize(("ground", "ink"), [(255, 0), (230, 20), (0, 255), (110, 240)])
def test_letters_are_found_on_any_flat_ground(ground, ink):
    """On a bar along the top of a screen."""
    screen = draw_screen("pointed", "single", 0)
    frames = screen.frames.copy()
    height, width = frames.shape[1:3]
    share = letters(height, width, 10, 4)[:24, :, None]
    frames[:, :24] = (ground * (1 - share) + ink * share).astype(np.uint8)
    evidence = gather(frames)
    assert evidence.ink[:24][share[..., 0] > 0.9].mean() > 0.9


@pytest.mark.parametrize(("layout", "state"), [("linear", "single"), ("pointed", "moving"), ("pointed", "single")])
def test_dark_letters_on_a_white_label_in_the_image_are_a_warning(layout, state):
    screen = draw_screen(layout, state, 0)
    rows, columns = (np.flatnonzero(screen.image.any(axis)) for axis in (1, 0))
    y, x = (rows[0] + rows[-1]) // 2, (columns[0] + columns[-1]) // 2
    frames = screen.frames.copy()
    share = letters(*screen.image.shape, x - 70, y - 8)[..., None]
    frames[:, y - 14 : y + 14, x - 76 : x + 76] = 255
    frames = (frames * (1 - share)).astype(np.uint8)
    assert WRITING in find_image(frames).warnings
    assert WRITING not in find_image(screen.frames).warnings


def test_dark_gaps_in_bright_tissue_are_no_letters():
    screen = draw_screen("wide", "single", 102)
    assert not gather(screen.frames).ink[screen.image].any()
    assert find_image(screen.frames).warnings == ()
