"""Public data sets as lists: each on a tiny folder of the layout that its authors publish."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from echoviewclip.datasets.intake.adapters import camus, echonet, ev9v, tmed2
from echoviewclip.datasets.intake.adapters.tables import SPLITS, split_of
from echoviewclip.tools import adapt
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.label_list import read_names
from tests.datasets.intake.layouts import put

ROOT = Path(__file__).parents[3]


# ── TMED-2, EV9V, MIMIC-IV-Echo ───────────────────────────────────────────────────────────────────────────────────────


def test_tmed2_finds_stills_in_their_folders_and_the_authors_split(source, lists, tmp_path):
    put(
        source / "labels_per_image.csv",
        "query_key,view_label,diagnosis_label\n12s1_0.png,PLAX,severe_AS\n12s1_1.png,A4CorA2CorOther,severe_AS\n"
        "7s2_5.png,A2C,Not_Provided\n",
    )
    put(
        source / "DEV479/TMED2_fold0_labeledpart.csv",
        "query_key,view_label,view_classifier_split\n12s1_0.png,PLAX,test\n12s1_1.png,A4CorA2CorOther,test\n"
        "7s2_5.png,A2C,val\n",
    )
    for file in (
        "view_and_diagnosis_labeled_set/labeled/12s1_0.png",
        "view_and_diagnosis_labeled_set/labeled/12s1_1.png",
        "view_labeled_set/labeled/7s2_5.png",
    ):
        put(source / file)
    folder = "view_and_diagnosis_labeled_set/labeled"
    assert lists("tmed-2", "test") == [(f"{folder}/12s1_0.png", 0, "12"), (f"{folder}/12s1_1.png", 4, "12")]
    assert lists("tmed-2", "val") == [("view_labeled_set/labeled/7s2_5.png", 3, "7")]
    assert ",test,severe_AS\n" in (tmp_path / "lists/annotations.csv").read_text().replace("\r", "")


def test_without_a_split_patients_are_never_divided(source, lists):
    images = [f"{patient}s1_{image}.png" for patient in range(60) for image in range(3)]
    put(source / "labels_per_image.csv", "query_key,view_label\n" + "".join(f"{image},PSAX\n" for image in images))
    for image in images:
        put(source / "stills" / image)
    patients = [{patient for _, _, patient in lists("tmed-2", split)} for split in SPLITS]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 60
    assert len(patients[0]) > 40 > min(map(len, patients)) > 0


def test_split_by_patient_is_the_same_everywhere_and_of_the_right_sizes():
    counts = [sum(split_of(f"p{i}") == split for i in range(5000)) / 5000 for split in SPLITS]
    np.testing.assert_allclose(counts, [0.8, 0.1, 0.1], atol=0.02)
    assert [split_of(patient) for patient in ("10002221", "patient0001", "5")] == ["train", "val", "test"]


def test_ev9v_lists_with_codes_and_clips_as_files_or_frames(source, lists):
    put(source / "train.txt", "2022-07-27_320x240_2 PMPALA\n\n2022-05-02_320x240_4 SC4C\n")
    put(source / "validation.txt", "2022-04-28_320x240_8 PLHLA\n")
    put(source / "Images/2022-07-27_320x240_2/frame_000001.jpg")
    put(source / "videos/2022-05-02_320x240_4.mp4")
    put(source / "2022-04-28_320x240_8.avi")
    assert lists("ev9v", "train") == [
        ("Images/2022-07-27_320x240_2", 6, ""),
        ("videos/2022-05-02_320x240_4.mp4", 8, ""),
    ]
    assert lists("ev9v", "val") == [("2022-04-28_320x240_8.avi", 0, "")]


def test_ev9v_lists_without_codes_take_them_from_the_table(source, lists):
    put(source / "test.txt", "a\nb\n")
    put(source / "labels.csv", "names,labels\na,A4C\nb,A5C\n")
    for name in "ab":
        put(source / "Images" / name / "frame_000001.jpg")
    assert lists("ev9v", "test") == [("Images/a", 4, ""), ("Images/b", 5, "")]
    put(source / "test.txt", "a\nc\n")
    with pytest.raises(UserError, match=r"test.txt:2: the view is '', expected one of PLHLA, PMASA, PMVLSA"):
        lists("ev9v")


def test_mimic_gives_patients_and_no_labels(source, lists):
    put(
        source / "echo-record-list.csv",
        "subject_id,study_id,acquisition_datetime,dicom_filepath\n"
        "10002221,94106955,2170-01-01 10:00:00,files/p10/p10002221/s94106955/94106955_0001.dcm\n"
        "10002221,94106955,2170-01-01 10:00:00,mimic-iv-echo/0.1/files/p10/p10002221/s94106955/94106955_0002.dcm\n",
    )
    folder = "files/p10/p10002221/s94106955"
    for number in (1, 2):
        put(source / folder / f"94106955_000{number}.dcm")
    assert lists("mimic-iv-echo", "train") == [
        (f"{folder}/94106955_0001.dcm", -1, "10002221"),
        (f"{folder}/94106955_0002.dcm", -1, "10002221"),
    ]


# ── All of them ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_numbers_stand_for_the_views_of_the_label_lists():
    views = read_names(ROOT / "labels/ultracls.csv", 38, "")
    assert [views[k] for k in (echonet.APICAL_4C, echonet.PARASTERNAL_LONG_AXIS)] == [
        "Apical 4C 2D",
        "Parasternal Long Axis 2D",
    ]
    assert [views[k] for k in (camus.VIEWS["4CH"], camus.VIEWS["2CH"])] == ["Apical 4C 2D", "Apical 2C 2D"]
    assert read_names(ROOT / "labels/quality.csv", 3, "")[camus.GRADES["Good"]] == "good"
    for file, codes in (("ev9v", ev9v.VIEWS), ("tmed2", tmed2.VIEWS), ("echonet_pediatric", echonet.PEDIATRIC_VIEWS)):
        names = read_names(ROOT / f"labels/{file}.csv", len(codes), "")
        for code, name in zip(codes, names, strict=True):
            assert ("Apical 4C" in name) == (code == "A4C")
            assert ("Short Axis" in name) == (code.endswith("SA") or code == "PSAX")


def test_a_table_with_another_header_or_a_short_row_is_named(source, lists):
    put(source / "FileList.csv", "FileName,Split\na,TRAIN\n")
    with pytest.raises(UserError, match=r"FileList.csv:1: the header lacks EF, ESV, EDV; it is 'FileName,Split'"):
        lists("echonet-dynamic")
    put(source / "FileList.csv", "FileName,EF,ESV,EDV,Split\na,1,2,3,TRAIN\nb,1,2\n")
    with pytest.raises(UserError, match=r"FileList.csv:3: not as many cells as the header has \(5\)"):
        lists("echonet-dynamic")
    put(source / "FileList.csv", "FileName,EF,ESV,EDV,Split\na,1,2,3,dev\n")
    with pytest.raises(UserError, match=r"FileList.csv:2: Split is 'dev', expected one of TRAIN, VAL, TEST"):
        lists("echonet-dynamic")


def test_the_command_leaves_out_what_is_absent_and_says_how_to_train(source, tmp_path, monkeypatch, capsys):
    put(source / "FileList.csv", "FileName,EF,ESV,EDV,Split\na,1,2,3,TRAIN\nb,1,2,3,TRAIN\n")
    put(source / "Videos/a.avi")
    monkeypatch.setattr(sys, "argv", ["adapt.py", "echonet-dynamic", str(source), str(tmp_path / "lists")])
    assert exit_code(adapt.main) == 1
    shown = capsys.readouterr()
    assert shown.err == f"{source}/FileList.csv:3: {source}/Videos/b.avi does not exist\n"
    assert shown.out.splitlines() == [
        "1 videos (1 train, 0 val, 0 test), 1 are not there",
        f"--opts DATA.ROOT {source} DATA.TRAIN_FILE {tmp_path}/lists/train.csv "
        "DATA.LABEL_LIST labels/ultracls.csv DATA.NUM_CLASSES 38",
    ]
    (source / "Videos/a.avi").unlink()
    assert exit_code(adapt.main) == 2
    assert capsys.readouterr().err == f"error: {source}: none of the 2 videos that its tables name is there\n"
