"""Public data sets as lists: each on a tiny folder of the layout that its authors publish."""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake import adapters
from echoviewclip.datasets.intake.adapters import camus, echonet, ev9v, tmed2
from echoviewclip.datasets.intake.adapters.nifti import DATATYPES, NiftiError, read_nifti
from echoviewclip.datasets.intake.adapters.tables import SPLITS, split_of
from echoviewclip.datasets.intake.check import check_annotations
from echoviewclip.datasets.video.open import open_video
from echoviewclip.tools import adapt
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.label_list import read_names

ROOT = Path(__file__).parents[3]


@pytest.fixture
def source(tmp_path):
    return tmp_path / "source"


@pytest.fixture
def lists(source, tmp_path):
    """Runs an adapter; returns what a list of it says, video by video."""

    def run(name, table="annotations", target="class"):
        done = adapters.adapt(name, source, tmp_path / "lists")
        assert done.absent == []
        listed = read_annotations(tmp_path / "lists" / f"{table}.csv", done.root, target=target)
        assert check_annotations(listed) == [] or not adapters.ADAPTERS[name].labels
        return [(listed.name(i), int(listed.labels[i]), listed.patient(i)) for i in range(len(listed))]

    return run


def put(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def nifti(voxels: np.ndarray, spacing=(1, 1, 1), order="<", slope=0.0, intercept=0.0) -> bytes:
    """A NIfTI-1 file written by its specification."""
    code = {kind: code for code, kind in DATATYPES.items()}[voxels.dtype.str[1:]]
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, voxels.ndim, *voxels.shape, *[1] * (7 - voxels.ndim))
    struct.pack_into(order + "2h", header, 70, code, 8 * voxels.itemsize)
    struct.pack_into(order + f"{1 + len(spacing)}f", header, 76, 1, *spacing)
    struct.pack_into(order + "3f", header, 108, 352, slope, intercept)
    header[344:348] = b"n+1\0"
    return bytes(header) + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes(order="F")


# ── EchoNet ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_echonet_dynamic_with_and_without_suffix(source, lists):
    put(
        source / "FileList.csv",
        "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split\n"
        "0X1A,78.5,14.9,69.2,112,112,50,174,VAL\n0X1B.avi,59.1,40.4,98.7,112,112,50,215,TRAIN\n",
    )
    for name in ("0X1A", "0X1B"):
        put(source / "Videos" / f"{name}.avi")
    assert lists("echonet-dynamic") == [("Videos/0X1A.avi", 0, ""), ("Videos/0X1B.avi", 0, "")]
    assert lists("echonet-dynamic", "val") == [("Videos/0X1A.avi", 0, "")]
    assert lists("echonet-dynamic", "train") == [("Videos/0X1B.avi", 0, "")]


def test_the_lists_keep_what_else_the_set_knows(source, lists, tmp_path):
    put(source / "FileList.csv", "FileName,EF,ESV,EDV,Split\n0X1A,78.5,14.9,69.2,TEST\n")
    put(source / "Videos/0X1A.avi")
    lists("echonet-dynamic")
    assert (tmp_path / "lists/annotations.csv").read_text().split() == [
        "path,label,patient,quality,score,split,edv,ef,esv",
        "Videos/0X1A.avi,0,,,,test,69.2,78.5,14.9",
    ]
    assert not (tmp_path / "lists/train.csv").exists()


def test_echonet_pediatric_keeps_a_fold_each_for_validation_and_test(source, lists):
    for view in ("A4C", "PSAX"):
        rows = [f"{view}{fold}.avi,60.1,F,3,14.5,100,{fold}" for fold in range(10)]
        put(source / view / "FileList.csv", "\n".join(["FileName,EF,Sex,Age,Weight,Height,Split", *rows, ""]))
        for fold in range(10):
            put(source / view / "Videos" / f"{view}{fold}.avi")
    assert len(lists("echonet-pediatric", "train")) == 16
    assert lists("echonet-pediatric", "val") == [("A4C/Videos/A4C8.avi", 0, ""), ("PSAX/Videos/PSAX8.avi", 1, "")]
    assert lists("echonet-pediatric", "test") == [("A4C/Videos/A4C9.avi", 0, ""), ("PSAX/Videos/PSAX9.avi", 1, "")]


def test_echonet_lvh_finds_the_batch_and_joins_measurements(source, lists, tmp_path):
    put(
        source / "MeasurementsList.csv",
        ",HashedFileName,Calc,CalcValue,Frame,X1,X2,Y1,Y2,Frames,FPS,Width,Height,split\n"
        "0,0XAA,IVSd,1.1,3,1,2,3,4,90,50,1024,768,train\n1,0XAA,LVIDd,4.2,3,1,2,3,4,90,50,1024,768,train\n"
        "2,0XAA,IVSd,9.9,9,1,2,3,4,90,50,1024,768,train\n3,0XBB,LVPWd,0.9,7,1,2,3,4,80,50,1024,768,val\n",
    )
    put(source / "Batch2/0XAA.avi")
    put(source / "Batch4/0XBB.avi")
    assert lists("echonet-lvh") == [("Batch2/0XAA.avi", 8, ""), ("Batch4/0XBB.avi", 8, "")]
    header, first, second = (tmp_path / "lists/annotations.csv").read_text().split()
    assert (header, first) == (
        "path,label,patient,quality,score,split,ivsd,lvidd,lvpwd",
        "Batch2/0XAA.avi,8,,,,train,1.1,4.2,",
    )
    assert second.endswith(",,,0.9")


def test_a_video_in_two_splits_is_an_error(source, lists):
    put(source / "MeasurementsList.csv", "HashedFileName,Calc,CalcValue,split\nA,IVSd,1,train\nA,LVIDd,4,test\n")
    with pytest.raises(UserError, match=r"MeasurementsList.csv:3: A.avi is in split test, but at .*:2 in train"):
        lists("echonet-lvh")


# ── CAMUS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def put_camus(source: Path, patients: int = 2, shape=(60, 50, 5), spacing=(0.2, 0.4, 1.0)) -> np.ndarray:
    """Sequences whose frames are brighter at the top (y = 0) and at the right (large x), and ever brighter."""
    x, y, t = np.ogrid[: shape[0], : shape[1], : shape[2]]
    voxels = (100 + 80 * (x / shape[0] - y / shape[1]) + 10 * t).astype(np.uint8)
    for patient in range(1, patients + 1):
        folder = source / "database_nifti" / f"patient{patient:04d}"
        for view, grade in (("2CH", "Poor"), ("4CH", "Good")):
            put(
                folder / f"Info_{view}.cfg",
                f"ED: 1\nES: 5\nNbFrame: 5\nImageQuality: {grade}\nEF: 56\nFrameRate: 51.3\n",
            )
            file = folder / f"patient{patient:04d}_{view}_half_sequence.nii.gz"
            file.write_bytes(gzip.compress(nifti(voxels, spacing)))
    return voxels


def test_camus_gives_views_grades_patients_and_the_authors_splits(source, lists, tmp_path):
    put_camus(source)
    put(source / "database_split/subgroup_training.txt", "patient0002\n")
    put(source / "database_split/subgroup_testing.txt", "patient0001\n")
    assert lists("camus", "train") == [
        ("videos/patient0002_2CH.avi", 1, "patient0002"),
        ("videos/patient0002_4CH.avi", 0, "patient0002"),
    ]
    assert [label for _, label, _ in lists("camus", "test", target="quality")] == [0, 2]
    assert "ef" in (tmp_path / "lists/annotations.csv").read_text().splitlines()[0]


def test_camus_sequences_become_upright_videos_with_square_pixels(source, lists, tmp_path):
    voxels = put_camus(source, patients=1)
    lists("camus")
    with open_video(tmp_path / "lists/videos/patient0001_2CH.avi") as video:
        assert (len(video), video.height, video.width) == (5, 100, 60)  # 50 · 0.4 by 60 · 0.2, in units of 0.2
        assert video.fps == pytest.approx(51.3, rel=1e-3)
        frames = video.frames(range(5)).float().mean(1)
    np.testing.assert_allclose(frames.mean((1, 2)), voxels.mean((0, 1)), atol=2)
    assert frames[0, :20].mean() - frames[0, -20:].mean() > 50  # bright at the top
    assert frames[0, :, -10:].mean() - frames[0, :, :10].mean() > 50  # and at the right


def test_large_sequences_come_out_at_the_prepared_size(source, lists, tmp_path):
    put_camus(source, patients=1, shape=(549, 778, 2), spacing=(0.308, 0.154, 1.0))
    lists("camus")
    with open_video(tmp_path / "lists/videos/patient0001_4CH.avi") as video:
        assert (video.height, video.width) == (256, 361)


def test_a_second_run_converts_only_what_is_missing(source, lists, tmp_path):
    put_camus(source, patients=1)
    lists("camus")
    videos = sorted((tmp_path / "lists/videos").iterdir())
    content = videos[0].read_bytes()
    videos[0].unlink()
    videos[1].write_bytes(b"not touched")
    lists("camus")
    assert (videos[0].read_bytes(), videos[1].read_bytes()) == (content, b"not touched")


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ("ImageQuality: Great\n", "Info_2CH.cfg:1: ImageQuality is 'Great', expected one of Poor, Medium, Good"),
        ("ED: 1\nImageQuality: Good\nFrameRate: fast\n", "Info_2CH.cfg:3: FrameRate is 'fast', expected frames per"),
        ("ED: 1\n", "Info_2CH.cfg: ImageQuality is '', expected one of"),
    ],
)
def test_a_faulty_description_is_named(source, lists, cfg, message):
    put_camus(source, patients=1)
    put(source / "database_nifti/patient0001/Info_2CH.cfg", cfg)
    with pytest.raises(UserError, match=message):
        lists("camus")


def test_a_sequence_that_is_no_picture_is_named(source, lists):
    put_camus(source, patients=1)
    file = source / "database_nifti/patient0001/patient0001_2CH_half_sequence.nii.gz"
    file.write_bytes(gzip.compress(nifti(np.full((4, 4, 2), 300, np.int16))))
    with pytest.raises(UserError, match=r"2CH_half_sequence.nii.gz: expected grey levels in \[0, 255\]"):
        lists("camus")
    file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(UserError, match=r"2CH_half_sequence.nii.gz: not a NIfTI-1 volume"):
        lists("camus")


# ── NIfTI ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    kind=st.sampled_from(sorted(DATATYPES.values())),
    order=st.sampled_from("<>"),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    packed=st.booleans(),
)
def test_nifti_of_every_type_and_byte_order(tmp_path_factory, kind, order, shape, packed):
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    file = tmp_path_factory.mktemp("nifti") / ("a.nii.gz" if packed else "a.nii")
    spacing = [0.5 + axis for axis in range(len(shape))]
    content = nifti(voxels, spacing, order)
    file.write_bytes(gzip.compress(content) if packed else content)
    read, sizes = read_nifti(file)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, voxels)
    assert sizes == pytest.approx(spacing)


def test_nifti_scales_as_its_header_says(tmp_path):
    (tmp_path / "a.nii").write_bytes(nifti(np.array([[1, 2]], np.int16), (1, 1), slope=2.0, intercept=-1.0))
    assert read_nifti(tmp_path / "a.nii")[0].tolist() == [[1, 3]]


@given(cut=st.integers(0, 399), at=st.integers(0, 351), value=st.integers(0, 255))
def test_damaged_nifti_is_an_error_that_names_the_file_or_a_volume(tmp_path_factory, cut, at, value):
    content = bytearray(nifti(np.zeros((4, 4, 3), np.uint8)))
    content[at] = value
    file = tmp_path_factory.mktemp("nifti") / "a.nii"
    for part in (content, content[:cut]):
        file.write_bytes(part)
        try:
            assert read_nifti(file)[0].nbytes <= 4 * len(content)
        except NiftiError as error:
            assert str(error).startswith(f"{file}: ")


def test_nifti_that_declares_more_than_there_can_be_takes_no_memory(tmp_path):
    content = bytearray(nifti(np.zeros((1, 1, 1), np.uint8)))
    struct.pack_into("<8h", content, 40, 3, 30000, 30000, 3000, 1, 1, 1, 1)
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(NiftiError, match=r"it declares \[30000, 30000, 3000\] voxels"):
        read_nifti(tmp_path / "a.nii")


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
