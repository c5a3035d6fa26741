"""Whatever is named to predict.py is answered or is one line: files, folders, DICOM objects, mistakes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pydicom
import pytest
import torch
from PIL import Image
from pydicom.data import get_testdata_file

from echoviewclip.datasets.intake.asked import find_videos
from echoviewclip.predict import main
from echoviewclip.utils.errors import exit_code
from tests.inference.predicted import GRADES, assert_same, column, read
from tests.tiny_data import VIEWS

DICOM = ("examples_ybr_color.dcm", "examples_rgb_color.dcm", "examples_palette.dcm", "examples_jpeg2k.dcm")
FRAMES = {"examples_ybr_color.dcm": 30}  # the others have one


def test_shipped_dicom_examples_are_answered(runs, elsewhere):
    paths = [get_testdata_file(name) for name in DICOM]
    assert main([*paths, "--resume", str(runs / "quality" / "last.pth")]) == 0
    for name, answer in zip(DICOM, read(), strict=True):
        assert answer["file"].endswith(name) and answer["error"] is None
        assert answer["view"] in VIEWS and answer["quality"] in GRADES and 0 < answer["quality_score"] < 1
        assert 0 <= answer["frame"] < FRAMES.get(name, 1)


def test_a_dicom_patient_is_never_named(runs, elsewhere, capsys):
    cine = pydicom.dcmread(get_testdata_file("examples_ybr_color.dcm"))
    cine.PatientName, cine.PatientID = "Doe^Jane", "4711-0815"
    cine.save_as("a.dcm")
    Path("cut.dcm").write_bytes(Path("a.dcm").read_bytes()[: Path("a.dcm").stat().st_size // 2])
    assert main(["a.dcm", "cut.dcm", "--resume", str(runs / "view" / "last.pth")]) == 1
    written = "".join(file.read_text(encoding="utf-8") for file in Path("output/predict").iterdir())
    for text in (written, *capsys.readouterr()):
        assert "Doe" not in text and "4711" not in text


def test_an_unreadable_file_has_an_error_and_the_others_an_answer(runs, elsewhere, capsys):
    Path("empty.mp4").touch()
    videos = sorted(map(str, (runs / "data" / "videos").iterdir()))[:3]
    resume = ["--resume", str(runs / "quality" / "last.pth")]
    assert main([videos[0], "empty.mp4", *videos[1:], *resume]) == 1
    answers = read()
    assert column(answers, "file") == [videos[0], "empty.mp4", *videos[1:]]
    broken = answers.pop(1)
    assert broken == dict.fromkeys(broken) | {"file": "empty.mp4", "error": "is empty", "tau": broken["tau"]} | (
        {"score_name": "relative_mahalanobis"}
    )
    assert all(answer["error"] is None and answer["view"] for answer in answers)
    said = capsys.readouterr().out
    assert re.search(r"^empty\.mp4 +is empty$", said, re.MULTILINE)
    assert said.endswith(
        "4 videos, 1 without an answer: output/predict/predictions.csv, output/predict/predictions.jsonl\n"
    )
    main([*videos, *resume, "--output", "without"])
    for one, other in zip(answers, read("without"), strict=True):
        assert_same(one, other)


def test_nothing_but_unreadable_files(runs, elsewhere):
    Path("empty.mp4").touch()
    assert main(["empty.mp4", "--resume", str(runs / "view" / "last.pth")]) == 1
    (answer,) = read()
    assert answer["error"] == "is empty" and answer["view"] is None and answer["frame"] is None


def test_many_videos_are_answered_in_one_parquet_file(runs, elsewhere, capsys):
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    videos = sorted(map(str, (runs / "data" / "videos").iterdir()))[:3]
    command = [*videos, "--resume", str(runs / "quality" / "last.pth"), "--workers", "0"]
    assert main(command) == main([*command, "--output", "large", "--parquet-above", "2"]) == 0
    assert [file.name for file in Path("large").iterdir()] == ["predictions.parquet"]
    rows = arrow.parquet.read_table("large/predictions.parquet").to_pylist()
    for one, other in zip(rows, read(), strict=True):
        assert_same(one, other)
    assert capsys.readouterr().out.endswith("3 videos, 0 without an answer: large/predictions.parquet\n")


def test_a_folder_is_searched(elsewhere):
    for name in ("b.avi", "a/c.MP4", "a/still.png", "a/notes.txt", "frames/1.png", "frames/2.png", "frames/deep/x.dcm"):
        Path("study", name).parent.mkdir(parents=True, exist_ok=True)
        Path("study", name).touch()
    Path("study/IM0001").write_bytes(bytes(128) + b"DICM")
    Path("study/README").write_text("not a video")
    everything = ["IM0001", "a/c.MP4", "a/still.png", "b.avi", "frames", "frames/deep/x.dcm"]
    assert find_videos(["study"]) == [f"study/{name}" for name in everything]
    assert find_videos(["study/b.avi", "study/a", "study/frames", "study/b.avi"]) == [
        f"study/{name}" for name in ("b.avi", "a/c.MP4", "a/still.png", "frames", "frames/deep/x.dcm")
    ]


def test_a_folder_of_frames_and_a_still_image_are_videos(runs, elsewhere):
    Path("frames").mkdir()
    for number in range(12):
        Image.new("RGB", (64, 48), (20 * number,) * 3).save(f"frames/{number}.png")
    shutil.copy("frames/5.png", "still.png")
    assert main(["frames", "still.png", "--resume", str(runs / "view" / "last.pth")]) == 0
    frames, still = read()
    assert frames["frame"] in (3, 9)  # the middles of the two halves, which a clip of 2 frames samples
    assert still["frame"] == 0


def test_a_file_name_may_hold_anything(runs, elsewhere, capsys):
    names = [os.fsdecode(b"caf\xe9.avi"), 'a\nb\x1b[31m,"c".avi', "心 尖.avi"]
    for name in names:
        shutil.copy(runs / "data" / "videos" / "clip 9.avi", name)
    main([*names, "--resume", str(runs / "view" / "last.pth")])
    lines = Path("output/predict/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["file"] for line in lines] == names
    with open("output/predict/predictions.csv", newline="", encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["caf\\udce9.avi", *names[1:]]
    said = capsys.readouterr().out
    assert "caf�.avi" in said and "a�b�[31m" in said and "\x1b" not in said


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--resume", "CKPT"], "no videos named; give files or folders (PATH), before --opts"),
        (["a.avi", "--resume", "none.pth"], "none.pth: no such checkpoint (--resume, MODEL.RESUME)"),
        (["none.avi", "--resume", "CKPT"], "none.avi: no such file or folder (PATH)"),
        (["void", "--resume", "CKPT"], "void: holds no videos, DICOM or images (PATH)"),
        (["a.avi", "--resume", "CKPT", "--opts", "SEED"], "--opts takes pairs of KEY VALUE; 'SEED' stands alone"),
        (["a.avi", "--resume", "CKPT", "--batch-size", "0"], "TRAIN.BATCH_SIZE must be at least 1; found 0"),
        (
            ["a.avi", "--resume", "CKPT", "-cfg", "x.yaml"],
            "CKPT: carries its own configuration; leave out -cfg x.yaml, change settings with --opts",
        ),
        (
            ["a.avi", "--resume", "CKPT", "--opts", "STAGE", "negation"],
            "CKPT: has no negative branch, which STAGE negation needs; set STAGE to the one it was trained for",
        ),
        (
            ["a.avi", "--resume", "published.pth"],
            "published.pth: carries no configuration, as checkpoints of the published code do not; "
            "name the yaml file of its stage: -cfg FILE (configs/released/)",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(runs, elsewhere, capsys, arguments, message):
    Path("a.avi").touch()
    Path("void").mkdir()
    torch.save({"model": {"module.image_encoder.proj": torch.zeros(1)}}, "published.pth")
    ckpt = str(runs / "view" / "last.pth")
    given = [ckpt if argument == "CKPT" else argument for argument in arguments]
    assert exit_code(lambda: main(given)) == 2
    said = capsys.readouterr()
    assert said.err == f"error: {message}\n".replace("CKPT", ckpt) and said.out == ""
    assert not Path("output").exists()
