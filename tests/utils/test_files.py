"""Files that are whole or absent, whatever happens to the process, the disk or the folder."""

from __future__ import annotations

import os
import resource
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from echoviewclip import predict
from echoviewclip.inference.answers import write_answers
from echoviewclip.inference.prediction import Prediction
from echoviewclip.utils import files
from echoviewclip.utils.checkpoint import load_checkpoint, save_checkpoint
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.files import atomic_path, check_writable, make_folder, sweep, temporary_path, write_text
from tests.damage import small_content


@contextmanager
def disk_with(size: int):
    """Lets no file grow beyond `size` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refusal(action) -> str:
    with pytest.raises(UserError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_full_disk_is_one_line_and_the_former_file_is_kept(tmp_path):
    save_checkpoint(tmp_path / "last.pth", small_content() | {"model": {"w": torch.ones(2)}})
    write_text(tmp_path / "a.txt", "before")
    with disk_with(50_000):
        large = {"model": {"w": torch.ones(100_000)}}
        assert refusal(lambda: save_checkpoint(tmp_path / "last.pth", large)) == (
            f"{tmp_path}/last.pth: cannot be written: File too large"
        )
        assert refusal(lambda: write_text(tmp_path / "a.txt", 60_000 * "x")) == (
            f"{tmp_path}/a.txt: cannot be written: File too large"
        )
    with disk_with(1000):
        assert refusal(lambda: check_writable(tmp_path)).endswith("cannot be written: File too large")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "last.pth"]
    assert load_checkpoint(tmp_path / "last.pth")["model"]["w"].tolist() == [1, 1]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_an_error_of_the_work_itself_is_no_error_of_writing(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "absent").read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        assert refusal(lambda folder=folder: make_folder(folder)).startswith(f"{folder}: cannot be written: ")
        assert refusal(lambda folder=folder: check_writable(folder)).startswith(f"{folder}: cannot be written: ")
    (tmp_path / "folder.txt").mkdir()
    assert refusal(lambda: write_text(tmp_path / "folder.txt", "x")) == (
        f"{tmp_path}/folder.txt: cannot be written: Is a directory"
    )


def ended_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_temporary_files_of_dead_processes_are_swept_and_those_of_living_ones_are_kept(tmp_path, monkeypatch):
    def left_by(name: str, process: int, host: str = files.HOST, age: float = 0.0) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(files, "HOST", host)
            patch.setattr(os, "getpid", lambda: process)
            file = temporary_path(tmp_path / name)
        file.write_text("half")
        time = file.stat().st_mtime - age
        os.utime(file, (time, time))
        return file

    dead = ended_process()
    gone = [left_by("last.pth", dead), left_by("no suffix", dead), left_by("a.csv", os.getpid(), age=2 * files.DAY)]
    gone.append(left_by("last.pth", dead, host="elsewhere", age=2 * files.DAY))
    kept = [left_by("last.pth", os.getppid()), left_by("last.pth", dead, host="elsewhere")]
    kept += [tmp_path / name for name in (".last.pth", ".hidden", "last.pth", f".last.{dead}.pth")]
    for file in kept:
        file.touch()
    sweep(tmp_path)
    assert [file.name for file in gone if file.exists()] == []
    assert set(tmp_path.iterdir()) == set(kept)


def test_the_first_write_into_a_folder_sweeps_it(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", ended_process)
        left = temporary_path(tmp_path / "last.pth")
    left.touch()
    write_answers(tmp_path, ("file",), [Prediction("a")])
    assert {file.name for file in tmp_path.iterdir()} == {"predictions.csv", "predictions.jsonl"}


def test_predict_says_before_its_work_that_it_cannot_write(tiny_runs, tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("echoviewclip.inference.predictor.predict", lambda *_: pytest.fail("worked for nothing"))
    (tmp_path / "file").touch()
    video, checkpoint = tiny_folder / "videos" / "clip 0.avi", tiny_runs["quality"] / "last.pth"
    arguments = [str(video), "--resume", str(checkpoint), "--output", str(tmp_path / "file" / "out")]
    assert exit_code(lambda: predict.main(arguments)) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/file/out: cannot be written: Not a directory\n"


def test_the_name_of_a_temporary_file_fits_and_keeps_its_suffix(tmp_path):
    for name in (120 * "é" + ".csv", "a b.tar.gz", "x"):
        file = temporary_path(tmp_path / name)
        assert file.name.endswith(Path(name).suffix)
        assert len(os.fsencode(file.name)) < 255
        assert files.TEMPORARY.fullmatch(file.name)["process"] == str(os.getpid())
        assert files.TEMPORARY.fullmatch(file.name)["host"] in socket.gethostname().replace(".", "-")


@pytest.mark.parametrize("umask", ["0o022", "0o077"])
def test_permissions_follow_the_umask_which_is_never_changed(tmp_path, umask):
    body = (
        f"import os, sys; os.umask({umask}); flip = os.umask; os.umask = None\n"
        "from echoviewclip.utils.files import write_text; write_text(sys.argv[1], 'x')"
    )
    subprocess.run([sys.executable, "-c", body, str(tmp_path / "a")], check=True)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~int(umask, 8)


def test_a_file_and_then_its_folder_are_flushed_to_the_disk(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync

    def noted(handle):
        flushed.append((os.readlink(f"/proc/self/fd/{handle}"), (tmp_path / "a").exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    write_text(tmp_path / "a", "x")
    (temporary, before), (folder, after) = flushed
    assert (Path(temporary).parent, before) == (tmp_path, False)
    assert (folder, after) == (str(tmp_path), True)
