"""The page in a real browser: playing, keys, filter, sorting, a phone's width, the dark, print, many videos."""

from __future__ import annotations

import time

import numpy as np
import pytest

from echoviewclip.study.films import Timing, make_film
from echoviewclip.study.findings import find
from echoviewclip.study.page import Facts, write_index
from echoviewclip.study.protocol import choose_protocol
from tests.browser import CHROMIUM, NO_CHROMIUM
from tests.study.builders import (
    A2C,
    A4C,
    COLUMNS,
    GRADES,
    PLAX,
    Clip,
    clip,
    groups,
    rejected,
    study,
    unreadable,
)
from tests.study.opened import NAMES, VISIBLE, until, write

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)

MANY, OPENED = 300, 3.0  # videos, and the seconds within which a page of them opens
SHOWN = f"{VISIBLE}('.found article.clip').map((card) => +card.dataset.film)"
PROBE = """
  const probe = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const at = (id) => +document.getElementById(id).dataset.at;
  const cursor = (id) => +document.querySelector(`#${id} .cursor`).getAttribute("x1");
  const grey = (id) => {
    probe.drawImage(document.querySelector(`#${id} canvas`), 4, 4, 1, 1, 0, 0, 1, 1);
    return probe.getImageData(0, 0, 1, 1).data[0];
  };
"""
CHOSEN = 'document.querySelector(".chosen")?.id'


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    fast = Timing(8, 20.0, 120.0)  # a beat is half a second, the video four tenths
    clips = [
        clip(0, PLAX, p=0.5),
        clip(1, A4C, p=0.8),
        clip(2, A4C, p=0.9, timing=fast),
        clip(3, A2C, p=0.7),
        clip(4, "Apical 4C Color", grade=0, p=0.6),
        rejected(5, A2C, p=0.4),
        unreadable(6, name="long " + 60 * "name" + ".avi"),
    ]
    return write(tmp_path_factory.mktemp("page") / "study.html", clips)


@pytest.fixture
def page(tab, file):
    """The page, just opened."""
    tab.said.clear()
    tab.open(file)
    tab.evaluate(PROBE)
    yield tab
    assert tab.said == []  # no error, no blocked request


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_fits_the_screen_and_fetches_nothing(tab, file, width, dark):
    tab.said.clear()
    tab.open(file, width, dark=dark)
    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        tab.evaluate("performance.getEntriesByType('resource').filter((r) => !r.name.startsWith('data:')).length") == 0
    )
    red, green, blue = eval(tab.evaluate("getComputedStyle(document.body).backgroundColor").removeprefix("rgb"))
    assert (red + green + blue < 150) == dark
    columns = tab.evaluate(
        "getComputedStyle(document.querySelector('#views .clips')).gridTemplateColumns.split(' ').length"
    )
    assert columns == (2 if width == 390 else 5)
    assert tab.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth === 8)")
    assert tab.said == []


def test_a_clip_plays_its_frames_in_their_time_and_stops(page):
    page.press("ArrowRight", "ArrowRight")
    assert page.evaluate(CHOSEN) == "measure-1-2"
    page.evaluate("choose(document.getElementById('clip-2'))")
    page.press(" ")
    until(page, "document.querySelector('#clip-2 canvas') !== null")
    seen = {}
    end = time.monotonic() + 1.2  # three times the video
    while time.monotonic() < end:
        place, *looks = page.evaluate("[at('clip-2'), grey('clip-2'), cursor('clip-2')]")
        seen[place] = looks
    assert sorted(seen) == [0, 1, 2, 3]
    assert [grey for grey, _ in map(seen.get, range(4))] == pytest.approx([0, 40, 80, 120], abs=4)
    # Frames 0, 2, 4 and 7 of 8, on 230 of 240 units.
    assert [cursor for _, cursor in map(seen.get, range(4))] == pytest.approx([5, 70.7, 136.4, 235], abs=0.1)
    page.press(" ")
    assert page.evaluate("playing.size") == 0
    place = page.evaluate("at('clip-2')")
    time.sleep(0.3)
    assert page.evaluate("at('clip-2')") == place


def test_frames_are_stepped_through_from_the_most_attended_one(page):
    page.evaluate("choose(document.getElementById('clip-1'))")
    greys = []
    for key in (".", ".", ",", ","):
        before = page.evaluate("String(at('clip-1'))")
        page.press(key)
        until(page, f"String(at('clip-1')) !== '{before}'")
        greys.append(page.evaluate("grey('clip-1')"))
    assert greys == pytest.approx([0, 40, 0, 120], abs=4)  # the peak is the last of four


def test_arrows_move_along_and_across_the_rows(page):
    page.evaluate("choose(document.getElementById('clip-0'))")
    where = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft"):
        page.press(key)
        where.append(page.evaluate(CHOSEN))
    assert where == ["clip-2", "clip-1", "clip-4", "clip-2", "clip-0"]


def test_the_path_is_copied(page):
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.evaluate("choose(document.getElementById('clip-4'))")
    page.press("c")
    until(page, "document.getElementById('told').textContent === 'copied: s/004.avi'")
    assert page.evaluate("navigator.clipboard.readText()") == "s/004.avi"


def test_the_filter_finds_words_in_clips_and_table_and_escape_takes_it_back(page):
    assert page.evaluate(SHOWN) == [0, 2, 1, 3, 4, 5]
    page.press("/", *"apical good")
    assert page.evaluate("document.activeElement.id") == "filter"
    assert page.evaluate(SHOWN) == [2, 1, 3, 5]
    assert page.evaluate("document.getElementById('count').textContent") == "4 of 7 videos"
    assert page.evaluate(f"{VISIBLE}('#views h2').map((heading) => heading.textContent)") == ["Apical"]
    rows = page.evaluate(f"{VISIBLE}('#all tbody tr').map((row) => row.cells[0].textContent.trim())")
    assert rows == ["001.avi", "002.avi", "003.avi", "005.avi"]
    page.press("Escape")
    assert page.evaluate(SHOWN) == [0, 2, 1, 3, 4, 5]
    page.evaluate("document.getElementById('best').click()")
    assert page.evaluate(SHOWN) == [0, 2, 3, 4, 5]


def test_the_table_sorts_and_leads_to_the_clips(page):
    names = "[...document.querySelectorAll('#all tbody tr')].map((r) => r.cells[0].textContent.trim()).join(' ')"
    page.evaluate("document.querySelectorAll('#all th button')[2].click()")
    by_probability = "002.avi 001.avi 003.avi 004.avi 000.avi 005.avi"
    first, last = page.evaluate(names).rsplit(" long ", 1)
    assert first == by_probability and last.endswith("name.avi")  # no answer: last
    page.evaluate("document.querySelector('#all a[href=\"#clip-4\"]').click()")
    assert page.evaluate(CHOSEN) == "clip-4"


def test_the_clips_to_measure_on_play_together(page):
    page.press("m")
    until(page, "playing.size === 2")
    assert page.evaluate("[...playing.keys()].map((card) => card.id)") == ["measure-1-1", "measure-1-2"]
    assert page.evaluate("[...playing.keys()].map((card) => card.dataset.film)") == ["1", "3"]


def test_play_all_plays_what_is_on_the_screen(page):
    page.evaluate("document.getElementById('all-play').click()")
    until(page, "playing.size > 0")
    on_screen = "(card) => card.getBoundingClientRect().top < innerHeight && card.getBoundingClientRect().bottom > 0"
    page.evaluate("scrollTo(0, document.getElementById('views').offsetTop)")
    until(
        page,
        f"playing.size > 0 && [...playing.keys()].every({on_screen}) && playing.has(document.getElementById('clip-0'))",
    )
    page.evaluate("document.getElementById('all-play').click()")
    assert page.evaluate("playing.size") == 0


def test_the_page_over_studies_filters_and_sorts(tab, tmp_path):
    protocol = choose_protocol("adult-tte", NAMES)
    given = [study(clip(0, A4C), clip(1, A2C), name="Exam 1"), study(clip(0, PLAX), name="exam 2"), study(name="other")]
    found = [find(one, groups(), protocol, GRADES) for one in given]
    write_index(tmp_path / "x.html", found, ["1", "2", "3"], Facts(COLUMNS, NAMES, GRADES, "msp", 1.0, protocol))
    tab.said.clear()
    tab.open(tmp_path / "x.html", 390)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    names = f"{VISIBLE}('tbody tr').map((row) => row.cells[0].textContent)"
    assert tab.evaluate(names) == ["Exam 1", "exam 2", "other"]
    tab.evaluate("document.querySelectorAll('th button')[1].click(), document.querySelectorAll('th button')[1].click()")
    assert tab.evaluate(names) == ["other", "exam 2", "Exam 1"]  # fewest videos first
    tab.press("/", *"exam not")
    assert tab.evaluate(names) == ["exam 2"]
    assert tab.evaluate("document.getElementById('count').textContent") == "1 of 3 studies"
    tab.press("Escape")
    assert len(tab.evaluate(names)) == 3 and tab.said == []


def test_the_print_has_the_pictures_and_none_of_the_controls(page):
    page.call("Emulation.setEmulatedMedia", media="print")
    for selector in (".bar", ".play", ".chip", "canvas"):
        assert page.evaluate(f"{VISIBLE}('{selector}').length") == 0
    assert page.evaluate(f"{VISIBLE}('#views img').length") == 5
    assert page.printed().startswith(b"%PDF")
    page.call("Emulation.setEmulatedMedia", media="")


def test_many_videos_open_at_once(tab, tmp_path):
    noise = (
        np.random.default_rng(0).integers(24, 232, (1, 16, 56, 56, 1), np.uint8).repeat(4, 2).repeat(4, 3).repeat(3, 4)
    )
    film = make_film(noise, np.arange(16), np.full(16, 1 / 16, np.float32), 1, Timing(16, 15.0, None))
    assert len(film.sheet) > 80_000  # no less than ultrasound takes (docs/study.md)
    clips = [Clip(**(vars(clip(number, NAMES[number % 38])) | {"film": film})) for number in range(MANY)]
    file = write(tmp_path / "many.html", clips)
    assert any(tab.open(file) < OPENED for _ in range(3))  # a busy machine is no fault of the page
    assert tab.evaluate("cards.length") > MANY and tab.evaluate("films.size") == 0  # no film is decoded before it plays
