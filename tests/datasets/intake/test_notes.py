"""What prepare.py warned of is shown again by the check of the lists."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake.notes import count_kinds, read_notes
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.sector.mask import NOT_FOUND
from echoviewclip.tools import check_data
from tests.datasets.intake.hospital import screen, write_dicom
from tests.media import write_video

RATE = "the frame rate is not known; the file says 30"


@pytest.fixture
def folder(source, tmp_path):
    """A prepared folder with lists: a.dcm has no rate; b.avi is dark; of c.avi nothing was noted."""
    write_dicom(source / "a.dcm", screen(7)[0], FrameTime=None)
    write_video(source / "b.avi", np.full((5, 96, 128, 3), 9, np.uint8))
    write_video(source / "c.avi", screen(7)[0])
    prepare(source, tmp_path / "done", Options(96, keep_names=True), 0)
    (tmp_path / "done/train.txt").write_text("a.avi 0\nb.avi 1\n")
    (tmp_path / "done/val.txt").write_text("c.avi 1\n")
    return tmp_path / "done"


def test_each_warning_is_one_whatever_it_holds(folder):
    """The texts hold semicolons themselves."""
    notes = read_notes(read_annotations(folder / "train.txt"))
    assert notes.warnings == [(0, RATE), (1, NOT_FOUND)] and notes.unknown == []
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(RATE, f"{RATE} | one; two"))
    assert read_notes(read_annotations(folder / "train.txt")).warnings[:2] == [(0, RATE), (0, "one; two")]


def test_links_to_prepared_videos_are_followed(folder, tmp_path):
    other = tmp_path / "other/videos"
    other.mkdir(parents=True)
    (other / "linked.avi").symlink_to(folder / "videos/b.avi")
    (tmp_path / "other/l.txt").write_text("linked.avi 1\n")
    listed = read_annotations(tmp_path / "other/l.txt", allow_outside=True)
    assert read_notes(listed).warnings == [(0, NOT_FOUND)]


def test_kinds_are_counted_without_their_numbers():
    texts = ["frame 3 is empty", "frame 12 is empty", NOT_FOUND, "0.5 s", "frame 1 is empty"]
    assert count_kinds(texts) == [("frame N is empty", 3), (NOT_FOUND, 1), ("N s", 1)]


def check(folder, monkeypatch, capsys) -> list[str]:
    """What the command prints."""
    config = folder / "config.yaml"
    (folder / "labels.csv").write_text("id,name\n0,A4C\n1,A2C\n")
    config.write_text(
        f"DATA: {{ROOT: {folder}, TRAIN_FILE: train.txt, VAL_FILE: val.txt, LABEL_LIST: {folder}/labels.csv}}\n"
    )
    monkeypatch.setattr(sys, "argv", ["check_data.py", "-cfg", str(config), "--workers", "1"])
    assert check_data.main() == 0  # what may be wrong with a picture is no fault of the lists
    return capsys.readouterr().out.splitlines()


def test_the_check_lists_the_warnings_and_counts_them_by_kind(folder, monkeypatch, capsys):
    shown = check(folder, monkeypatch, capsys)
    assert f"warning: {folder}/train.txt:1: a.avi: {RATE}" in shown
    assert f"warning: {folder}/train.txt:2: b.avi: {NOT_FOUND}" in shown
    assert [line for line in shown if "prepare.py" in line] == [
        f"training: prepare.py warned of 1 video: {RATE.replace('30', 'N')}",
        f"training: prepare.py warned of 1 video: {NOT_FOUND}",
    ]


@pytest.mark.parametrize(("content", "said"), [(None, "not found"), ("name\na.avi\n", "corrupted")])
def test_the_check_says_where_nothing_is_known(folder, monkeypatch, capsys, content, said):
    (folder / "manifest.csv").unlink()
    if content:
        (folder / "manifest.csv").write_text(content)
    shown = [line for line in check(folder, monkeypatch, capsys) if line.startswith("warning")]
    unknown = "so what prepare.py warned of is not known; run prepare.py again"
    assert shown == [f"warning: {folder}/manifest.csv: {said}, {unknown}"]
