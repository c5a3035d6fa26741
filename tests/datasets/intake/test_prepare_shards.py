"""prepare.py --shards: a Standard Folder of archives, the same bytes each time, with lists that name them."""

from __future__ import annotations

import csv
import sys

import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake.check import check_annotations
from echoviewclip.datasets.intake.notes import read_notes
from echoviewclip.datasets.intake.preparation import count_preparations, read_note
from echoviewclip.datasets.intake.shards import parse_size, write_shards
from echoviewclip.tools import prepare as command
from echoviewclip.utils.errors import UserError, exit_code
from tests.datasets.shard_list import SHARD_BYTES, shards_of, write_prepared


@pytest.fixture
def prepared(tmp_path):
    folder = tmp_path / "data"
    write_prepared(folder, videos=6)
    return folder


def rows(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def content(folder):
    return {file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_the_list_has_the_labels_and_patients_and_the_new_paths_in_order(prepared):
    listed, old = rows(prepared / "shards/train.csv"), rows(prepared / "train.csv")
    assert [row["path"] for row in listed] == sorted(row["path"] for row in listed)
    assert {row["path"].split("/")[1]: row["label"] + row["patient"] for row in listed} == {
        row["path"]: row["label"] + row["patient"] for row in old
    }
    videos = read_annotations(prepared / "shards/train.csv")
    assert check_annotations(videos) == []
    assert count_preparations(videos.paths()) == {read_note(prepared / "prepared.json"): 6}
    assert read_notes(videos).unknown == []


def test_no_shard_is_above_the_size_but_for_one_video(prepared):
    biggest = max(file.stat().st_size for file in (prepared / "videos").iterdir())
    said = write_shards(prepared, biggest // 2)
    assert said == [f"6 videos in 6 shards: {prepared / 'shards'}"] and len(shards_of(prepared / "shards")) == 6
    write_shards(prepared, 10**9)
    assert [shard.name for shard in shards_of(prepared / "shards")] == ["train-000000.tar"]


def test_what_is_there_is_not_written_again_and_what_is_not_becomes_the_same(prepared):
    before = content(prepared / "shards")
    first, second, third = shards_of(prepared / "shards")
    kept = first.stat().st_mtime_ns
    second.write_bytes(second.read_bytes()[:-1])
    third.with_suffix(".idx").unlink()
    write_shards(prepared, SHARD_BYTES)
    assert content(prepared / "shards") == before and first.stat().st_mtime_ns == kept


def test_a_list_that_is_a_part_of_another_names_its_shards(prepared):
    lines = (prepared / "train.csv").read_text().splitlines()
    (prepared / "quality_train.txt").write_text("".join(f"{line.split(',')[0]} 1\n" for line in lines[1:4]))
    assert write_shards(prepared, SHARD_BYTES)[0] == f"6 videos in 3 shards: {prepared / 'shards'}"
    part = (prepared / "shards/quality_train.txt").read_text().splitlines()
    assert len(part) == 3 and all(line.startswith("train-00000") and line.endswith(".avi 1") for line in part)
    assert {line.split()[0] for line in part} <= {row["path"] for row in rows(prepared / "shards/train.csv")}


def test_a_list_with_a_video_that_is_not_prepared_is_refused(prepared):
    with (prepared / "train.csv").open("a") as lines:
        lines.write("\nnone.avi,0,p,,\n")
    with pytest.raises(UserError) as refused:
        write_shards(prepared, SHARD_BYTES)
    assert str(refused.value) == (f"{prepared / 'train.csv'}:8: the video is not among those of {prepared / 'videos'}")


@pytest.mark.parametrize(("text", "size"), [("1GB", 10**9), ("1.5 MB", 1_500_000), ("200", 200)])
def test_a_size_is_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "big", "1 gibibyte", "-1GB"])
def test_another_size_is_refused(text):
    with pytest.raises(UserError) as refused:
        parse_size(text)
    assert str(refused.value) == f"--shards is the size of a shard, as 1GB or 500MB; found {text!r}"


def test_the_command_packs_what_it_prepared(seven, tmp_path, monkeypatch, capsys):
    for number in range(7):
        folder = seven / f"p{number}" / ("a", "b")[number % 2]
        folder.mkdir(parents=True)
        (seven / f"{number}.mp4").rename(folder / "x.mp4")
    options = ["--labels-from", "folder", "--patient-from", "folder", "--workers", "0", "--shards", "1GB"]
    monkeypatch.setattr(sys, "argv", ["prepare.py", str(seven), str(tmp_path / "to"), *options])
    assert command.main() == 0
    out = capsys.readouterr().out
    assert out.endswith(f"next: python tools/new.py {tmp_path / 'to/shards'}\n")
    listed = read_annotations(tmp_path / "to/shards/train.csv", label_names=["a", "b"])
    assert check_annotations(listed) == [] and (tmp_path / "to/shards/labels.csv").is_file()
    monkeypatch.setattr(sys, "argv", ["prepare.py", str(seven), str(tmp_path / "to"), *options, "--keep-names"])
    assert exit_code(command.main) == 2
    assert "--shards and --keep-names exclude each other" in capsys.readouterr().err
