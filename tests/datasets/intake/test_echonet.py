"""The EchoNet data sets as lists: each on a tiny folder of the layout that its authors publish."""

from __future__ import annotations

import pytest

from echoviewclip.utils.errors import UserError
from tests.datasets.intake.layouts import put


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
