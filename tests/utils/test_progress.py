"""How far long work is: a line that is redrawn on a terminal, dated lines in files, and never the one in the other."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from echoviewclip.utils import progress as module
from echoviewclip.utils.logs import set_up_logging
from echoviewclip.utils.progress import CLEAR, Progress, track
from tests.tiny_data import undisturbed_logging

END = "\0end"  # of what a terminal was sent so far


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """Time of a test's own, in which the thread that looks after the lines finds nothing to do."""
    monkeypatch.setattr(module, "REDRAW", 3600.0)
    return Clock()


@contextmanager
def terminal(patch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Makes standard output and error one terminal of 60 columns; yields what reads what it has been sent since."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))

    def sent() -> str:
        stream.write(END)  # the system hands on what was written some time later, and in pieces
        stream.flush()
        read = b""
        while not read.endswith(END.encode()):
            read += os.read(main, 1 << 16)
        return read.decode().removesuffix(END)

    with open(side, "w") as stream, patch.context() as patched:
        patched.setenv("TERM", "xterm")
        patched.setattr(sys, "stderr", stream)
        patched.setattr(sys, "stdout", stream)
        yield sent
    os.close(main)


def test_a_line_says_how_far_how_long_and_how_fast(clock):
    progress = Progress("predict", 200, done=50, clock=clock)
    assert progress.line() == "predict  25%  50/200 videos"
    for clock.now in (10.0, 20.0):
        progress.add(15)
    # 30 of 150 in 20 s: 80 s for the other 120, at 1.5 a second.
    assert progress.line() == "predict  40%  80/200 videos  0:01:20 left  1.5 videos/s"
    assert progress.line("loss 0.5").endswith("left  1.5 videos/s  loss 0.5")
    progress.move(110, "epoch 2/3")
    assert progress.line() == "predict  55%  epoch 2/3  0:00:30 left  3.0 videos/s"


def test_the_speed_is_that_of_the_last_minute(clock, monkeypatch):
    monkeypatch.setattr(module, "REDRAW", 1.0)
    progress = Progress("train", 10_000, "clips", clock=clock)
    for clock.now in range(1, 101):
        progress.add(1)
    for clock.now in range(101, 201):
        progress.add(10)
    assert "  10.0 clips/s" in progress.line()


def test_a_file_gets_dated_lines_the_first_soon_and_then_one_a_minute(clock, capsys):
    with Progress("prepare", 1000, clock=clock) as progress:
        for second in range(1, 200):
            clock.now = float(second)
            progress.add()
    lines = capsys.readouterr().err.splitlines()
    shape = re.compile(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d prepare  \d+%  (\d+)/1000 videos  \d:\d\d:\d\d left  1.0 videos/s"
    )
    assert [int(shape.fullmatch(line)[1]) for line in lines] == [5, 65, 125, 185]


def test_short_work_says_nothing_in_a_file(clock, capsys):
    for clock.now in range(4):
        assert list(track(range(3), "reading", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_piece_that_takes_minutes_does_not_silence_it(monkeypatch):
    """The thread shows the line although nothing moves."""
    monkeypatch.setattr(module, "REDRAW", 0.001)
    shown = threading.Event()
    monkeypatch.setattr(Progress, "show", lambda self: shown.set())
    with Progress("train", 10):
        assert shown.wait(60)


def test_figures_are_asked_for_only_when_they_are_shown(clock, capsys):
    asked = []
    with Progress("train", 100, clock=clock) as progress:
        progress.show()
        for clock.now in (1.0, 2.0, 6.0, 7.0):
            progress.move(int(clock.now), figures=lambda: asked.append(clock.now) or f"loss {clock.now}")
    assert asked == [6.0]
    assert "loss 6.0" in capsys.readouterr().err


def test_on_a_terminal_figures_are_fresh_although_the_thread_draws_the_line(clock, monkeypatch):
    with terminal(monkeypatch) as sent, Progress("train", 100, "clips", clock=clock) as progress:
        progress.show()  # as the thread does
        sent()
        clock.now = 1.0
        progress.move(1, figures=lambda: "loss 0.7")
        assert sent().endswith("0:01:39 left  1.0 clips/s  loss 0.7")


def test_processes_but_the_main_one_are_silent(clock, capsys):
    with Progress("train", 10, shown=False, clock=clock) as progress:
        clock.now = 100.0
        progress.add()
    assert capsys.readouterr().err == ""


def test_the_log_takes_the_lines_with_its_own_dates(clock, tmp_path, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with undisturbed_logging():
        set_up_logging(tmp_path)
        with Progress("train", 100, "clips", clock=clock) as progress:
            clock.now = 10.0
            progress.add(20)
    line = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d I train  20%  20/100 clips  0:00:40 left  2.0 clips/s\n"
    assert re.fullmatch(line, out.getvalue())
    assert (tmp_path / "log.txt").read_text() == out.getvalue()


def test_a_terminal_shows_one_line_below_what_is_logged(clock, monkeypatch, tmp_path):
    with terminal(monkeypatch) as sent, undisturbed_logging():
        set_up_logging(tmp_path)
        with Progress("train", 100, "clips", clock=clock) as progress:
            clock.now = 5.0
            progress.move(10, figures=lambda: "loss 0.1234 and much more than fits")
            first = "train  10%  10/100 clips  0:00:45 left  2.0 clips/s  loss 0.1234 and much more than fits"[:59]
            assert sent() == CLEAR + first
            logging.getLogger("test").warning("something happened")
            assert re.fullmatch(
                re.escape(CLEAR) + r"\d\d:\d\d:\d\d W something happened\r\n" + re.escape(CLEAR + first), sent()
            )
        assert sent() == CLEAR
    kept = (tmp_path / "log.txt").read_text()
    assert "\r" not in kept and "\x1b" not in kept
    assert "10/100 clips" in kept and "something happened" in kept


def test_work_within_work_takes_the_line_and_gives_it_back(clock, monkeypatch):
    with terminal(monkeypatch) as sent, Progress("train", 100, "clips", clock=clock) as outer:
        clock.now = 1e4
        outer.add(10)
        sent()
        with Progress("evaluate", 10, clock=clock) as inner:
            clock.now += 1e4
            outer.add(1)  # not shown now
            inner.add(1)
            assert sent() == f"{CLEAR}evaluate  10%  1/10 videos  25:00:00 left  0.00 videos/s"
        sent()
        clock.now += 1e4
        outer.add(1)
        assert sent().startswith(f"{CLEAR}train  12%")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_process_that_is_forked_meanwhile_knows_nothing_of_it(clock):
    with Progress("train", 100, clock=clock):
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if module._lock.acquire(blocking=False) and not module._running else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
    assert not module._running
