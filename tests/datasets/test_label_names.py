"""Labels by name in every format of lists, label lists with faults, and numbers of classes that follow from them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.configured import read_list
from echoviewclip.datasets.labels import Labels
from echoviewclip.utils.config import config_from_text, load_config
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names
from tests.tiny_data import configure, history, tiny, tiny_options, train

VIEWS = read_names("labels/ultracls.csv")
GRADES = read_names("labels/quality.csv")


def entries(listed):
    return [(listed.name(i), listed.labels[i].tolist()) for i in range(len(listed))]


# ── In lists ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_text_lists_hold_names_and_ids(write):
    text = "study 7/a.avi Apical 4C 2D\nb c.avi\tapical  2c 2D\nd.avi 2\nframes of e Apical 4C 2D\nf.avi\ng.avi -1\n"
    listed = read_annotations(write(text), label_names=VIEWS)
    assert entries(listed) == [
        ("study 7/a.avi", 0),
        ("b c.avi", 1),
        ("d.avi", 2),
        ("frames of e", 0),
        ("f.avi", -1),
        ("g.avi", -1),
    ]


def test_the_longest_name_that_ends_the_line_is_the_label(write):
    text = "a.avi not good\nb.avi good\nstudy very bad\nnot_good.avi good\n"
    listed = read_annotations(write(text), label_names=GRADES, target="quality")
    assert entries(listed) == [("a.avi", 1), ("b.avi", 2), ("study", 0), ("not_good.avi", 2)]


@given(st.lists(st.tuples(st.sampled_from(["a b.avi", "2 c.mp4", "x/Apical 4C 2D.avi"]), st.integers(0, 37))))
def test_text_gives_back_the_names_that_were_written(tmp_path_factory, videos):
    file = tmp_path_factory.mktemp("list") / "list.txt"
    file.write_text("start.avi 0\n" + "".join(f"{name} {VIEWS[label]}\n" for name, label in videos), encoding="utf-8")
    assert entries(read_annotations(file, label_names=VIEWS))[1:] == videos


def test_csv_and_json_lists_hold_names_and_ids(write):
    table = read_annotations(
        write("path,label,quality\na.avi,Apical 4C 2D,good\nb.avi,1,0\nc.avi,,NOT GOOD\n", "l.csv"), label_names=VIEWS
    )
    grades = read_annotations(table.file, label_names=GRADES, target="quality")
    entries_of = [{"filename": "a.avi", "label": "Apical 4C 2D"}, {"filename": "b.avi", "label": 1}]
    tree = read_annotations(write(json.dumps(entries_of), "l.json"), label_names=VIEWS)
    assert table.labels.tolist() == [0, 1, -1] and grades.labels.tolist() == [2, 0, 1]
    assert tree.labels.tolist() == [0, 1]


def test_several_names(write):
    names = ["Apical 4C 2D", "Apical 4C", "Color, Doppler"]
    expected = [[1, 0, 1], [0, 1, 0], [1, 1, 0]]
    tree = [["Apical 4C 2D", "Color, Doppler"], "apical 4c", ["0", 1]]
    lists = {
        "l.txt": "a.avi Apical 4C 2D, Color, Doppler\nb.avi Apical 4C\nc.avi 0 Apical 4C\n",
        "l.csv": 'path,label\na.avi,"Apical 4C 2D;Color, Doppler"\nb.avi,apical 4c\nc.avi,0 1\n',
        "l.json": json.dumps([{"filename": f"{k}.avi", "label": v} for k, v in zip("abc", tree, strict=True)]),
    }
    for name, text in lists.items():
        listed = read_annotations(write(text, name), label_names=names, target="multilabel")
        assert [listed.name(i) for i in range(3)] == ["a.avi", "b.avi", "c.avi"]
        assert listed.labels.tolist() == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.txt", "a.avi Apical 4X 2D\n", "the label 'Apical 4X 2D' is neither a whole number nor a name of the label"),
        ("l.csv", "path,label\na.avi,Apical 4C\n", "list; did you mean 'Apical 4C 2D'"),
        ("l.csv", "path,label\na.avi,Apical 4C 2D; Apical 2C 2D\n", "is neither a whole number nor a name"),
        ("l.txt", "a.avi 38\n", r"the label 38 is out of range: \[0, 38\)"),
    ],
)
def test_a_label_that_is_not_known_is_named_whole(write, name, text, message):
    with pytest.raises(UserError, match=message):
        read_annotations(write(text, name), label_names=VIEWS)


def test_labels_of_outsiders_may_be_any(write, tiny_folder, tmp_path):
    text = "path,label\na.avi,Suprasternal\nb.avi,Short Axis\nc.avi,99\n"
    config = tiny(tiny_folder, tmp_path / "run")
    assert read_list(config, str(write(text, "l.csv")), outsiders=True).labels.tolist() == [-1, 2, -1]
    with pytest.raises(UserError, match="'Suprasternal'"):
        read_list(config, str(tmp_path / "l.csv"))


def test_only_a_whole_name_ends_a_line():
    known = Labels(VIEWS)
    assert [known.ending(line) for line in ("a.avi 3", "x" * 10_000 + " 2D", "4C 2D")] == ["", "", ""]


# ── Label lists ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0,Apical 4C\n1,b\n2,Apical 4C\n", "4: the name 'Apical 4C' is already in line 2; each class needs its own"),
        ("0,Apical 4C\n1,apical  4c\n", "3: the name 'apical  4c' is already in line 2; each class needs its own"),
        ("0,1\n1,2\n", "2: the name '1' reads as an id; write a word with it: 'grade 1'"),
    ],
)
def test_names_that_do_not_tell_classes_apart_are_refused(write, rows, message):
    file = write("id,name\n" + rows, "labels.csv")
    with pytest.raises(UserError) as error:
        read_names(file)
    assert str(error.value) == f"{file}:{message}"


def test_numbers_of_classes_follow_from_the_lists(write):
    labels, grades = write("id,name\n0,a\n1,b\n", "l.csv"), write("id,name\n0,bad\n1,fair\n2,good\n3,best\n", "g.csv")
    file = write(f"STAGE: view\nDATA: {{LABEL_LIST: {labels}, QUALITY_LIST: {grades}}}\n", "c.yaml")
    config = load_config(file)
    assert (config.DATA.NUM_CLASSES, config.DATA.NUM_QUALITIES) == (2, 4)
    stated = load_config(file, [("DATA.NUM_CLASSES", 3)])
    with pytest.raises(UserError, match=r"DATA.NUM_CLASSES is 3, but .* names 2; make them agree"):
        read_list(stated, str(write("a.avi 0\n")))
    (labels.unlink(), grades.unlink())  # what a checkpoint carries needs no lists
    assert config_from_text(config.dump()).DATA.NUM_CLASSES == 2


@pytest.mark.parametrize("stage", ["view", "negation", "quality"])
@pytest.mark.parametrize("folder", ["phantom", "ultracls", "benchmark"])
def test_shipped_files_count_38_views_and_3_grades(folder, stage):
    config = load_config(f"configs/{folder}/{stage}.yaml")
    assert (config.DATA.NUM_CLASSES, config.DATA.NUM_QUALITIES) == (38, 3)


def test_a_run_on_names_is_the_run_on_ids(tiny_folder, tmp_path):
    names = read_names(tiny_folder / "labels.csv")
    for file in ("train.txt", "val.txt"):
        lines = [line.rsplit(" ", 1) for line in (tiny_folder / file).read_text().splitlines()]
        (tmp_path / file).write_text("".join(f"{path} {names[int(label)]}\n" for path, label in lines))
    runs = []
    for lists in (tiny_folder, tmp_path):
        files = {"DATA__TRAIN_FILE": str(lists / "train.txt"), "DATA__VAL_FILE": str(lists / "val.txt")}
        options = tiny_options(tiny_folder, tmp_path / f"run{len(runs)}", DATA__NUM_CLASSES=0, **files)
        runs.append(history(train(configure("configs/phantom/view.yaml", options))))
    assert runs[0] == runs[1]
