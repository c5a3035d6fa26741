"""What spoke for and against a view, over the films of the page, in a real browser."""

from __future__ import annotations

import pytest

from tests.browser import CHROMIUM, NO_CHROMIUM
from tests.study.builders import A2C, A4C, PLAX, clip, explained, rejected
from tests.study.opened import VISIBLE, until, write

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)

ALPHA = """((id, x) => {
  const canvas = document.querySelector(`#${id} canvas.why`);
  if (!canvas?.offsetParent) return null;
  const probe = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  probe.drawImage(canvas, x * canvas.width, canvas.height / 2, 1, 1, 0, 0, 1, 1);
  return probe.getImageData(0, 0, 1, 1).data[3];
})"""


@pytest.fixture
def explained_page(tab, tmp_path):
    tab.said.clear()
    clips = [explained(clip(0, PLAX)), explained(clip(1, A4C)), clip(2, A2C), explained(rejected(3, A2C))]
    tab.open(write(tmp_path / "why.html", clips), 390)
    yield tab
    assert tab.said == []


def test_a_key_shows_what_spoke_for_a_view_then_against_it_then_neither(explained_page):
    page = explained_page
    sides = f"[{ALPHA}('clip-0', 0.2), {ALPHA}('clip-0', 0.8)]"
    pressed = "[...document.querySelectorAll('[data-why]')].map((button) => button.getAttribute('aria-pressed'))"
    legend = f"{VISIBLE}('#legend').map((line) => line.innerText.replace(/\\s+/g, ' '))"
    assert page.evaluate(sides) == [None, None] and page.evaluate(legend) == []
    page.press("e")
    until(page, f"{ALPHA}('clip-0', 0.2) > 150")
    assert page.evaluate(sides)[1] == 0 and page.evaluate(pressed) == ["true", "false"]
    assert page.evaluate(legend) == ["what spoke for this view little much"]
    # Every picture of an explained video has it, also the clip to measure on and the rejected one; no other has.
    assert page.evaluate(f"{VISIBLE}('canvas.why').map((canvas) => canvas.closest('article').id).sort()") == [
        "clip-0",
        "clip-1",
        "clip-3",
        "measure-1-1",
    ]
    page.press("e")
    until(page, f"{ALPHA}('clip-0', 0.8) > 150")
    assert page.evaluate(sides)[0] == 0 and page.evaluate(pressed) == ["false", "true"]
    assert page.evaluate(legend) == ["what spoke against it little much"]
    page.press("e")
    until(page, f"{VISIBLE}('canvas.why').length === 0")
    assert page.evaluate(pressed) == ["false", "false"] and page.evaluate(legend) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    fetched = "performance.getEntriesByType('resource').filter((r) => !r.name.startsWith('data:')).length"
    assert page.evaluate(fetched) == 0


def test_the_maps_follow_the_frames_and_frames_without_one_show_none(explained_page):
    page = explained_page
    page.evaluate("document.querySelector('[data-why=against]').click()")
    until(page, f"{ALPHA}('clip-0', 0.8) > 150")
    page.evaluate("choose(document.getElementById('clip-0'))")
    page.press(".")  # from the last frame, the most attended, to the first, which has no map
    until(page, f"document.getElementById('clip-0').dataset.at === '0' && {ALPHA}('clip-0', 0.8) === null")
    page.press(".")
    until(page, f"document.getElementById('clip-0').dataset.at === '1' && {ALPHA}('clip-0', 0.8) > 150")
    page.evaluate("document.querySelector('[data-why=against]').click()")
    until(page, f"{VISIBLE}('canvas.why').length === 0")


def test_the_print_shows_no_maps(explained_page):
    page = explained_page
    page.press("e")
    until(page, f"{VISIBLE}('canvas.why').length === 4")
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page.evaluate(f"{VISIBLE}('canvas, #legend, [data-why]').length") == 0
    page.call("Emulation.setEmulatedMedia", media="")


def test_without_a_negative_branch_nothing_speaks_against(tab, tmp_path):
    tab.open(write(tmp_path / "for.html", [explained(clip(0, PLAX), against=False)]))
    assert tab.evaluate("document.querySelectorAll('[data-why]').length") == 1
    assert not tab.evaluate("document.body.innerText.includes('spoke against')")
    tab.press("e")
    until(tab, f"{ALPHA}('clip-0', 0.2) > 150")
    tab.press("e")
    until(tab, f"{VISIBLE}('canvas.why').length === 0")


def test_a_page_that_explains_nothing_has_no_switch(tab, tmp_path):
    tab.open(write(tmp_path / "plain.html", [clip(0, PLAX)]))
    tab.press("e")
    assert tab.evaluate("document.querySelectorAll('.why, #legend, [data-why]').length") == 0
