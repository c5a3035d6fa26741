"""Ranking, the protocol's list and the clips to measure on, of clips made by hand."""

from __future__ import annotations

import pytest

from echoviewclip.study.clips import best_first, divide
from echoviewclip.study.films import Timing
from echoviewclip.study.findings import find
from echoviewclip.study.protocol import Measurement, Protocol
from tests.study.builders import A2C, A4C, GRADES, PLAX, clip, groups, rejected, study, unreadable

EF = Measurement("EF", (A4C, A2C), beats=1.0, seconds=1.0)
PROTOCOL = Protocol("P", "G", (PLAX, A4C, A2C), ("Suprasternal Notch",), (EF,))


def numbers(clips):
    return [clip.number for clip in clips]


def found(*clips, protocol=PROTOCOL, grades=GRADES):
    return find(study(*clips), groups(), protocol, grades)


def test_the_best_is_accepted_then_better_graded_then_likelier_then_the_first():
    clips = [
        rejected(0, p=0.99),
        clip(1, grade=0, p=0.98),
        clip(2, grade=2, p=0.5),
        clip(3, grade=2, p=0.7),
        clip(4, grade=1, p=0.97),
        clip(5, grade=2, p=0.7),
    ]
    assert numbers(best_first(clips)) == [3, 5, 2, 4, 1, 0]
    assert numbers(best_first([clip(0, p=0.6, grade=None, decision=None), clip(1, grade=None, decision=None)])) == [
        1,
        0,
    ]


def test_views_are_grouped_in_the_order_of_an_examination_and_rejected_clips_are_apart():
    result = found(
        clip(0, "Suprasternal Notch"),
        clip(1, "Apical 4C Color"),
        clip(2, A4C),
        rejected(3, A4C),
        clip(4, PLAX),
        unreadable(5),
    )
    assert [(v.window, v.mode, v.view) for v in result.views] == [
        ("Parasternal", "2-D", PLAX),
        ("Apical", "2-D", A4C),
        ("Apical", "Colour Doppler", "Apical 4C Color"),
        ("Suprasternal", "2-D", "Suprasternal Notch"),
    ]
    assert numbers(result.views[1].clips) == [2]
    assert numbers(result.rejected) == [3] and numbers(result.unreadable) == [5]


@pytest.mark.parametrize(
    ("clips", "grades", "status"),
    [
        ([], GRADES, "missing"),
        ([unreadable(0)], GRADES, "missing"),
        ([clip(0, PLAX)], GRADES, "missing"),
        ([rejected(0)], GRADES, "rejected"),
        ([clip(0, grade=1), rejected(1, grade=2)], GRADES, "poor"),
        ([clip(0, grade=0)], GRADES, "poor"),
        ([clip(0, grade=None)], GRADES, "poor"),
        ([clip(0, grade=1), clip(1, grade=2)], GRADES, "good"),
        ([clip(0, grade=None)], (), "ungraded"),
    ],
)
def test_a_view_of_the_protocol_is_there_or_said_why_not(clips, grades, status):
    (item,) = (item for item in found(*clips, grades=grades).items if item.view == A4C)
    assert item.status == status
    assert item.wanting == (status not in ("good", "ungraded"))


def test_optional_views_are_never_wanting():
    result = found(clip(0, PLAX), clip(1, A4C, grade=0))
    wanting = {status: [item.view for item in items] for status, items in result.wanting.items()}
    assert list(wanting.items()) == [("missing", [A2C]), ("poor", [A4C])] and result.lacking == 2
    assert [item.view for item in result.required] == [PLAX, A4C, A2C]
    assert [item.view for item in result.items] == [PLAX, A4C, A2C, "Suprasternal Notch"]
    assert found(clip(0), protocol=None).items == found(clip(0), protocol=None).measurements == []


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({}, ()),
        ({"grade": 1}, ("graded not good",)),
        ({"grade": None}, ("graded not at all",)),
        ({"decision": "rejected"}, ("rejected",)),
        ({"timing": Timing(30, 30.0, 60.0)}, ()),  # one beat
        ({"timing": Timing(30, 30.0, 54.0)}, ("0.9 beats, shorter than 1",)),
        ({"timing": Timing(20, 30.0, 90.0)}, ()),  # 0.67 s, and a beat all the same
        ({"timing": Timing(30, 30.0, None)}, ()),
        ({"timing": Timing(24, 30.0, None)}, ("0.8 s, shorter than 1 s",)),
        ({"timing": Timing(100, None, 60.0)}, ("length not known: no frame rate",)),
        ({"timing": Timing(1, None, None)}, ("a still image",)),
    ],
)
def test_a_clip_to_measure_on_is_accepted_good_and_a_beat_long(changes, lacks):
    choice = found(clip(7, **changes)).measurements[0].choices[0]
    assert choice.view == A4C and choice.lacks == lacks
    assert (choice.clip and choice.clip.number) == (None if lacks else 7)
    assert (choice.nearest and choice.nearest.number) == (7 if lacks else None)


def test_the_best_clip_that_will_do_is_chosen_and_else_the_one_that_lacks_least():
    short = Timing(10, 30.0, None)
    result = found(
        clip(0, p=0.99, timing=short),
        clip(1, p=0.6),
        clip(2, p=0.7),
        clip(3, A2C, grade=0, timing=short),
        clip(4, A2C, grade=0),
    )
    four, two = result.measurements[0].choices
    assert four.clip.number == 2
    assert two.clip is None and two.nearest.number == 4 and two.lacks == ("graded very bad",)
    assert found().measurements[0].choices[0].nearest is None


def test_a_study_is_the_folder_given_or_the_one_that_holds_the_files(tmp_path):
    for name in ("a/series/1.avi", "a/2.avi", "b/3.avi", "c/4.avi", "c/d/5.avi"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    a, c = str(tmp_path / "a"), str(tmp_path / "c")
    files = [str(tmp_path / name) for name in ("a/series/1.avi", "a/2.avi", "b/3.avi", "c/4.avi", "c/d/5.avi")]
    inner = f"{c}/d"
    assert divide([a, files[2], c, inner], files) == {a: [0, 1], str(tmp_path / "b"): [2], c: [3], inner: [4]}
    assert divide([c, f"{a}/"], files[:2] + files[3:]) == {a: [0, 1], c: [2, 3]}
    assert divide(files, files[2:4]) == {str(tmp_path / "b"): [0], c: [1]}


def test_a_folder_of_images_is_a_video_of_the_folder_above(tmp_path):
    (tmp_path / "frames").mkdir()
    assert divide([str(tmp_path / "frames")], [str(tmp_path / "frames")]) == {str(tmp_path): [0]}
