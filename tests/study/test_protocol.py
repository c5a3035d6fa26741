"""Protocols: those that are shipped, how one is chosen, and what is said of one that is not as it should be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from echoviewclip.study.protocol import FOLDER, Measurement, Protocol, choose_protocol, read_protocol
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names

NAMES = read_names("labels/ultracls.csv")
WHOLE = "name: A\nguideline: G\nviews: [One]\n"


@pytest.mark.parametrize("file", sorted(Path(FOLDER).glob("*.yaml")), ids=lambda file: file.stem)
def test_each_shipped_protocol_names_its_guideline_and_known_views_only(file):
    protocol = read_protocol(file)
    assert set(protocol.named) <= set(NAMES)
    assert re.search(r"J Am Soc Echocardiogr 20\d\d;\d+:\d+-\d+", protocol.guideline)
    for measurement in protocol.measurements:
        assert set(measurement.views) <= set(protocol.views)


def test_the_two_protocols_share_no_view_and_name_all_between_them():
    both = [choose_protocol(name, NAMES) for name in ("adult-tte", "contrast")]
    views = [view for protocol in both for view in (*protocol.views, *protocol.optional)]
    assert sorted(views) == sorted(NAMES)


def test_without_a_wish_the_standard_one_serves_where_the_checkpoint_knows_its_views():
    assert choose_protocol(None, NAMES).name == "Adult transthoracic study"
    assert choose_protocol(None, NAMES[:30]) is not None
    assert choose_protocol(None, NAMES[1:]) is None
    assert choose_protocol(None, ()) is None


def test_a_file_is_read_with_all_it_says(tmp_path):
    measured = "measurements:\n  - {name: EF, views: [One], beats: 1, seconds: 1.5}\n"
    (tmp_path / "x.yaml").write_text(f"{WHOLE}optional: [Two]\n{measured}")
    expected = Protocol("A", "G", ("One",), ("Two",), (Measurement("EF", ("One",), 1.0, 1.5),))
    assert choose_protocol(str(tmp_path / "x.yaml"), ["One", "Two"]) == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("adult", "--protocol 'adult': no such protocol; adult-tte, contrast, or a yaml file"),
        ("none/x.yaml", "none/x.yaml: no such protocol (--protocol)"),
        (
            "contrast",
            "labels/protocols/contrast.yaml: 'A4C LVO' is none of the checkpoint's 2 views; did you mean 'A4C'?",
        ),
    ],
)
def test_a_protocol_that_cannot_serve_is_refused(asked, said):
    with pytest.raises(UserError, match=re.escape(said)):
        choose_protocol(asked, ["A4C", "Sub"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected the keys name, guideline, views, optional, measurements, found []"),
        ("name: A\nguideline: G", "views is missing"),
        (f"{WHOLE}view: [Two]", "unknown key 'view'; it may have name, guideline, views, optional, measurements"),
        ("name: 3\nguideline: G\nviews: [One]", "name: expected a text, found 3"),
        ("name: A\nguideline: ''\nviews: [One]", "guideline: expected a text, found ''"),
        ("name: A\nguideline: G\nviews: One", "views: expected a list of names of views, found 'One'"),
        ("name: A\nguideline: G\nviews: []", "views: expected a list of names of views, found []"),
        ("name: A\nguideline: G\nviews: [One, One]", "views: 'One' is there twice"),
        (f"{WHOLE}optional: [One]", "optional: 'One' is among the views, too; leave it in one of them"),
        (f"{WHOLE}measurements: EF", "measurements: expected a list, found 'EF'"),
        (f"{WHOLE}measurements: [EF]", "measurements: 1: expected the keys name, views, beats, seconds, found 'EF'"),
        (f"{WHOLE}measurements: [{{name: EF, views: [One], beats: 1}}]", "measurements: 1: seconds is missing"),
        (
            f"{WHOLE}measurements: [{{name: EF, views: [One], beats: -1, seconds: 1}}]",
            "measurements: 1: beats: expected a number of 0 or more, found -1",
        ),
        (
            f"{WHOLE}measurements: [{{name: EF, views: [One], beats: 1, seconds: .nan}}]",
            "measurements: 1: seconds: expected a number of 0 or more, found nan",
        ),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named(tmp_path, text, said):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(f"x.yaml: {said}")):
        read_protocol(tmp_path / "x.yaml")
