"""From an archive to lists: labels, grades and patients by folder, pattern and table, split by patient."""

from __future__ import annotations

import csv
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake.check import check_annotations
from echoviewclip.datasets.intake.plan import Plan
from echoviewclip.datasets.intake.prepare import prepare_sets
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.intake.splits import assign, parse_shares
from echoviewclip.tools import prepare as command
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.label_list import read_names
from tests.datasets.intake.hospital import content, write_dicom
from tests.media import numbered_frames, write_video

VIEWS = ("Apical_2C", "Apical_4C", "PLAX")
SETS = ("train", "val", "test")
FRAMES = numbered_frames(2, 24, 32)
NAMES = ["Doe^Jane", "Roe^Richard", "Mustermann^Max", "Meier^Anna"]


@pytest.fixture(scope="module")
def by_view(tmp_path_factory):
    """VIEW/patient_file.dcm of 12 patients, one video each of three views; patients are in the headers alone."""
    folder = tmp_path_factory.mktemp("archive") / "by_view"
    add_patients(folder, range(12))
    return folder


def add_patients(folder: Path, numbers) -> None:
    for number in numbers:
        for view in VIEWS:
            name = f"{NAMES[number % 4]}{number}"
            write_dicom(folder / view / f"{name}.dcm", FRAMES, PatientID=f"MRN{number:04}", PatientName=name)


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def sets_of(folder: Path) -> dict[str, str]:
    """The set of each patient in the lists."""
    return {row["patient"]: name for name in SETS for row in rows(folder / f"{name}.csv")}


def prepared(source, folder, **plan):
    return prepare_sets(source, folder, Options(), Plan(**plan), 0)


def test_folders_of_views_become_three_lists(by_view, tmp_path):
    _, told = prepared(by_view, tmp_path / "done", labels_from="folder")
    done = tmp_path / "done"
    assert read_names(done / "labels.csv") == list(VIEWS)
    lists = [read_annotations(done / f"{name}.csv", label_names=VIEWS) for name in SETS]
    assert check_annotations(*lists[:2], lists[2:]) == []
    patients = Counter(sets_of(done).values())
    assert patients == {"train": 10, "val": 1, "test": 1}
    assert [len(listed) for listed in lists] == [30, 3, 3]
    assert sorted(lists[0].labels.tolist()) == [0] * 10 + [1] * 10 + [2] * 10
    assert [line.split() for line in told] == [
        list(SETS),
        *([view, "10", "1", "1"] for view in VIEWS),
        ["videos", "30", "3", "3"],
        ["patients", "10", "1", "1"],
    ]


def test_nothing_that_identifies_a_patient_is_in_the_folder(by_view, tmp_path):
    prepared(by_view, tmp_path / "done", labels_from="folder")
    everything = b"".join([*content(tmp_path / "done").values(), *map(str.encode, content(tmp_path / "done"))])
    for secret in (*NAMES, "MRN0", *(name.split("^")[0] for name in NAMES)):
        assert secret.encode() not in everything


def test_files_that_are_added_move_no_patient(by_view, tmp_path):
    source = shutil.copytree(by_view, tmp_path / "source")
    prepared(source, tmp_path / "done", labels_from="folder")
    before = sets_of(tmp_path / "done")
    add_patients(source, range(12, 40))
    write_dicom(source / "New View/a.dcm", FRAMES, PatientID="MRN0003")
    prepared(source, tmp_path / "done", labels_from="folder")
    after = sets_of(tmp_path / "done")
    assert {patient: after[patient] for patient in before} == before
    assert Counter(after.values()) == {"train": 32, "val": 4, "test": 4}
    assert read_names(tmp_path / "done/labels.csv") == [*VIEWS, "New View"]  # ids stay, too


def test_a_second_run_and_other_labels_convert_nothing_again(by_view, tmp_path, monkeypatch):
    prepared(by_view, tmp_path / "done", labels_from="folder")
    before = content(tmp_path / "done")
    monkeypatch.setattr("echoviewclip.datasets.intake.prepare.convert", None)
    prepared(by_view, tmp_path / "done", labels_from="folder")
    assert content(tmp_path / "done") == before
    (tmp_path / "t.csv").write_text("path,label\nPLAX/Doe^Jane0.dcm,PLAX\n")
    with pytest.raises(UserError, match=r"split.json: split with other shares or another --seed"):
        prepared(by_view, tmp_path / "done", labels_from=str(tmp_path / "t.csv"), shares=parse_shares("1,1"))
    with pytest.raises(UserError, match=r"split.json: split with other shares or another --seed"):
        prepared(by_view, tmp_path / "done", labels_from="folder", seed=1)


def test_a_table_says_labels_grades_scores_and_patients(source, tmp_path):
    (source / "sub dir").mkdir()
    for number in range(6):
        write_video(source / f"sub dir/{number}.avi" if number else source / "0.avi", FRAMES)
    lines = ["path,label,quality,score,patient,other", "0.avi,0,good,0.9,P1,x"]
    lines += [f"sub dir/{k}.avi,plax,{k % 3},,P{k},x" for k in range(1, 4)]
    lines += ["sub dir/4.avi,,1,,P4,x", "gone.avi,0,,,,"]
    table, labels = tmp_path / "t.csv", tmp_path / "l.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    labels.write_text("id,name\n0,Apical 4C\n1,PLAX\n")
    _, told = prepared(
        source, tmp_path / "done", labels_from=str(table), label_list=labels, shares=parse_shares("50,50")
    )
    done = tmp_path / "done"
    views = rows(done / "train.csv") + rows(done / "val.csv")
    grades = rows(done / "quality_train.csv") + rows(done / "quality_val.csv")
    assert sorted(row["label"] for row in views) == ["Apical 4C", "PLAX", "PLAX", "PLAX"]
    assert Counter(row["quality"] for row in grades) == {"good": 2, "not good": 2, "very bad": 1}
    assert [row["score"] for row in grades if row["score"]] == ["0.9"]
    assert len({row["patient"] for row in grades}) == 4 and "P1" not in {row["patient"] for row in grades}
    assert told[-1] == "in no list: 1 videos without a label"
    assert not (done / "test.csv").exists()
    patients = {row["name"]: row["patient"] for row in rows(done / "manifest.csv")}
    assert all(patients[row["path"]] == row["patient"] for row in grades)


@pytest.fixture
def nested(source):
    """patient/study/view/file.avi"""
    for patient in ("p1", "p2", "p3"):
        for view in ("Apical_4C_2D", "apical 2c 2D"):
            (source / patient / "study" / view).mkdir(parents=True)
            write_video(source / patient / "study" / view / "a.avi", FRAMES)
    return source


@pytest.mark.parametrize("patient_from", ["folder", "folder:1", r"^p\d", r"(p\d)/study"])
def test_patients_by_folder_and_pattern(nested, tmp_path, patient_from):
    names = Path("labels/ultracls.csv")
    prepared(nested, tmp_path / "done", labels_from="folder", label_list=names, patient_from=patient_from)
    assert sorted(sets_of(tmp_path / "done").values()) == ["test", "train", "val"]
    found = [row["label"] for name in SETS for row in rows(tmp_path / f"done/{name}.csv")]
    assert Counter(found) == {"Apical 4C 2D": 3, "Apical 2C 2D": 3}
    assert read_names(tmp_path / "done/labels.csv") == read_names(names)


def test_the_deepest_folder_of_a_known_name_is_the_label(nested, tmp_path):
    for folder in list(nested.rglob("*2D")):
        (folder / "export").mkdir()
        (folder / "a.avi").rename(folder / "export/a.avi")
    plan = {"label_list": Path("labels/ultracls.csv"), "patient_from": "folder"}
    prepared(nested, tmp_path / "done", labels_from="folder", **plan)
    prepared(nested, tmp_path / "level", labels_from="folder:3", **plan)
    for done in ("done", "level"):
        assert {row["label"] for row in rows(tmp_path / done / "train.csv")} == {"Apical 4C 2D", "Apical 2C 2D"}
    with pytest.raises(UserError, match=r"--labels-from: the label 'export' is neither .*\(6 files\)"):
        prepared(nested, tmp_path / "wrong", labels_from="folder:4", **plan)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"labels_from": "folder", "patient_from": "folder:3"}, "take the same folder of some files"),
        ({"labels_from": "folder:0"}, "--labels-from folder:0: levels count from 1"),
        ({"labels_from": "gone.csv"}, "--labels-from gone.csv: no such table"),
        ({"labels_from": "(["}, r"--labels-from \(\[: neither folder, nor a table, nor a regular expression"),
        ({"labels_from": "folder:9"}, "--labels-from: says nothing of any of the 6 files"),
        ({"labels_from": "folder", "patient_from": "(x)(y)"}, "--patient-from: says nothing of any of the 6 files"),
        ({"labels_from": r"p(\d)"}, "the labels are numbers; say what they mean with --label-list"),
        ({"labels_from": "folder"}, "of 6 videos 6 have a label, and none of these has a patient"),
        ({"labels_from": "folder:1", "patient_from": "(p.)"}, "--labels-from: each label is one patient's"),
        ({"labels_from": "TABLE"}, r"table.csv: has no column `label`, or it is empty"),
        (
            {"labels_from": "folder", "patient_from": "TABLE"},
            r"table.csv:3: says another patient of the file that line 2",
        ),
        ({"labels_from": "folder", "quality_from": "folder:2"}, "--quality-from: the label 'study' is neither a whole"),
    ],
)
def test_mistakes_are_one_line(nested, tmp_path, plan, message):
    table = tmp_path / "table.csv"
    table.write_text("path,patient\np1/study/Apical_4C_2D/a.avi,x\np1/study/Apical_4C_2D/a.avi,y\n")
    with pytest.raises(UserError, match=message) as error:
        prepared(nested, tmp_path / "done", **{key: value.replace("TABLE", str(table)) for key, value in plan.items()})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shares", ["80", "80,20,0", "a,b", "", "1,2,3,4", "50,nan", "1,inf"])
def test_shares_that_are_none(shares):
    with pytest.raises(UserError, match="--split takes the shares of train, val, test"):
        parse_shares(shares)


def test_too_few_patients_for_the_sets_are_refused():
    with pytest.raises(UserError, match=r"2 patients cannot be split into 3 sets"):
        assign(["a", "b"], parse_shares("80,10,10"), 0, {})


def test_every_set_gets_patients_and_shares_are_kept():
    shares = parse_shares("80,10,10")
    for count in (3, 5, 7, 100):
        sizes = Counter(assign(map(str, range(count)), shares, 0, {}).values())
        assert all(abs(sizes[name] - share * count) < 1.5 for name, share in shares.items())
        assert min(sizes.values()) >= 1 and len(sizes) == 3
    drawn = {tuple(sorted(assign(map(str, range(30)), shares, seed, {}).items())) for seed in range(5)}
    assert len(drawn) == 5


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["prepare.py", *map(str, arguments), "--workers", "0"])
    return exit_code(command.main)


def test_the_command_says_what_to_do_next(by_view, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, by_view, tmp_path / "done", "--labels-from", "folder", "--split", "60,20,20") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: python tools/new.py {tmp_path}/done"
    assert run(monkeypatch, by_view, tmp_path / "done", "--split", "80,20") == 2
    assert "need labels: --labels-from folder or a table" in capsys.readouterr().err


def test_a_list_is_split_by_what_it_says_itself(nested, tmp_path, monkeypatch):
    lines = "".join(f"p{k}/study/Apical_4C_2D/a.avi,4C,{k}\n" for k in range(1, 4))
    (nested / "all.csv").write_text("path,label,patient\n" + lines)
    assert run(monkeypatch, nested / "all.csv", tmp_path / "done", "--split", "1,1,1") == 0
    assert [len(rows(tmp_path / f"done/{name}.csv")) for name in (*SETS, "all")] == [1, 1, 1, 3]


def test_patients_alone_go_into_the_manifest(nested, tmp_path, monkeypatch):
    assert run(monkeypatch, nested, tmp_path / "done", "--patient-from", "folder") == 0
    assert len({row["patient"] for row in rows(tmp_path / "done/manifest.csv")} - {""}) == 3
    assert not (tmp_path / "done/train.csv").exists()
