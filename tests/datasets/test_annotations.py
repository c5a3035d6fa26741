"""Lists of videos: every format, every fault with its line, and a million of them in little memory."""

from __future__ import annotations

import csv
import json
import multiprocessing
import pickle
import time
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.strings import GrowingStrings
from echoviewclip.utils.errors import UserError

# Anything a file may be called: spaces, quotes, commas, any script; no line breaks, which only CSV and JSON can hold.
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=30).filter(
    lambda name: name == name.strip(" \t") and ".." not in name
)
LABELS = st.integers(-1, 37)


def entries(listed):
    return [(listed.name(i), listed.labels[i].tolist()) for i in range(len(listed))]


# ── Formats ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_text_of_path_and_label(write):
    listed = read_annotations(write("a.avi 3\n\n  my study/b c.avi\t0 \r\nno suffix 12\nd.avi -1\n"))
    assert entries(listed) == [("a.avi", 3), ("my study/b c.avi", 0), ("no suffix", 12), ("d.avi", -1)]
    assert listed.lines.tolist() == [1, 3, 4, 5]


def test_a_line_that_is_only_a_path_has_no_label(write):
    assert entries(read_annotations(write("a.avi\nfar away/b.mp4\nfolder\n"))) == [
        ("a.avi", -1),
        ("far away/b.mp4", -1),
        ("folder", -1),
    ]


@given(st.lists(st.tuples(NAMES, LABELS), min_size=1, max_size=8))
@example([('say "a".avi', 1), ("Herz, Übersicht.avi", 2), ("超声 心动图.avi", 3), ("a 1", 2), ("tab\there.avi", 4)])
def test_text_gives_back_what_was_written(tmp_path_factory, videos):
    file = tmp_path_factory.mktemp("list") / "list.txt"
    file.write_text("".join(f"{name} {label}\n" for name, label in videos), encoding="utf-8")
    assert entries(read_annotations(file, allow_outside=True)) == videos


@given(st.lists(st.tuples(NAMES, LABELS, NAMES, st.integers(0, 2), st.floats(0, 1, width=32)), min_size=1, max_size=8))
@pytest.mark.parametrize("kind", ["csv", "json", "data_list"])
def test_csv_and_json_give_back_what_was_written(tmp_path_factory, kind, videos):
    file = tmp_path_factory.mktemp("list") / f"list.{kind.replace('data_list', 'json')}"
    columns = ("filename", "label", "patient", "quality", "score")
    if kind == "csv":
        with file.open("w", newline="", encoding="utf-8") as lines:
            csv.writer(lines).writerows([("path", *columns[1:]), *videos])
    else:
        rows = [dict(zip(columns, video, strict=True)) for video in videos]
        file.write_text(json.dumps({"metainfo": {}, "data_list": rows} if kind == "data_list" else rows))
    anywhere = {"allow_outside": True}  # any text may be a name, also an absolute path
    views, grades = (
        read_annotations(file, **anywhere, **more) for more in ({}, {"target": "quality", "num_classes": 3})
    )
    scores = read_annotations(file, target="score", **anywhere)
    given = list(zip(*videos, strict=True))
    assert entries(views) == list(zip(given[0], given[1], strict=True))
    assert [views.patient(i).strip() for i in range(len(views))] == [name.strip() for name in given[2]]
    assert grades.labels.tolist() == list(given[3])
    assert scores.labels.tolist() == [-1] * len(videos)
    np.testing.assert_array_equal(scores.scores, np.float32(given[4]))


def test_csv_columns_in_any_order_and_others_left_alone(write):
    text = 'EF, Label ,line,Path\n55,2,x,"a, b.avi"\n,,,"say ""c"".avi"\n'
    listed = read_annotations(write("\ufeff" + text, "list.csv"))
    assert entries(listed) == [("a, b.avi", 2), ('say "c".avi', -1)]
    assert listed.lines.tolist() == [2, 3]
    assert np.isnan(listed.scores).all() and listed.patient(0) == ""


def test_json_may_leave_things_out(write):
    text = json.dumps([{"frame_dir": "a"}, {"filename": "b.avi", "label": None, "patient": None, "score": None}])
    listed = read_annotations(write(text, "list.json"))
    assert entries(listed) == [("a", -1), ("b.avi", -1)]
    assert listed.patients.tolist() == [-1, -1]


def test_grades_and_scores_after_the_path(write):
    assert read_annotations(write("a b.avi 2\n"), target="quality").labels.tolist() == [2]
    assert read_annotations(write("a.avi 0.25\nb.avi 1e-1\nc.avi\n"), target="score").scores.tolist() == pytest.approx(
        [0.25, 0.1, np.nan], nan_ok=True
    )


def test_several_labels(write):
    expected = [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    text = read_annotations(write("a 2 b.avi 0 3\nc.avi 1\nd.avi -1\n"), target="multilabel", num_classes=4)
    assert [text.name(i) for i in range(3)] == ["a 2 b.avi", "c.avi", "d.avi"]
    table = read_annotations(
        write('path,label\na.avi,"0,3"\nc.avi,1\nd.avi,\n', "l.csv"), target="multilabel", num_classes=4
    )
    tree = [{"filename": "a.avi", "label": [0, 3]}, {"filename": "c.avi", "label": 1}, {"filename": "d.avi"}]
    tree = read_annotations(write(json.dumps(tree), "l.json"), target="multilabel", num_classes=4)
    for listed in (text, table, tree):
        assert listed.labels.dtype == np.float32
        assert listed.labels.tolist() == expected


def test_patients_are_numbered_as_they_appear(write):
    listed = read_annotations(write("path,patient\na.avi,P7\nb.avi,\nc.avi,P1\nd.avi,P7\n", "list.csv"))
    assert listed.patients.tolist() == [0, -1, 1, 0]
    assert [listed.patient(i) for i in range(4)] == ["P7", "", "P1", "P7"]


# ── Faults ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_fault_is_named_with_its_line(write):
    file = write("a.avi 0\nb.avi 38\nc.avi 1.5\nwhat is this\nd.avi 2\n../e.avi 1\nf.avi -2\n")
    with pytest.raises(UserError) as error:
        read_annotations(file, num_classes=38)
    assert str(error.value).splitlines() == [
        f"{file}:2: the label 38 is out of range: [0, 38), or -1 for none",
        f"{file}:3: the label '1.5' is not a whole number",
        f"{file}:4: expected `path label`, found 'what is this'",
        f"{file}:6: the path '../e.avi' leaves the data folder; `..` is not allowed",
        f"{file}:7: the label -2 is out of range: [0, 38), or -1 for none",
    ]


def test_faulty_lines_can_be_collected_and_left_out(write):
    file, faults = write("a.avi 0\nb.avi x9\nc.avi 1\n"), []
    assert entries(read_annotations(file, faults=faults)) == [("a.avi", 0), ("c.avi", 1)]
    assert faults == [f"{file}:2: the label 'x9' is not a whole number"]
    assert len(read_annotations(write("b.avi x9\n"), faults=faults)) == 0
    assert len(faults) == 2


def test_of_many_faults_the_first_are_shown(write):
    with pytest.raises(UserError) as error:
        read_annotations(write("a.avi 99\n" * 25), num_classes=38)
    lines = str(error.value).splitlines()
    assert len(lines) == 21 and lines[-1] == "… and 5 more"


@pytest.mark.parametrize(
    ("name", "text", "target", "message"),
    [
        ("l.csv", "file,label\na,1\n", "class", "l.csv:1: the header lacks path; it is 'file,label'"),
        ("l.csv", "path,label\na,1\n", "quality", "l.csv:1: the header lacks quality"),
        ("l.csv", "path,label\na,1\nb\n", "class", "l.csv:3: 1 columns where the header has 2"),
        ("l.csv", "path,label\n,1\n", "class", "l.csv:2: no path"),
        ("l.csv", "path,label\na.avi,1 2\n", "class", r"l.csv:2: several labels \(1 2\) where one is expected"),
        ("l.csv", "path,score\na.avi,1.2\n", "score", r"l.csv:2: the score 1.2 is not in \[0, 1\]"),
        ("l.csv", "path,score\na.avi,nan\n", "score", r"l.csv:2: the score nan is not in \[0, 1\]"),
        ("l.csv", "path,score\na.avi,good\n", "score", "l.csv:2: the score 'good' is not a number"),
        ("l.json", '[{"filename": "a.avi"},\n {"label": 3}]', "class", "l.json:2: the entry has no `filename`"),
        ("l.json", '[\n{"filename": "a.avi",}]', "class", "l.json:2: not valid JSON"),
        ("l.json", '{"a": 1}', "class", "l.json: expected a list of entries, or one under `data_list`"),
        ("l.json", '[{"filename": "\\ud800.avi"}]', "class", "l.json:1: .*surrogates not allowed"),
        ("l.json", '[{"filename": "a\\u0000.avi"}]', "class", "l.json:1: a zero byte in the path"),
        ("l.txt", "\n\n", "class", "l.txt: names no videos"),
        ("l.txt", "a.avi 1\n", "views", "target must be one of class, quality, multilabel, score, found 'views'"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(write, name, text, target, message):
    with pytest.raises(UserError, match=message):
        read_annotations(write(text, name), target=target)


def test_other_encodings_are_refused_with_the_line(write):
    with pytest.raises(UserError, match=r"list.txt:2: not UTF-8 text"):
        read_annotations(write("a.avi 1\nHerz-Übersicht.avi 2\n", encoding="latin-1"))


@given(st.binary(max_size=200), st.sampled_from(["txt", "csv", "json"]))
def test_any_bytes_are_a_list_or_an_error_that_names_it(tmp_path_factory, content, kind):
    file = tmp_path_factory.mktemp("list") / f"list.{kind}"
    file.write_bytes(content)
    try:
        assert len(read_annotations(file)) > 0
    except UserError as error:
        assert str(error).startswith(f"{file}:")


# ── Where things are ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_lists_are_found_as_given_or_under_the_root(write, tmp_path):
    file = write("a.avi 1\n")
    for name, root in ((file, None), (file, tmp_path / "elsewhere"), ("list.txt", tmp_path)):
        assert read_annotations(name, root).file == file
    with pytest.raises(UserError, match=r"no such list of videos: other.txt nor .*other.txt \(DATA.TRAIN_FILE"):
        read_annotations("other.txt", tmp_path)


def test_names_are_relative_to_the_root_or_to_its_videos(write, tmp_path):
    file = write("a.avi 1\n")
    assert read_annotations(file).path(0) == str(tmp_path / "a.avi")
    assert read_annotations(file, tmp_path / "data").path(0) == str(tmp_path / "data/a.avi")
    (tmp_path / "videos.tar").touch()
    assert read_annotations(file).path(0) == str(tmp_path / "videos.tar/a.avi")
    (tmp_path / "videos").mkdir()
    assert read_annotations(file).path(0) == str(tmp_path / "videos/a.avi")
    (tmp_path / "a.avi").touch()
    assert read_annotations(file).path(0) == str(tmp_path / "a.avi")


# ── Size ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20)))
def test_strings_give_back_what_was_put_in(texts):
    strings = GrowingStrings()
    for text in texts:
        strings.append(text)
    strings = pickle.loads(pickle.dumps(strings.freeze()))
    assert [strings[i] for i in range(len(strings))] == list(strings) == texts
    for wrong in (-1, len(texts)):
        with pytest.raises(IndexError):
            strings[wrong]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A hundred thousand lines, a tenth of what must fit in 300 MB and be read in 5 seconds."""
    file = tmp_path_factory.mktemp("large") / "list.csv"
    rows = (f"2019/{i % 1000:03d}/{i * 2654435761 % 2**64:016x}.avi,{i % 38},P{i // 10:07d}\n" for i in range(100_000))
    file.write_text("path,label,patient\n" + "".join(rows))
    return file


def test_reading_takes_some_times_as_long_as_cutting_the_lines(large):
    def seconds(work) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    def cut() -> list[list[str]]:
        return [line.split(",") for line in large.read_text(encoding="utf-8").splitlines()]

    turns = [(seconds(lambda: read_annotations(large, num_classes=38)), seconds(cut)) for _ in range(3)]
    reading, cutting = map(min, zip(*turns, strict=True))
    assert reading < 10 * cutting  # about 3


def test_an_index_takes_a_hundred_bytes_a_video(large):
    listed = read_annotations(large)
    assert len(pickle.dumps(listed)) < 100 * len(listed)


def test_processes_that_are_started_get_the_index_without_a_copy(large):
    assert len(ForkingPickler.dumps(read_annotations(large))) < 10_000


def _own_memory() -> int:
    """Bytes that this process shares with no other."""
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in rollup if line.startswith("Private_Dirty"))


def _grown_by_reading(listed, answer) -> None:
    """Reads something of every page of memory."""
    before = _own_memory()
    total = sum(len(listed.path(i)) + listed.labels[i] + len(listed.patient(i)) for i in range(0, len(listed), 10))
    answer.send((int(total), _own_memory() - before))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells what a process owns")
def test_processes_that_are_forked_share_the_index(large):
    listed = read_annotations(large)
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_grown_by_reading, args=(listed, there))
    process.start()
    total, grown = here.recv()
    process.join()
    assert total > 100_000
    assert grown < len(pickle.dumps(listed)) / 4
