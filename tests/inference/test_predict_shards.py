"""Predictions of videos in shards: by their list, by folder, archive or pattern, the answers are those of the files."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from echoviewclip.inference.parts import AnswerParts
from echoviewclip.predict import main
from echoviewclip.utils.errors import UserError
from tests.inference.predicted import read


@pytest.fixture
def shards(runs, elsewhere) -> Path:
    """Two archives, in which the videos do not lie by name, beside a note and a label file of each video."""
    videos = sorted((runs / "data" / "videos").glob("clip*.avi"))[:5]
    folder = elsewhere / "shards"
    (folder / "videos").mkdir(parents=True)
    (folder / "README").write_text("two shards\n")
    (elsewhere / "1.cls").write_text("1")
    for number, members in enumerate((videos[1::-1], videos[2:])):
        with tarfile.open(folder / "videos" / f"train-{number:06d}.tar", "w") as archive:
            for video in members:
                archive.add(video, f"./{video.stem.replace(' ', '_')}.avi")
                archive.add(elsewhere / "1.cls", f"./{video.stem.replace(' ', '_')}.cls")
    return folder


@pytest.fixture
def ask(runs):
    """Runs predict.py; gives the rows that it writes."""

    def run(*arguments: object, code: int = 0) -> list[dict]:
        options = ["--resume", str(runs / "view" / "last.pth"), "--workers", "0", "--part-size", "2"]
        assert main([*options, *map(str, arguments)]) == code
        return read()

    return run


def test_a_folder_of_shards_is_the_videos_in_them_in_the_order_in_which_they_lie(ask, runs, shards, capsys):
    rows = ask(shards)
    assert "left out: 6 not of a kind that is read" in capsys.readouterr().out
    places = [Path(row.pop("file")).relative_to(shards / "videos") for row in rows]
    names = [["clip_1", "clip_0"], ["clip_10", "clip_11", "clip_12"]]
    assert [list(place.parts) for place in places] == [
        [f"train-{number:06d}.tar", f"{name}.avi"] for number in (0, 1) for name in names[number]
    ]
    files = [runs / "data" / "videos" / f"{name.replace('_', ' ')}.avi" for part in names for name in part]
    expected = ask(*files)
    assert [row.pop("file") for row in expected] == list(map(str, files)) and rows == expected


def test_an_archive_a_pattern_and_a_video_in_an_archive_can_be_named(ask, shards):
    whole = ask(shards)
    assert ask(shards / "videos" / "*.tar") == whole
    assert ask(*sorted((shards / "videos").glob("*.tar"))) == whole
    assert ask(whole[3]["file"]) == whole[3:4]
    (shards / "list.txt").write_text("".join(f"videos/{Path(*Path(row['file']).parts[-2:])}\n" for row in whole))
    assert [Path(row["file"]) for row in ask(shards / "list.txt")] == [Path(row["file"]) for row in whole]


def test_frames_in_a_folder_of_an_archive_are_one_video(ask, elsewhere):
    from PIL import Image

    with tarfile.open(elsewhere / "frames.tar", "w") as archive:
        for number in range(3):
            Image.new("L", (64, 64), 40 * number).save(elsewhere / f"{number}.png")
            archive.add(elsewhere / f"{number}.png", f"study/{number}.png")
    assert [row["file"] for row in ask("frames.tar")] == ["frames.tar/study"]


def test_an_archive_that_is_damaged_is_a_row_with_an_error(ask, shards):
    broken = shards / "videos" / "train-000002.tar"
    broken.write_bytes(b"no archive" * 200)
    rows = ask(shards, code=1)
    assert len(rows) == 6 and rows[-1]["file"] == str(broken) and rows[-1]["error"]


@pytest.mark.parametrize("left", [0, 100])
def test_an_archive_that_is_cut_short_is_a_row_with_an_error_behind_its_videos(ask, shards, left):
    """It ends behind its first video, or within the header of the next."""
    whole = shards / "videos" / "train-000000.tar"
    with tarfile.open(whole) as archive:
        first, second = (member for member in archive if member.name.endswith(".avi"))
    whole.write_bytes(whole.read_bytes()[: second.offset + left])
    rows = ask(whole, code=1)
    assert [row["file"] for row in rows] == [f"{whole}/{first.name.removeprefix('./')}", str(whole)]
    assert not rows[0]["error"]
    assert rows[1]["error"] == "is an archive that is cut short: what lies behind the cut is missing"


def test_an_archive_without_videos_is_refused(ask, elsewhere):
    (elsewhere / "a.txt").write_text("a")
    with tarfile.open(elsewhere / "notes.tar", "w") as archive:
        archive.add(elsewhere / "a.txt", "a.txt")
    with pytest.raises(UserError, match=r"notes\.tar: holds no videos, DICOM or images among its 1 files"):
        ask("notes.tar")
    with pytest.raises(UserError, match=r"notes\.tar/b\.avi: no such file or folder"):
        ask("notes.tar/b.avi")


def test_a_video_whose_archive_has_changed_is_asked_for_anew(runs, shards, monkeypatch):
    answered: list[str] = []
    write = AnswerParts.write

    def noted(parts, part, table):
        answered.extend(part.videos)
        write(parts, part, table)

    def share() -> int:
        answered.clear()
        assert (
            main([str(shards), "--resume", str(runs / "view" / "last.pth"), "--part-size", "2", "--part", "1/9"]) == 0
        )
        return len(answered)

    monkeypatch.setattr(AnswerParts, "write", noted)
    assert (share(), share()) == (2, 0)
    os.utime(shards / "videos" / "train-000000.tar", (1, 1))
    assert share() == 2
