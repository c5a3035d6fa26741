"""Why a model decided, in the report: the colours of its maps, which videos have them, and what they cost."""

from __future__ import annotations

import re

import numpy as np
import pytest

from echoviewclip.evaluation.overlays import MOST, SCALES, Why, colour_table, lay_over
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.report import write_report
from echoviewclip.evaluation.summary import Summary
from echoviewclip.evaluation.worst import telling_videos, worst_videos
from tests.page_tags import Tags
from tests.synthetic_run import make_predictions, make_run


def why(frames, size=112, against=True):
    """Noise, with a map of 14×14 patches a frame."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (len(frames), size, size, 3), dtype=np.uint8)
    maps = random.random((2, len(frames), 14, 14)).astype(np.float32)
    return Why(np.array(frames), pictures, maps[0], maps[1] if against else None)


@pytest.mark.parametrize(("scale", "least", "most"), [("for", (16, 38, 79), (242, 255, 196)), ("against", None, None)])
def test_a_scale_goes_from_clear_and_dark_to_opaque_and_light(scale, least, most):
    table = colour_table(scale)
    assert table[:16, 3].max() == 0 and table[115:, 3] == pytest.approx(255 * MOST)
    if least:
        assert table[0, :3].tolist() == list(least) and table[255, :3].tolist() == list(most)
    lightness = table[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()  # so that it reads without colour, too
    assert table[51 * 2, :3] == pytest.approx([int(SCALES[scale][2][at : at + 2], 16) for at in (1, 3, 5)])


def test_a_map_colours_the_places_that_counted_and_leaves_the_others_alone():
    picture, halves = np.full((1, 8, 8, 3), 100, np.uint8), np.zeros((1, 2, 2), np.float32)
    halves[..., 0] = 1
    shown = lay_over(picture, halves, "for")
    assert shown.shape == picture.shape and shown.dtype == np.uint8
    assert (shown[0, :, 7] == 100).all()
    light = [round(100 * (1 - MOST) + MOST * part) for part in (242, 255, 196)]
    assert shown[0, 3, 0].tolist() == light


def test_maps_are_of_errors_about_views_and_name_the_view_that_was_named():
    p = Predictions(
        path=["right", "wrong", "guest"],
        set=["in", "in", "far"],
        label=[0, 0, -1],
        probabilities=[[0.9, 0.1], [0.1, 0.9], [0.8, 0.2]],
        scores={"msp": [0.9, 0.9, 0.8]},
        grade=[1, 1, -1],
        grade_probabilities=[[1, 0], [0, 1], [0, 1]],
        score_prediction=[0, 1, 1],
        attention=np.full((3, 8), 1 / 8),
        frames=np.tile(np.arange(8), (3, 1)),
    )
    summary = Summary("quality", score="msp", tau=0.5, classes=["A", "B"], grades=["bad", "good"])
    assert telling_videos(p, summary) == ["wrong", "guest"]
    found = worst_videos(p, summary, why={"wrong": why(range(8)), "right": why(range(8))})
    maps = {title: [video.maps for video in videos] for title, videos in found.items()}
    (wrong,) = maps["Misclassified views"]
    assert [words for words, _ in wrong.values()] == ["What spoke for B", "What spoke against B"]
    assert maps["Accepted outsiders"] == maps["Quality furthest off"] == [{}]


def test_a_strip_holds_the_most_attended_frame_of_each_share():
    weights = [0.1, 0.2, 0.05, 0.05, 0.0, 0.3, 0.2, 0.1]
    p = Predictions(
        path=["a"], label=[0], probabilities=[[0.1, 0.9]], attention=[weights], frames=[[2, 4, 6, 8, 10, 12, 14, 16]]
    )
    one = why([2, 4, 6, 8, 10, 12, 14, 16], against=False)
    one.pictures[:] = np.arange(0, 240, 30, dtype=np.uint8)[:, None, None, None]
    one.spoke_for[:] = 0
    ((_, picture),) = worst_videos(p, Summary("view"), why={"a": one})["Misclassified views"][0].maps.values()
    assert pixels(picture)[56, 56::112, 0] == pytest.approx([30, 60, 150, 180], abs=3)


def pixels(drawing):
    """The picture in an SVG, uint8 [H, W, 3]."""
    import base64
    import io

    from PIL import Image

    data = re.search(r"data:image/jpeg;base64,([^\"]+)", drawing)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_page_shows_a_handful_of_maps_explains_them_and_stays_small(tmp_path):
    run, p = make_run(tmp_path / "run"), make_predictions()
    plain = write_report(run).read_text()
    assert "What spoke" not in plain and "linear-gradient" not in plain
    known = {path: why(range(0, 32, 2), size=224) for path in p.path.tolist()}
    page = write_report(run, why=known).read_text()
    drawn = re.findall(r"<figcaption>(What spoke (?:for|against) .*?)</figcaption>", page)
    assert 0 < len(drawn) == page.count("data:image/jpeg") <= 36 and len(drawn) % 2 == 0
    assert page.count("linear-gradient") == 2
    for words in ("colours of two pictures cannot be compared", "nor whether it was right"):
        assert words in page
    assert len(page) - len(plain) < 2 * 2**20  # of noise, the worst that a JPEG can be of
    for tag, attributes in Tags(page).found:
        assert tag not in ("link", "iframe", "img") and "src" not in attributes


def test_without_a_negative_branch_nothing_speaks_against(tmp_path):
    run = make_run(tmp_path / "run")
    page = write_report(run, why={path: why(range(4), against=False) for path in make_predictions().path}).read_text()
    assert "What spoke <b>for</b>" in page and "spoke <b>against</b>" not in page
