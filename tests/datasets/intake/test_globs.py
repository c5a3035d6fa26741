"""Patterns of paths: what they fit, in which order, and how little is looked at before the first is known."""

from __future__ import annotations

import glob
import os

import pytest

from echoviewclip.datasets.intake import folders, globs
from echoviewclip.datasets.intake.asked import find_videos, is_searched, iterate_videos
from echoviewclip.datasets.intake.globs import is_glob, matches
from echoviewclip.utils.errors import UserError

NAMES = ("b.dcm", "a/1.dcm", "a/x y.dcm", "a/deep/2.dcm", "a/deep/er/3.DCM", ".hidden/4.dcm", "c/.5.dcm", "c/[6].dcm")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


PATTERNS = """*.dcm */*.dcm **/*.dcm a/** a/**/er/* **/deep/**/*.dcm ?/1.dcm [ac]/* .hidden/* **/.* a/*/2.dcm ./**/*.dcm
none/* * c/[[]6].dcm"""


@pytest.mark.parametrize("pattern", PATTERNS.split())
@pytest.mark.parametrize("absolute", [False, True])
def test_a_pattern_fits_the_files_that_python_s_own_finds(tree, pattern, absolute):
    pattern = str(tree / pattern) if absolute else pattern
    expected = {os.path.normpath(path) for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)}
    found = list(matches(pattern))
    assert {os.path.normpath(path) for path in found} == expected and len(found) == len(expected)


def test_files_come_before_folders_by_name(tree):
    assert list(matches("**/*.dcm")) == ["b.dcm", "a/1.dcm", "a/x y.dcm", "a/deep/2.dcm", "c/[6].dcm"]


def test_a_file_of_that_very_name_is_no_pattern(tree):
    assert not is_glob("c/[6].dcm") and is_glob("c/[7].dcm") and not is_glob("a/1.dcm")
    assert not is_glob("https://host/a.avi?x=[1]*") and is_glob("s3://bucket/*.avi")
    assert find_videos(["c/[6].dcm"]) == ["c/[6].dcm"] and not is_searched(["c/[6].dcm"])


def test_links_to_folders_are_not_followed(tree):
    (tree / "a/deep/loop").symlink_to(tree / "a")
    assert list(matches("a/**/*.dcm")) == ["a/1.dcm", "a/x y.dcm", "a/deep/2.dcm"]


def test_the_first_is_known_before_the_others_are_looked_for(tree, monkeypatch):
    listed = []
    monkeypatch.setattr(globs, "_list", lambda folder, real=globs._list: listed.append(folder) or real(folder))
    videos = iterate_videos(["**/*.dcm"])
    assert next(videos) == "b.dcm" and listed == [""]
    assert len(list(videos)) == 4 and len(listed) == 5


def test_what_fits_and_is_no_video_is_left_out_with_its_reason(tree):
    (tree / "a/notes.dat").write_text("not a video")
    left_out: dict[str, str] = {}
    assert find_videos(["a/*", "a/1.dcm"], left_out) == ["a/1.dcm", "a/x y.dcm"]
    assert left_out == {"a/notes.dat": "not of a kind that is read"}
    with pytest.raises(UserError) as error:
        find_videos(["a/*.dat"])
    assert str(error.value) == "a/*.dat: fits no videos, DICOM or images (PATH)"


def test_a_folder_is_searched_while_its_first_videos_are_taken(tmp_path, monkeypatch):
    names = ["a b.avi", "a.avi", "a/1.avi", "a/z/2.avi", "a0.avi", "frames/1.png", "frames/2.png", "frames/b/3.avi"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" if name.endswith(".png") else b"RIFF    AVI LIST")
    (tmp_path / "a/notes.txt").write_text("none")
    (tmp_path / "loop").symlink_to(tmp_path / "a")
    looked: list[str] = []
    look = folders.look_at_file
    monkeypatch.setattr(
        folders, "look_at_file", lambda path: looked.append(os.path.relpath(path, tmp_path)) or look(path)
    )
    left_out: dict[str, str] = {}
    assert is_searched([tmp_path]) and not is_searched([tmp_path / "a.avi"])
    videos = iterate_videos([tmp_path], left_out)
    assert os.path.relpath(next(videos), tmp_path) == "a b.avi" and "a/1.avi" not in looked
    frames_as_one = ["frames", *(name for name in names[1:] if not name.endswith(".png"))]
    assert [os.path.relpath(video, tmp_path) for video in videos] == sorted(frames_as_one)
    assert [os.path.relpath(path, tmp_path) for path in left_out] == ["loop", "a/notes.txt"]
