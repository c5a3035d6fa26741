"""The ultrasound image is found on screens whose truth is known: moving, frozen and single pictures."""

from __future__ import annotations

import pytest

from echoviewclip.datasets.sector import MOSTLY_IMAGE, find_image
from tests.datasets.intake.outlines import LAYOUTS
from tests.datasets.intake.score_masks import GOOD_OVERLAP, MOST_CUT, MOST_TEXT, score, scores
from tests.datasets.intake.screens import draw_screen

QUICK = ("pointed", "flat_top", "small", "band", "doppler", "ecg", "logo")
STATES = ("moving", "frozen", "single")
# Shadows lie along a side, or part the near field from the rest; ticks of a scale touch the image.
HARD = [("zoomed", 4), ("narrow", 1), ("flat_top", 8), ("strip_alone", 8), ("doppler", 8)]
HARD += [("pointed", 21), ("strip_alone", 24)]  # compression rings far around a bright image
HARD += [("zoomed", 23), ("zoomed", 28), ("zoomed", 30), ("dual", 26), ("logo", 101)]  # dark takes corners or parts
HARD += [("dual", 24), ("logo", 28), ("logo", 102)]  # letters beside an apex; a logo that touches the image


def check(layout: str, state: str) -> None:
    screen = draw_screen(layout, state, 0)
    found = find_image(screen.frames, screen.regions)
    assert found.confidence >= MOSTLY_IMAGE
    assert (found.mask & screen.image).sum() >= 0.95 * (found.mask | screen.image).sum()
    assert (screen.image & ~found.mask).sum() <= 0.01 * screen.image.sum(), "the image is cut"
    assert (screen.writing & found.mask).sum() <= 0.005 * screen.writing.sum(), "writing is left"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("layout", QUICK)
def test_the_image_is_found_and_the_writing_goes(layout, state):
    check(layout, state)


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - set(QUICK) - {"zoomed"}))
def test_the_image_is_found_on_further_layouts(layout, state):
    check(layout, state)


@pytest.mark.parametrize(("layout", "seed"), HARD)
def test_shadows_and_ticks_do_not_move_a_bound(layout, seed):
    state = "moving" if layout == "zoomed" else "single"
    one = score(draw_screen(layout, state, seed), layout, state, "none", seed)
    assert one.masked and one.overlap >= GOOD_OVERLAP and one.cut <= MOST_CUT and one.text <= MOST_TEXT


def check_floors(layouts) -> None:
    """The score in all states and with all tags, on a seed that was not used in development."""
    found = list(scores(layouts, [21]))
    assert sum(one.overlap >= GOOD_OVERLAP for one in found) >= 0.95 * len(found)
    assert [one for one in found if one.cut > MOST_CUT or one.is_silent] == []
    assert sum(one.text <= MOST_TEXT for one in found) >= 0.95 * len(found)


@pytest.mark.slow
def test_the_score_keeps_its_floors_on_zoomed_sectors():
    check_floors(["zoomed"])


@pytest.mark.slow
def test_the_score_keeps_its_floors():
    check_floors(LAYOUTS)


def test_a_trace_that_stays_in_part_is_a_warning():
    assert not score(draw_screen("strip_alone", "single", 30), "strip_alone", "single", "none", 30).is_silent
