"""The data check: every fault with file and line, and what the pixels are."""

from __future__ import annotations

import os
import sys
import tarfile

import numpy as np
import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake.check import check_annotations, histogram, inspect, missing
from echoviewclip.tools import check_data
from echoviewclip.utils.errors import UserError, exit_code
from tests.media import write_video


@pytest.fixture
def make(tmp_path):
    """Makes a list, and an (empty) file for each name that it must have."""

    def make(name: str, text: str, files: str = "", **options):
        for file in files.split():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
        (tmp_path / name).write_text(text)
        return read_annotations(tmp_path / name, tmp_path, **options)

    return make


# ── Lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_good_lists_have_no_faults(make):
    train = make("train.csv", "path,label,patient\na.avi,0,P1\nx/b.avi,1,P1\n", "a.avi x/b.avi")
    val = make("val.csv", "path,label,patient\nc.avi,0,P2\nd.avi,1,\n", "c.avi d.avi")
    assert check_annotations(train, val) == []


def test_every_fault_of_the_lists_is_named(make, tmp_path):
    train = make(
        "train.csv",
        "path,label,patient\na.avi,0,Zoe Doe\nx//b.avi,,Max Roe\n./a.avi,1,Zoe Doe\ngone/c.avi,1,\nx/b.avi,1,Max Roe\n",
        "a.avi x/b.avi d.avi",
    )
    val = make("val.csv", "path,label,patient\nx/b.avi,1,\nd.avi,0,Zoe Doe\n")
    far = make("far.txt", "d.avi\ne.avi\n")
    faults = check_annotations(train, val, [far])
    assert faults == [
        f"{tmp_path}/train.csv:5: {tmp_path}/gone/c.avi does not exist",
        f"{tmp_path}/far.txt:2: {tmp_path}/e.avi does not exist",
        f"{tmp_path}/train.csv:4: ./a.avi is listed twice; first at {tmp_path}/train.csv:2",
        f"{tmp_path}/train.csv:6: x/b.avi is listed twice; first at {tmp_path}/train.csv:3",
        f"{tmp_path}/val.csv:2: x/b.avi is for training and validation; first at {tmp_path}/train.csv:3",
        f"{tmp_path}/far.txt:1: d.avi is in two lists; first at {tmp_path}/val.csv:3",
        f"{tmp_path}/train.csv:3: x//b.avi has no label to train on",
        f"{tmp_path}/val.csv:3: the patient of {tmp_path}/train.csv:2 is for training and validation",
    ]
    assert "Doe" not in str(faults)  # patients are not named


def test_scores_are_something_to_train_on(make):
    assert check_annotations(make("s.txt", "a.avi 0.5\n", "a.avi", target="score")) == []


def test_folders_of_frames_and_absolute_paths_exist_too(make, tmp_path):
    listed = make("l.txt", f"clip 0\nclip/ 1\n{tmp_path}/b.avi 1\ngone/ 1\n", "clip/1.jpg b.avi")
    assert missing(listed) == [3]


def test_archives_are_looked_into(make, tmp_path):
    (tmp_path / "one.avi").touch()
    with tarfile.open(tmp_path / "videos.tar", "w") as archive:
        for name in ("a.avi", "x/b.avi", "clip/1.jpg"):
            archive.add(tmp_path / "one.avi", name)
    listed = make("l.txt", "a.avi 0\nx/b.avi 0\nclip 1\nx/a.avi 1\ncli 1\n")
    assert listed.folder == str(tmp_path / "videos.tar")
    assert [listed.name(i) for i in missing(listed)] == ["x/a.avi", "cli"]
    os.utime(tmp_path / "videos.tar", (0, 0))  # another archive now, for those who remember the first
    (tmp_path / "videos.tar").write_bytes(b"not an archive")
    with pytest.raises(UserError, match=r"videos.tar/a.avi: the archive cannot be read"):
        missing(listed)


def test_histogram_counts_classes_without_videos_and_videos_without_a_class(make):
    listed = make("l.txt", "a.avi 1\nb.avi 1\nc.avi\n")
    assert histogram(listed, ["A4C", "A2C", "A3C"]) == [("A4C", 0), ("A2C", 2), ("A3C", 0), ("without label", 1)]
    several = make("m.csv", 'path,label\na.avi,"0 1"\nb.avi,1\nc.avi,\n', target="multilabel", num_classes=2)
    assert histogram(several, ["A4C", "A2C"]) == [("A4C", 1), ("A2C", 2), ("without label", 1)]


# ── Videos ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def videos(tmp_path):
    """Arrays of known pixels, a video that is damaged in its last frames, one that is none, one that is not there."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 8, 20, 30, 3), np.uint8)
    for name, frames in zip("ab", pixels, strict=True):
        np.save(tmp_path / f"{name}.npy", frames)
    whole = write_video(tmp_path / "whole.avi", np.repeat(pixels[0], 5, axis=0)).read_bytes()
    at = whole.rindex(b"\xff\xd8\xff")
    (tmp_path / "damaged.avi").write_bytes(whole[: at + 4] + b"\0" * 60 + whole[at + 64 :])
    (tmp_path / "none.avi").write_text("no video at all")
    (tmp_path / "l.txt").write_text("a.npy 0\nb.npy 0\ngone.npy 1\nnone.avi 0\ndamaged.avi 1\n")
    return tmp_path, pixels


@pytest.mark.parametrize("workers", [1, 2])
def test_corrupt_videos_are_listed_whatever_the_number_of_workers(videos, workers):
    folder, _ = videos
    found = inspect(read_annotations(folder / "l.txt"), every_frame=True, sample=None, workers=workers, decoder="pyav")
    assert found.videos == 4  # what is not there is not read
    assert [fault.split(": ")[:2] for fault in found.faults] == [
        [f"{folder}/l.txt:4", f"{folder}/none.avi"],
        [f"{folder}/l.txt:5", f"{folder}/damaged.avi"],
    ]


def test_mean_and_deviation_are_those_of_the_pixels(videos):
    folder, pixels = videos
    (folder / "l.txt").write_text("a.npy 0\nb.npy 0\n")
    found = inspect(read_annotations(folder / "l.txt"), every_frame=False, sample=None, workers=1, decoder="pyav")
    looked_at = pixels[:, [1, 3, 5, 7]].reshape(-1, 3) / 255  # four of eight frames, in the middle of their quarters
    np.testing.assert_allclose(found.mean, looked_at.mean(0))
    np.testing.assert_allclose(found.std, looked_at.std(0))


def test_a_sample_is_spread_over_the_list(videos):
    folder, _ = videos
    (folder / "l.txt").write_text("none.avi 0\na.npy 0\nb.npy 0\na.npy 0\nnone.avi 0\n")
    found = inspect(read_annotations(folder / "l.txt"), every_frame=False, sample=2, workers=1, decoder="pyav")
    assert [fault.split(": ")[0] for fault in found.faults] == [f"{folder}/l.txt:1", f"{folder}/l.txt:5"]


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def check(tiny_folder, tmp_path, monkeypatch, capsys):
    """Runs the command on the tiny data; returns exit code, standard output and standard error."""

    def check(*arguments, opts=()):
        config = tmp_path / "config.yaml"
        lists = f"ROOT: {tiny_folder}, TRAIN_FILE: train.txt, VAL_FILE: val.txt, OOD_FILE: 'ood_near.txt, ood_far.txt'"
        config.write_text(f"DATA: {{{lists}, LABEL_LIST: {tiny_folder}/labels.csv, NUM_CLASSES: 4}}\n")
        options = ["--opts", *map(str, opts)] if opts else []
        monkeypatch.setattr(sys, "argv", ["check_data.py", "-cfg", str(config), "--workers", "1", *arguments, *options])
        code = exit_code(check_data.main)
        return code, *capsys.readouterr()

    return check


def test_good_data_passes_and_is_described(check, tiny_folder):
    code, shown, _ = check("--decode")
    lines = shown.splitlines()
    assert code == 0
    assert lines[0] == f"training: {tiny_folder}/train.txt, 9 videos"
    assert lines[2] == f"outsiders: {tiny_folder}/ood_near.txt, 3 videos"
    assert lines[5].split() == ["training", "validation"]
    assert lines[6].split() == ["Apical_4C", "2D", "3", "1"]
    assert lines[-1] == "no faults"
    (statistics,) = [line for line in lines if line.startswith("training: pixels of 9 videos, in [0, 1], R, G, B: ")]
    mean, deviation = (
        [float(number) for number in part.split(", ")]
        for part in statistics.split("mean ")[1].split("; standard deviation ")
    )
    levels = [60 + 45 * (number % 4) for number in range(9)]
    np.testing.assert_allclose(mean, np.mean(levels) / 255, atol=0.03)
    assert all(np.std(levels) / 255 - 0.03 < value < 0.3 for value in deviation)


def test_faults_are_listed_and_counted(check, tiny_folder, tmp_path):
    faulty = tmp_path / "faulty.txt"
    faulty.write_text("clip 0.avi 0\nclip 1.avi 4\nclip 0.avi 1\nnot there.avi 2\nclip 9.avi 2\nno label here\n")
    code, shown, _ = check(opts=["DATA.TRAIN_FILE", faulty])
    assert code == 1
    assert shown.splitlines()[-6:] == [
        f"{faulty}:2: the label 4 is out of range: [0, 4), or -1 for none",
        f"{faulty}:6: expected `path label`, found 'no label here'",
        f"{faulty}:4: {tiny_folder}/videos/not there.avi does not exist",
        f"{faulty}:3: clip 0.avi is listed twice; first at {faulty}:1",
        f"{tiny_folder}/val.txt:1: clip 9.avi is for training and validation; first at {faulty}:5",
        "5 faults",
    ]


def test_a_list_of_nothing_but_faults_is_no_mistake_of_the_command(check, tmp_path):
    faulty = tmp_path / "faulty.txt"
    faulty.write_text("a.avi 77\n")
    code, shown, _ = check(opts=["DATA.TRAIN_FILE", faulty])
    assert (code, shown.splitlines()[-1]) == (1, "1 fault")


def test_grades_are_checked_in_the_quality_stage(check, tiny_folder):
    lists = ["DATA.TRAIN_FILE", "quality_train.txt", "DATA.VAL_FILE", "quality_val.txt", "DATA.OOD_FILE", ""]
    code, shown, _ = check(opts=["STAGE", "quality", "TRAINER.ViFi_CLIP.USE", "quality", *lists])
    assert (code, shown.splitlines()[4].split()) == (0, ["very", "bad", "3", "3"])
    scores = [name.replace("quality_", "score_") for name in lists]
    code, shown, _ = check(
        opts=["STAGE", "quality", "TRAINER.ViFi_CLIP.USE", "quality", "DATA.QUALITY_TARGET", "score", *scores]
    )
    assert (code, shown.splitlines()[-1]) == (0, "no faults")


def test_mistakes_of_the_user_are_told_apart_from_faults(check):
    for arguments, opts, message in (
        ((), ["DATA.TRAIN_FILE", "other.txt"], "no such list of videos: other.txt"),
        ((), ["DATA.TRAIN_FILE", "", "DATA.VAL_FILE", "", "DATA.OOD_FILE", ""], "names no list of videos"),
        ((), ["DATA.NUM_CLASSES", 5], "DATA.NUM_CLASSES is 5"),
        ((), ["DATA.ROOT"], "--opts takes pairs of KEY VALUE; 'DATA.ROOT' stands alone"),
        (("--workers", "0"), [], "--workers must be at least 1, found 0"),
    ):
        code, _, error = check(*arguments, opts=opts)
        assert code == 2
        assert error.splitlines()[-1].startswith("error: ") and message in error


def test_without_decoding_damage_deep_inside_goes_unseen_and_with_it_does_not(check, tiny_folder, tmp_path):
    frames = np.random.default_rng(1).integers(0, 256, (40, 32, 32, 3), np.uint8)
    content = write_video(tmp_path / "a.avi", frames).read_bytes()
    at, end = content.rindex(b"\xff\xd8\xff"), content.rindex(b"idx1")
    (tmp_path / "a.avi").write_bytes(content[:at] + b"\0" * (end - at) + content[end:])
    (tmp_path / "l.txt").write_text("a.avi 0\n")
    opts = ["DATA.ROOT", tmp_path, "DATA.TRAIN_FILE", "l.txt", "DATA.VAL_FILE", "", "DATA.OOD_FILE", ""]
    assert check(opts=opts)[0] == 0
    code, shown, _ = check("--decode", opts=opts)
    assert code == 1
    assert shown.splitlines()[-2].startswith(f"{tmp_path}/l.txt:1: {tmp_path}/a.avi: ")
