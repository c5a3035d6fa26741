"""The page of a study: what it says and leaves out, and what it must not hold."""

from __future__ import annotations

import html
import re

import pytest

from echoviewclip.study.films import Timing
from echoviewclip.study.findings import find
from echoviewclip.study.page import Facts, draw_attention, shown_length, write_index, write_study
from echoviewclip.study.protocol import choose_protocol
from echoviewclip.utils.label_list import read_names
from tests.page_tags import Tags
from tests.study.builders import A2C, A4C, COLUMNS, GRADES, PLAX, clip, film, groups, rejected, study, unreadable

HOSTILE = '"><script>alert(1)</script>\udcff\u202e.avi'
NAMES = tuple(read_names("labels/ultracls.csv"))
PROTOCOL = choose_protocol("adult-tte", NAMES)


def write(folder, *clips, columns=COLUMNS, grades=GRADES, protocol=PROTOCOL, name="s"):
    """The page of the clips."""
    decides = "decision" in columns
    facts = Facts(columns, NAMES, grades, "msp" if decides else None, 1.0 if decides else None, protocol)
    write_study(folder / "x.html", find(study(*clips, name=name), groups(), protocol, grades), facts)
    return (folder / "x.html").read_text(encoding="utf-8")


def section(page, id):
    """The text of a section."""
    found = re.search(rf'<section id="{id}"[^>]*>(.*?)</section>', page, re.S)
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", found[1])).split()) if found else ""


@pytest.fixture
def page(tmp_path):
    return write(
        tmp_path,
        clip(0, A4C, p=0.5),
        clip(1, A4C, p=0.9),
        clip(2, PLAX, grade=1),
        clip(3, "Apical 4C Color", warnings="the frame rate is not known"),
        rejected(4, A2C),
        unreadable(5),
        clip(6, "Suprasternal Notch", timing=Timing(12, None, None)),
    )


def test_views_stand_in_their_groups_the_best_clip_first(page):
    Tags(page)
    found = re.search(r'<section id="views".*?</section>', page, re.S)[0]
    headings = re.findall(r"<(h[23])>(.*?)</h", found)
    expected = [("h2", "Parasternal"), ("h3", "2-D"), ("h2", "Apical"), ("h3", "2-D"), ("h3", "Colour Doppler")]
    assert headings == [*expected, ("h2", "Suprasternal"), ("h3", "2-D")]
    assert re.findall(r'id="clip-(\d)"', found) == ["2", "1", "0", "3", "6"]
    assert re.findall(r'data-rank="(\d)"', found) == ["1", "1", "2", "1", "1"]
    assert "best of 2" in found and "2 of 2" in found


def test_a_clip_says_what_the_model_says(page):
    text = section(page, "views")
    assert "0.90 accepted good score 1.5 ≥ τ 1 2.0 s, 2.0 beats · most at frame 59 001.avi" in text
    assert "12 frames" in text and "the frame rate is not known" in text


def test_rejected_and_unreadable_videos_are_listed_with_the_reason(page):
    assert "score 0.5 < τ 1" in section(page, "rejected") and "004.avi" in section(page, "rejected")
    assert f"most like {A2C}" in section(page, "rejected")
    assert section(page, "unreadable") == "Without an answer 005.avi holds no frames"


def test_the_protocol_says_what_is_missing_and_what_is_bad(page):
    text = section(page, "protocol")
    assert "All 29 views of the protocol, 5 of them optional" in text
    assert f"✕ {A2C} rejected clips only" in text and f"! {PLAX} in bad quality only (not good)" in text
    assert "✕ Apical 3C 2D missing" in text and "✓ Apical 4C 2D there" in text
    assert "J Am Soc Echocardiogr 2019;32:1-64" in text
    assert "– Subxiphoid IVC M-mode missing" in text  # optional: no cross


def test_the_clips_to_measure_on_are_shown_or_what_the_nearest_lacks(page):
    text = section(page, "measure-1")
    assert "accepted clip of each view that is graded good and at least 1 beat long" in text
    assert "001.avi" in text and "000.avi" not in text
    assert f"{A2C} the nearest" in text and "004.avi will not do: rejected" in text


def test_the_page_asks_for_nothing(page):
    tags = Tags(page)
    assert "http" not in page.replace("http-equiv", "").lower()
    assert all(tag not in ("link", "iframe", "object", "embed") for tag, _ in tags.found)
    assert all(attributes["src"].startswith("data:image/webp;base64,") for attributes in tags.having("src"))
    assert all(attributes["href"].startswith("#") for attributes in tags.having("href"))
    (policy,) = (a["content"] for a in tags.having("content") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "img-src data:" in policy


def test_each_film_is_on_the_page_once_however_often_its_clip_is_shown(page):
    films = re.findall(r'id="film-(\d)"', page)
    assert sorted(films) == ["0", "1", "2", "3", "4", "6"]
    assert page.count('data-film="1"') == 2  # in its view, and to measure on


def test_hostile_names_are_text(tmp_path):
    page = write(
        tmp_path,
        clip(0, name=HOSTILE),
        rejected(1, name=HOSTILE),
        unreadable(2, name=HOSTILE, error="<b>no</b>"),
        clip(3, A2C, grade=1, name=HOSTILE, warnings="<i>odd</i>"),
        name=HOSTILE,
    )
    tags = Tags(page)
    assert [tag for tag, _ in tags.found].count("script") == 4  # three films and the page's own
    assert "alert(1)</script>" not in page.replace("&lt;/script&gt;", "")
    assert "<b>no" not in page and "<i>odd" not in page
    paths = [attributes["data-path"] for attributes in tags.having("data-path")]
    assert set(paths) == {"s/" + HOSTILE.replace("\udcff", "\\udcff")}


@pytest.mark.parametrize("lacks", ["quality", "decision", "both", "views", "protocol"])
def test_what_the_checkpoint_lacks_is_left_out_and_said(tmp_path, lacks):
    columns, changes = list(COLUMNS), {}
    if lacks in ("quality", "both"):
        columns, changes = [c for c in columns if not c.startswith("quality")], {"grade": None}
    if lacks in ("decision", "both"):
        columns = [c for c in columns if c not in ("decision", "score", "tau", "score_name")]
        changes |= {"decision": None, "score": None, "tau": None}
    if lacks == "views":
        columns = ["file", "quality", "quality_score", "frame", "warnings", "error"]
        changes = {"view": None, "p": None, "decision": None, "score": None, "tau": None}
    grades = () if lacks in ("quality", "both") else GRADES
    protocol = None if lacks in ("views", "protocol") else PROTOCOL
    page = write(tmp_path, clip(0, **changes), clip(1, **changes), columns=columns, grades=grades, protocol=protocol)
    Tags(page)
    text = " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())
    assert ("The checkpoint does not grade" in text) == (lacks in ("quality", "both"))
    assert ("The checkpoint has no τ" in text) == (lacks in ("decision", "both"))
    assert ("names no views" in text) == (lacks == "views")
    assert ("No protocol:" in text) == (lacks == "protocol")
    assert ("<h2>Rejected</h2>" in page) == (lacks not in ("decision", "both", "views"))
    assert bool(section(page, "protocol")) == bool(section(page, "measure-1")) == (protocol is not None)
    assert ('class="pill best"' in page) == (lacks not in ("quality", "both"))
    assert page.count("<article") >= 2


def test_the_page_over_studies_counts_and_links(tmp_path):
    facts = Facts(COLUMNS, NAMES, GRADES, "msp", 1.0, PROTOCOL)
    one = study(clip(0), clip(1, A2C), clip(2, grade=0), rejected(3), unreadable(4), name=HOSTILE)
    found = [find(each, groups(), PROTOCOL, GRADES) for each in (one, study(clip(5), name="b"))]
    write_index(tmp_path / "x.html", found, ["x/001.html", "x/002.html"], facts)
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    tags = Tags(page)
    assert [attributes["href"] for attributes in tags.having("href")] == ["x/001.html", "x/002.html"]
    rows = re.findall(r"<tr data-text=[^>]*><td(.*?)</tr>", page, re.S)
    assert [re.findall(r'<td [^>]*data-value="([^"]*)"', row) for row in rows] == [
        ["5", "2", "22", "1", "2", "1", "a"],  # videos, views, to look at, rejected, good, no answer, ejection fraction
        ["1", "1", "23", "0", "1", "0", "b"],
    ]
    assert "<script>alert" not in page


def test_the_attention_is_a_curve_over_the_video_with_its_peak_marked():
    drawing = draw_attention(film(Timing(61, 30.0, None), frames=3))
    assert 'd="M5.0 35L5.0 25.0L120.0 15.0L235.0 5.0L235.0 35Z"' in drawing  # weights 1, 2, 3 of 6; frames 0, 30, 60
    assert '<circle class="peak" cx="235.0" cy="5.0" r="3.6"/>' in drawing
    assert "the most in frame 60" in drawing


@pytest.mark.parametrize(
    ("timing", "said"),
    [
        (Timing(60, 30.0, 60.0), "2.0 s, 2.0 beats"),
        (Timing(60, 30.0, None), "2.0 s"),
        (Timing(60, None, None), "60 frames"),
        (Timing(1, None, None), "still image"),
    ],
)
def test_the_length_is_said_as_far_as_it_is_known(timing, said):
    assert shown_length(clip(0, timing=timing)) == said
