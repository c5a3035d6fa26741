"""The order of views: that of labels/ultracls.yaml, and what is said of a file that gives none."""

from __future__ import annotations

import re

import pytest

from echoviewclip.phantom.probe.views import VIEWS
from echoviewclip.study.groups import OTHER, ViewGroups, find_groups, read_groups
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names
from tests.study.builders import groups

NAMES = read_names("labels/ultracls.csv")
MODES = {  # of the phantom's simulator, which knows how each view is recorded
    "bmode": "2-D",
    "colour": "Colour Doppler",
    "pw": "Spectral Doppler",
    "cw": "Spectral Doppler",
    "tdi": "Spectral Doppler",
    "mmode": "M-mode",
    "lvo": "Contrast",
    "mce": "Contrast",
    "flash": "Contrast",
}
WINDOWS = {"apical": "Apical", "right_focus": "Apical", "vena_cava": "Subcostal", "suprasternal": "Suprasternal"}


@pytest.mark.parametrize("labels", ["ultracls", "ev9v", "tmed2", "echonet_pediatric"])
def test_every_view_of_a_label_list_has_its_place_and_no_other_is_named(labels):
    names = read_names(f"labels/{labels}.csv")
    assert sorted(read_groups(f"labels/{labels}.yaml").places) == sorted(names)
    assert find_groups(f"labels/{labels}.csv", names) == read_groups(f"labels/{labels}.yaml")


@pytest.mark.parametrize("view", NAMES)
def test_windows_and_modes_are_those_that_the_phantom_records_the_views_by(view):
    plane, mode = VIEWS[view].plane, VIEWS[view].mode
    window = next((name for start, name in WINDOWS.items() if plane.startswith(start)), "Parasternal")
    assert groups().place(view) == (window, MODES[mode])


def test_views_are_ordered_by_window_then_mode_then_as_they_stand_in_the_file():
    views = [
        "?",
        "Suprasternal Notch",
        "Apical 4C Color",
        "Apical 2C 2D",
        "Apical 4C 2D",
        "Parasternal Long Axis M-mode",
    ]
    assert sorted(views, key=groups().order) == views[::-1]
    assert groups().place("?") == groups().place(None) == (OTHER, "")


def test_the_file_beside_the_label_list_goes_before_the_standard_one(tmp_path):
    own = "windows: [here]\nmodes: [so]\nviews:\n  One: [here, so]\n"
    (tmp_path / "own.yaml").write_text(own)
    assert find_groups(tmp_path / "own.csv", ["One"]).places == {"One": ("here", "so")}
    assert find_groups(tmp_path / "own.csv", ["Apical 4C 2D"]).places == groups().places
    assert find_groups(tmp_path / "own.csv", ["One", "Two"]) == ViewGroups()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected the keys windows, modes, views"),
        ("windows: [a]\nmodes: [b]", "expected the keys windows, modes, views"),
        ("windows: a\nmodes: [b]\nviews: {}", "windows: expected a list of names, found 'a'"),
        ("windows: [a]\nmodes: [b]\nviews: [c]", "views: expected `name: [window, mode]` lines"),
        (
            "windows: [a]\nmodes: [b]\nviews: {c: [a, d]}",
            "views: 'c': expected [window, mode] out of windows and modes, found ['a', 'd']",
        ),
        ("windows: [a", "not valid yaml"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named(tmp_path, text, said):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(f"x.yaml: {said}")):
        read_groups(tmp_path / "x.yaml")
