"""Files that no one thought of: each costs itself, is named, and the run goes on."""

from __future__ import annotations

import faulthandler
import math
import os
import signal
import socket
import struct
import sys
import time
from pathlib import Path

import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake import prepare as module
from echoviewclip.datasets.intake.check import inspect
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from echoviewclip.tools import prepare as command
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.workers import Lost, run_jobs
from tests.datasets.intake.hospital import content, manifest
from tests.media import numbered_frames, write_video

WORKERS = pytest.mark.parametrize("workers", [0, 1, 2])


def write_with_an_odd_frame(path: Path) -> Path:
    """An AVI of JPEGs whose third frame is of another size than the others."""
    small, large = (
        write_video(path.with_name(f".{side}{path.name}"), numbered_frames(6, side, side)).read_bytes()
        for side in (32, 64)
    )
    (path.with_name(f".32{path.name}")).unlink(), (path.with_name(f".64{path.name}")).unlink()
    chunks = [chunks_of(avi) for avi in (large, small)]
    start, end = chunks[0][3]
    other = small[slice(*chunks[1][3])]
    size = end - start
    assert len(other) <= size
    path.write_bytes(large[:start] + other + bytes(size - len(other)) + large[end:])
    return path


def chunks_of(avi: bytes) -> list[tuple[int, int]]:
    """Where the frames of an AVI lie."""
    found, at = [], avi.index(b"movi") + 4
    while avi[at : at + 4] == b"00dc":
        size = struct.unpack("<I", avi[at + 4 : at + 8])[0]
        found.append((at + 8, at + 8 + size))
        at += 8 + size + size % 2
    return found


def faults(records) -> dict[str, str]:
    return {record.source: record.fault for record in records if record.fault}


@WORKERS
def test_a_frame_of_another_size_is_a_fault_of_its_file_alone(seven, tmp_path, workers):
    odd = write_with_an_odd_frame(seven / "odd.avi")
    records = prepare(seven, tmp_path / "done", Options(keep_names=True), workers)
    assert faults(records) == {"odd.avi": "frame 3 has another size than frame 0"}
    assert len(manifest(tmp_path / "done")) == 7
    with open_video(odd) as video, pytest.raises(VideoError, match="frame 3 has another size than frame 0"):
        list(video.iterate())


@WORKERS
def test_an_error_that_no_reader_names_is_a_fault_too(seven, tmp_path, monkeypatch, workers):
    def no_image(sample, regions):
        if len(sample) == 6:
            raise RuntimeError("PatientName is Jane Doe")
        return find(sample, regions)

    from echoviewclip.datasets.intake import pictures

    find = pictures.find_image
    monkeypatch.setattr(pictures, "find_image", no_image)
    records = prepare(seven, tmp_path / "done", Options(keep_names=True), workers)
    assert faults(records) == {"2.mp4": "cannot be prepared: its content is damaged (RuntimeError)"}
    assert len(manifest(tmp_path / "done")) == 6


@pytest.mark.parametrize(("how", "workers"), [("SIGSEGV", 1), ("SIGKILL", 2), ("exit", 2)])
def test_a_file_that_kills_its_process_is_named_and_met_once(seven, run, tmp_path, monkeypatch, how, workers):
    convert, tried = module.convert, tmp_path / "tried"

    def dies(root, name, *others):
        if name == "3.mp4":
            with tried.open("a") as file:
                file.write("x")
            (tmp_path / "done/videos/.3.half.avi").touch()
            faulthandler.disable()  # pytest's would fill the terminal
            os._exit(7) if how == "exit" else os.kill(os.getpid(), getattr(signal, how))
        return convert(root, name, *others)

    monkeypatch.setattr(module, "convert", dies)
    records = prepare(seven, tmp_path / "done", Options(keep_names=True), workers)
    reasons = {
        "SIGSEGV": "its decoder crashed (SIGSEGV)",
        "SIGKILL": "its process was killed: the system may be short of memory",
        "exit": "its process ended with code 7",
    }
    expected = {"3.mp4": f"{reasons[how]}; --retry tries again"}
    assert faults(records) == expected
    assert [row["source"] for row in manifest(tmp_path / "done")] == [f"{k}.mp4" for k in (0, 1, 2, 4, 5, 6)]
    assert not list((tmp_path / "done/videos").glob(".*"))
    meetings = len(tried.read_text())
    assert meetings == 2  # a second time alone: another file may have taken the memory
    assert faults(prepare(seven, tmp_path / "done", Options(keep_names=True), workers)) == expected
    assert len(tried.read_text()) == meetings
    monkeypatch.setattr(module, "convert", convert)
    assert faults(prepare(seven, tmp_path / "done", Options(keep_names=True), workers, retry=True)) == {}
    assert content(tmp_path / "done") == content(run(to="whole")[0])


def test_a_file_that_takes_too_long_is_named(seven, tmp_path, monkeypatch):
    convert, begun = module.convert, time.monotonic()
    prepare(seven, tmp_path / "whole", Options(keep_names=True), 2)
    enough = 2 + 2 * math.ceil(time.monotonic() - begun)  # for a file, however busy the machine is
    monkeypatch.setattr(
        module,
        "convert",
        lambda root, name, *others: time.sleep(600 * (name == "3.mp4")) or convert(root, name, *others),
    )
    begun = time.monotonic()
    records = prepare(seven, tmp_path / "done", Options(keep_names=True), 2, seconds=enough)
    assert time.monotonic() - begun < 300
    assert faults(records) == {"3.mp4": f"took more than {enough} s; --retry tries again"}
    assert len(manifest(tmp_path / "done")) == 6


def test_an_interrupted_run_leaves_a_manifest_of_what_is_done(seven, tmp_path, monkeypatch):
    convert = module.convert

    def interrupted(root, name, *others):
        if name == "3.mp4":
            raise KeyboardInterrupt
        return convert(root, name, *others)

    monkeypatch.setattr(module, "convert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(seven, tmp_path / "done", Options(keep_names=True), 0)
    assert [row["source"] for row in manifest(tmp_path / "done")] == ["0.mp4", "1.mp4", "2.mp4"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_disk_that_is_full_is_no_fault_of_the_files(seven, tmp_path, monkeypatch, workers):
    from echoviewclip.datasets.intake import pictures

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures, "write_mjpeg", full)
    with pytest.raises(UserError, match=r"done/videos/\d\.avi: cannot be written: No space left on device"):
        prepare(seven, tmp_path / "done", Options(keep_names=True), workers)
    assert manifest(tmp_path / "done") == []


def test_pipes_sockets_and_devices_are_named_and_not_waited_for(seven, tmp_path, monkeypatch, capsys):
    os.mkfifo(seven / "a.avi")
    (seven / "b.avi").symlink_to(seven / "a.avi")
    (seven / "d.avi").symlink_to("/dev/zero")
    (seven / "list.txt").write_text("a.avi 0\nb.avi 0\nc.avi 0\n")
    monkeypatch.chdir(seven)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("c.avi")
        reason = "is a pipe, a socket or a device, not a file"
        for source, names in ((seven, "abcd"), (seven / "list.txt", "abc")):
            records = prepare(source, tmp_path / f"{source.stem} done", Options(), 0)
            assert faults(records) == {f"{name}.avi": reason for name in names}
        found = inspect(
            read_annotations("list.txt"), every_frame=True, sample=None, workers=1, decoder="pyav", seconds=20
        )
        assert [fault.split(": ")[-1] for fault in found.faults] == [reason] * 3
    frames = seven / "frames"
    frames.mkdir()
    os.mkfifo(frames / "0.png")
    with pytest.raises(VideoError, match="frames: its image 0 is a pipe, a socket or a device, not a file"):
        open_video(frames)


def test_files_that_crash_are_named_on_the_terminal_too(seven, tmp_path, monkeypatch, capsys):
    convert = module.convert
    monkeypatch.setattr(
        module, "convert", lambda root, name, *others: (name == "3.mp4" and os._exit(3)) or convert(root, name, *others)
    )
    arguments = ["prepare.py", str(seven), str(tmp_path / "done"), "--workers", "2"]
    for more, faulty in (([], 1), ([], 1), (["--retry"], 0)):
        if more:
            monkeypatch.setattr(module, "convert", convert)
        monkeypatch.setattr(sys, "argv", [*arguments, *more])
        assert exit_code(command.main) == faulty
        shown = capsys.readouterr()
        assert shown.out.splitlines()[0].endswith(f"{faulty} unreadable")
        assert f"{seven}/3.mp4: its process ended with code 3; --retry tries again" in shown.err or not faulty


# ── The workers themselves ────────────────────────────────────────────────────────────────────────────────────────────


def _square(number: int) -> int:
    if number == 3:
        os._exit(1)
    if number == 5:
        os.kill(os.getpid(), signal.SIGSTOP)
    return number * number


@pytest.mark.parametrize("workers", [1, 3])
def test_jobs_are_done_each_once_whatever_becomes_of_their_processes(workers):
    answers = dict(run_jobs(_square, [(k,) for k in range(8)], workers, seconds=3))
    expected = {k: k * k for k in range(8)}
    expected[3] = Lost("its process ended with code 1")
    expected[5] = Lost("took more than 3 s", late=True)
    assert answers == expected


def test_no_process_is_left_behind(seven):
    jobs = run_jobs(os.getpid, [()] * 4, 2)
    processes = {next(jobs)[1] for _ in range(3)}
    jobs.close()
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
