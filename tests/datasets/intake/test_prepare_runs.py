"""Preparing hospital files: what a killed run leaves to do, bad files, lists of videos."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake import prepare as module
from echoviewclip.datasets.intake.check import check_annotations, inspect
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.tools import prepare as command
from echoviewclip.utils.errors import UserError, exit_code
from tests.datasets.intake.hospital import content, manifest, pixels, screen, write_dicom, write_without_image
from tests.datasets.intake.killed_prepare import prepare_until_killed
from tests.media import numbered_frames, write_video

TORN = '{"source": "3.mp4", "na'  # the last line of a journal, of which the end was not written


@pytest.mark.parametrize(("after", "workers"), [(0, 0), (3, 0), (6, 2)])
def test_a_killed_run_goes_on_and_ends_with_the_same_files(seven, run, tmp_path, monkeypatch, after, workers):
    whole, _ = run(to="whole")
    prepare_until_killed(seven, tmp_path / "killed", after, Options(keep_names=True), torn=TORN)
    assert not (tmp_path / "killed/manifest.csv").exists()
    converted = []
    if workers == 0:
        convert = module.convert
        monkeypatch.setattr(module, "convert", lambda *job: converted.append(job[1]) or convert(*job))
    killed, _ = run(to="killed", workers=workers)
    assert content(killed) == content(whole)
    assert converted == [] or converted == [f"{number}.mp4" for number in range(after, 7)]


def test_the_number_of_workers_changes_nothing(seven, run):
    assert content(run(workers=0, to="none")[0]) == content(run(workers=2, to="two")[0])


def test_a_finished_run_does_nothing_but_what_was_deleted(seven, run, tmp_path, monkeypatch):
    folder, _ = run()
    before = content(folder)
    (folder / "videos/5.avi").unlink()
    convert, converted = module.convert, []
    monkeypatch.setattr(module, "convert", lambda *job: converted.append(job[1]) or convert(*job))
    run()
    run()
    assert converted == ["5.mp4"]
    assert content(folder) == before
    assert len((tmp_path / "done-private/names.csv").read_text().splitlines()) == 8


def test_a_folder_belongs_to_one_source_and_one_set_of_options(seven, run, tmp_path):
    run()
    (tmp_path / "other").mkdir()
    write_video(tmp_path / "other/a.mp4", numbered_frames(3), codec="libx264")
    for changes in ({"size": 128}, {"stills": True}, {"of": tmp_path / "other"}):
        with pytest.raises(UserError, match=r"settings.json: an earlier run had another source or other options"):
            run(**changes)


def test_a_bad_file_is_reported_skipped_and_tried_again(seven, tmp_path, monkeypatch, capsys):
    good = (seven / "2.mp4").read_bytes()
    (seven / "2.mp4").write_bytes(good[: len(good) // 2])
    (seven / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 50)
    (seven / "empty.avi").touch()
    monkeypatch.setattr(
        sys, "argv", ["prepare.py", str(seven), str(tmp_path / "done"), "--keep-names", "--workers", "1"]
    )
    assert exit_code(command.main) == 1
    shown = capsys.readouterr()
    faults = [line for line in shown.err.splitlines() if line.startswith(str(seven))]
    assert [line.split(": ")[0] for line in faults] == [f"{seven}/{name}" for name in ("2.mp4", "bad.dcm", "empty.avi")]
    summary = shown.out.splitlines()[0]
    assert summary == "9 files: 6 videos prepared, 0 left out, 3 unreadable"
    assert len(manifest(tmp_path / "done")) == 6
    (seven / "2.mp4").write_bytes(good)
    (seven / "bad.dcm").unlink()
    (seven / "empty.avi").unlink()
    assert exit_code(command.main) == 0
    assert len(manifest(tmp_path / "done")) == 7


def test_mistakes_of_the_user(tmp_path, monkeypatch, capsys):
    (tmp_path / "nothing").mkdir()
    for source, options, message in (
        (tmp_path / "gone", [], "gone: no such folder or list of videos (SRC)"),
        (tmp_path / "nothing", [], "nothing: holds no DICOM or video files (SRC)"),
        (tmp_path / "nothing", ["--size", "8"], "--size must be at least 16, found 8"),
    ):
        monkeypatch.setattr(sys, "argv", ["prepare.py", str(source), str(tmp_path / "done"), *options])
        assert exit_code(command.main) == 2
        assert message in capsys.readouterr().err


def test_stills_are_kept_only_on_demand(source, run):
    write_dicom(source / "still.dcm", screen(1)[0])
    write_video(source / "one.avi", numbered_frames(1))
    write_video(source / "two.avi", numbered_frames(2))
    assert [row["name"] for row in run()[1]] == ["two.avi"]
    folder, rows = run(stills=True, to="all")
    assert [row["name"] for row in rows] == ["one.avi", "still.avi", "two.avi"]
    assert len(pixels(folder / "videos/still.avi")) == 1


def test_files_are_found_by_content_where_their_names_say_nothing(source, run):
    write_dicom(source / "IM_0001", screen()[0])
    write_dicom(source / "1.2.840.113619", screen()[0])
    write_without_image(source / "DICOMDIR", "MediaStorageDirectoryStorage")
    (source / "notes").write_text("not a video")
    (source / "readme.txt").write_text("not a video")
    (source / "link").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    assert {row["source"] for row in run()[1]} == {"IM_0001", "1.2.840.113619"}


def test_names_that_are_not_utf8_and_a_destination_inside_the_source(source, tmp_path):
    write_video(source / "a.mp4", numbered_frames(3), codec="libx264")
    os.rename(os.fsencode(source) + b"/a.mp4", os.fsencode(source) + b'/\xdcbersicht, "1".mp4')
    for _ in range(2):
        (record,) = prepare(source, source / "done", Options(), 0)
        assert record.fault == ""
        assert os.fsencode(record.source) == b'\xdcbersicht, "1".mp4'
    assert len(manifest(source / "done")) == 1


# ── What leads back to the patients ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def everyone_may_read():
    """What a process makes is open to all unless it says otherwise."""
    umask = os.umask(0)
    yield
    os.umask(umask)


def modes(folder: Path) -> dict[str, int]:
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    return {".": stat.S_IMODE(folder.stat().st_mode)} | found


PRIVATE = {".": 0o700, "done.jsonl": 0o600, "names.csv": 0o600, "salt": 0o600, "settings.json": 0o600}


def test_the_private_folder_is_made_for_its_owner_alone(seven, run, tmp_path, monkeypatch, everyone_may_read):
    monkeypatch.setattr(Path, "chmod", lambda *_: None)  # they are made so, not changed to it
    run()
    assert modes(tmp_path / "done-private") == PRIVATE
    assert modes(tmp_path / "done")["manifest.csv"] == 0o666


def test_a_private_folder_of_an_earlier_run_is_closed(seven, run, tmp_path):
    run()
    for path in (tmp_path / "done-private", *(tmp_path / "done-private").iterdir()):
        path.chmod(0o777)
    (tmp_path / "done-private/.names.half.csv").write_text("left behind")
    run()
    assert modes(tmp_path / "done-private") == PRIVATE | {".names.half.csv": 0o600}


def test_a_salt_that_is_gone_is_not_made_again(seven, run, tmp_path):
    run()
    (tmp_path / "done-private/salt").unlink()
    with pytest.raises(UserError, match="done-private/salt is gone, and with it the names of the videos"):
        run()


def test_a_torn_journal_is_read_as_far_as_it_goes(seven, run, tmp_path):
    run()
    before = content(tmp_path / "done")
    lines = (tmp_path / "done-private/done.jsonl").read_bytes().splitlines()
    torn = [lines[1], b'{"source": "\xff\xfe', b"[" * 200_000, b"9" * 5001, b"[]", b"{}", b"\0\0", lines[2][:20]]
    (tmp_path / "done-private/done.jsonl").write_bytes(b"\n".join(torn))
    run()
    assert content(tmp_path / "done") == before


# ── Lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_list_is_prepared_and_comes_out_with_the_new_names(seven, tmp_path):
    (seven / "train.txt").write_text("0.mp4 3\n1.mp4 0\n0.mp4 3\n2.mp4\ngone.mp4 1\n")
    records = prepare(seven / "train.txt", tmp_path / "done", Options(), 0)
    assert [record.source for record in records if record.fault] == ["gone.mp4"]
    names = {record.source: record.name for record in records}
    listed = read_annotations(tmp_path / "done/train.txt")
    assert [listed.name(i) for i in range(4)] == [names[f"{number}.mp4"] for number in (0, 1, 0, 2)]
    assert listed.labels.tolist() == [3, 0, 3, -1]
    assert len(list((tmp_path / "done/videos").iterdir())) == 3


def test_further_lists_of_the_same_videos_share_the_work(seven, tmp_path, monkeypatch):
    (seven / "train.txt").write_text("0.mp4 0\n1.mp4 0\n")
    (seven / "val.txt").write_text("1.mp4 1\n2.mp4 1\n")
    convert, converted = module.convert, []
    monkeypatch.setattr(module, "convert", lambda *job: converted.append(job[1]) or convert(*job))
    for name in ("train.txt", "val.txt"):
        prepare(seven / name, tmp_path / "done", Options(), 0)
    assert converted == ["0.mp4", "1.mp4", "2.mp4"]
    assert len(manifest(tmp_path / "done")) == 3
    assert check_annotations(*(read_annotations(tmp_path / "done" / name) for name in ("train.txt", "val.txt"))) == [
        f"{tmp_path}/done/val.txt:1: {read_annotations(tmp_path / 'done/val.txt').name(0)} "
        f"is for training and validation; first at {tmp_path}/done/train.txt:2"
    ]


def test_tables_keep_every_target_and_hash_the_patients(seven, tmp_path):
    (seven / "all.csv").write_text(
        "path,ef,patient,label,quality,score\n0.mp4,55,Jane Doe,3,1,0.5\n1.mp4,60,Jane Doe,0,,\n2.mp4,61,Max,,2,\n"
    )
    tree = [{"filename": f"{k}.mp4", "label": [0, 2], "patient": "Max"} for k in range(2)]
    (seven / "several.json").write_text(json.dumps(tree))
    for name in ("all.csv", "several.json"):
        prepare(seven / name, tmp_path / "done", Options(), 0)
    file = tmp_path / "done/all.csv"
    assert read_annotations(file).labels.tolist() == [3, 0, -1]
    assert read_annotations(file, target="quality").labels.tolist() == [1, -1, 2]
    assert read_annotations(file, target="score").scores[0] == 0.5
    assert read_annotations(file).patients.tolist() == [0, 0, 1]
    several = read_annotations(tmp_path / "done/several.csv", target="multilabel")
    assert several.labels.tolist() == [[1, 0, 1]] * 2
    assert several.patient(0) == read_annotations(file).patient(2) != ""
    written = file.read_text() + (tmp_path / "done/several.csv").read_text()
    assert "Jane" not in written and "Max" not in written and "mp4" not in written


# ── Files that others made ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_examples_of_pydicom_go_through_prepare_and_check(source, run):
    names = ("examples_ybr_color.dcm", "examples_rgb_color.dcm", "examples_palette.dcm", "examples_jpeg2k.dcm")
    for name in names:
        (source / name).write_bytes(Path(get_testdata_file(name)).read_bytes())
    folder, rows = run(stills=True, keep_names=False)
    assert sorted(int(row["frames"]) for row in rows) == [1, 1, 1, 30]
    for name in names:
        patient = pydicom.dcmread(source / name)
        for secret in filter(None, (str(patient.get("PatientName", "")), patient.get("PatientID", ""))):
            assert len(secret) < 4 or all(secret.encode() not in data for data in content(folder).values())
    (folder / "train.txt").write_text("".join(f"{row['name']} {k}\n" for k, row in enumerate(rows)))
    listed = read_annotations(folder / "train.txt")
    assert check_annotations(listed) == []
    found = inspect(listed, every_frame=True, sample=None, workers=1, decoder="pyav")
    assert (found.videos, found.faults) == (4, [])
    assert all(0 < mean < 0.6 for mean in found.mean)
