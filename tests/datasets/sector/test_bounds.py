"""Bounds of outlines are placed to the pixel where light says so, and stay where it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from echoviewclip.datasets.sector.bounds import settled
from echoviewclip.datasets.sector.geometry import Outline, Side

CELL, SHAPE = 2, (240, 320)
SECTOR = Outline(
    (20.0, 12.0, 140.0, 110.0),
    (Side(80 - 0.1, -0.7, 1), Side(80 + 0.1, 0.7, -1)),
    apex=(80.0, 0.0),
    near=14.0,
    far=100.0,
)
BOX = Outline((20.0, 12.0, 140.0, 110.0))


def rim(outline: Outline, light: np.ndarray) -> float:
    """How many pixels the outline lies outside of what is lit, along its rim: the mean."""
    painted = outline.paint(SHAPE, CELL)
    length = (painted & ~outline.paint(SHAPE, CELL, -1.0)).sum()
    return float((painted & ~light).sum() / length)


@pytest.mark.parametrize("outline", [SECTOR, BOX], ids=["sector", "box"])
@pytest.mark.parametrize("wider", [1.0, 3.0])
def test_bounds_move_to_where_light_begins(outline, wider):
    light = outline.paint(SHAPE, CELL)
    light &= np.random.default_rng(0).random(SHAPE) < 0.8  # speckle
    left, top, right, bottom = outline.box
    wide = replace(
        outline,
        box=(left - wider, top - wider, right + wider, bottom + wider),
        sides=tuple(replace(s, start=s.start - s.sign * wider * float(np.hypot(1, s.slope))) for s in outline.sides),
        near=max(0.0, outline.near - wider),
        far=outline.far + wider,
    )
    found = settled(wide, light, CELL).paint(SHAPE, CELL)
    assert rim(wide, outline.paint(SHAPE, CELL)) > 0.9 * CELL * wider
    assert (found ^ outline.paint(SHAPE, CELL)).mean() < 0.01
    assert (light & ~found).sum() < 0.003 * light.sum()


def test_a_bound_that_little_light_touches_stays():
    light = BOX.paint(SHAPE, CELL)
    light[:, 44:60] = False  # a shadow begins 2 cells inside the left edge, up to 10
    light[100:140, 40:60] = True  # and leaves a fifth of it
    dark = light.copy()
    dark[100:140, 40:60] = False
    assert settled(BOX, light, CELL).box[0] == pytest.approx(20, abs=0.3)
    assert settled(BOX, dark, CELL).box[0] == pytest.approx(20, abs=0.3)


def test_ticks_beyond_a_bound_do_not_move_it():
    light = BOX.paint(SHAPE, CELL)
    light[30:210:30, 280:284] = True
    assert settled(BOX, light, CELL).box[2] == pytest.approx(140, abs=0.3)


def test_nothing_lit_moves_nothing():
    assert settled(SECTOR, np.zeros(SHAPE, bool), CELL) == SECTOR
