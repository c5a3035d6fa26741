"""Lists stay in the data folder: absolute paths and links that lead out are refused unless they are allowed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.boundary import Boundary
from echoviewclip.datasets.configured import read_list
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.tools import prepare as command
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import UserError, exit_code
from tests.media import numbered_frames, write_video


@pytest.fixture
def data(tmp_path) -> Path:
    """A data folder with `in.avi` and a folder of frames; beside it `secret.avi`, frames and another data folder."""
    root = tmp_path / "data"
    for folder in (root / "videos/frames", tmp_path / "other/frames", tmp_path / "data2"):
        folder.mkdir(parents=True)
    write_video(root / "videos/in.avi", numbered_frames(4))
    for place in (tmp_path / "secret.avi", tmp_path / "data2/twin.avi", tmp_path / "other/frames/0.png"):
        place.write_bytes((root / "videos/in.avi").read_bytes())
    (root / "videos/frames/0.png").touch()
    return root


LEADING_OUT = {
    "an absolute path": lambda data, videos: str(data.parent / "secret.avi"),
    "a folder whose name begins as that of the data": lambda data, videos: str(data.parent / "data2/twin.avi"),
    "what is not there": lambda data, videos: "/nowhere/at/all.avi",
    "a link": lambda data, videos: (videos / "a.avi").symlink_to(data.parent / "secret.avi") or "a.avi",
    "a relative link": lambda data, videos: (videos / "b.avi").symlink_to("../../secret.avi") or "b.avi",
    "a link to a link": lambda data, videos: (
        (videos / "c.avi").symlink_to("d.avi") or (videos / "d.avi").symlink_to("../../secret.avi") or "c.avi"
    ),
    "a link to a folder": lambda data, videos: (videos / "e").symlink_to(data.parent / "other") or "e/frames",
    "a folder of frames": lambda data, videos: (videos / "f").symlink_to(data.parent / "other/frames") or "f",
    "a frame of a folder": lambda data, videos: (
        (videos / "frames/1.png").symlink_to(data.parent / "other/frames/0.png") or "frames"
    ),
    "an archive": lambda data, videos: (videos / "g.tar").symlink_to(data.parent / "secret.avi") or "g.tar/a.avi",
    "a link to a device": lambda data, videos: (videos / "h.avi").symlink_to("/dev/zero") or "h.avi",
}


@pytest.mark.parametrize("how", LEADING_OUT)
@pytest.mark.parametrize("form", ["txt", "csv"])
def test_what_leads_out_of_the_data_folder_is_refused_with_its_line(data, how, form):
    name = LEADING_OUT[how](data, data / "videos")
    text = {"txt": f"in.avi 0\n{name} 1\n", "csv": f"path,label\nin.avi,0\n{name},1\n"}[form]
    file = data / f"list.{form}"
    file.write_text(text)
    line = {"txt": 2, "csv": 3}[form]
    expected = rf"list.{form}:{line}: '.*' leads out of {data}; DATA.ALLOW_OUTSIDE True accepts it"
    with pytest.raises(UserError, match=expected):
        read_annotations(file, data)
    listed = read_annotations(file, data, allow_outside=True)
    assert [listed.name(i) for i in range(2)] == ["in.avi", name]
    faults = []
    assert len(read_annotations(file, data, faults=faults)) == 1 and len(faults) == 1


def test_links_and_absolute_paths_that_stay_inside_are_accepted(data):
    (data / "videos/link.avi").symlink_to(data / "videos/in.avi")
    (data / "videos/folder").symlink_to("frames")
    (data / "videos/frames/1.png").symlink_to(data / "videos/frames/0.png")
    names = ["in.avi", "link.avi", str(data / "videos/in.avi"), "folder", "frames", "gone.avi", "gone/too.avi"]
    (data / "list.txt").write_text("".join(f"{name} 0\n" for name in names))
    listed = read_annotations(data / "list.txt", data)
    assert [listed.name(i) for i in range(len(listed))] == names


def test_the_data_folder_may_itself_be_behind_a_link(data, tmp_path):
    (tmp_path / "shortcut").symlink_to(data)
    (data / "list.txt").write_text("in.avi 0\n")
    assert len(read_annotations(tmp_path / "shortcut/list.txt", tmp_path / "shortcut")) == 1


def test_the_border_holds_for_the_root_of_all(tmp_path):
    assert Boundary("/").holds(str(tmp_path)) and Boundary("/").holds("/etc")


def test_videos_outside_are_a_setting(data, tmp_path):
    (data / "list.txt").write_text(f"in.avi 0\n{tmp_path}/secret.avi 1\n")
    settings = [("DATA.ROOT", str(data)), ("STAGE", "view")]
    (tmp_path / "c.yaml").touch()
    with pytest.raises(UserError, match="leads out of"):
        read_list(load_config(tmp_path / "c.yaml", settings), str(data / "list.txt"))
    allowed = load_config(tmp_path / "c.yaml", [*settings, ("DATA.ALLOW_OUTSIDE", "True")])
    assert len(read_list(allowed, str(data / "list.txt"))) == 2


def test_prepare_follows_a_list_out_of_its_folder_only_where_it_may(data, tmp_path, monkeypatch, capsys):
    (data / "list.txt").write_text(f"videos/in.avi 0\n{tmp_path}/secret.avi 1\n")
    with pytest.raises(UserError, match=r"list.txt:2: .* leads out of .* \(prepare: --allow-outside\)"):
        prepare(data / "list.txt", tmp_path / "done", Options(), 0)
    monkeypatch.setattr(sys, "argv", ["prepare.py", str(data / "list.txt"), str(tmp_path / "done"), "--allow-outside"])
    assert exit_code(command.main) == 0
    assert capsys.readouterr().out.startswith("2 files: 2 videos prepared")
