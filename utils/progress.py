"""What long work says of itself: a line that is redrawn on a terminal; in files dated lines, at least one a minute.

A terminal is where standard error is one. The lines go to the log where there is one (`set_up_logging`), else to
standard error. No carriage return reaches a file.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TypeVar

log = logging.getLogger(__name__)

FIRST, EVERY = 5.0, 60.0  # seconds until the first line in a file, and between two
REDRAW = 1.0  # seconds between two drawings on a terminal, and between two looks at whether a line is due
RECENT = 60.0  # seconds that the speed is taken over
SHOWN = "shown_on_a_terminal"  # of a log record: a terminal's own line tells it already
CLEAR = "\r\x1b[K"

Item = TypeVar("Item")

_lock = threading.RLock()  # of whoever writes to the terminal or changes what is under way
_running: list[Progress] = []  # the innermost last, which alone is shown


class Progress:
    """Counts pieces of work, and shows how far it is, for the time of a `with` block.

    A thread looks after the lines, so that one piece that takes minutes does not silence it.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str = "videos",
        *,
        done: int = 0,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`total` pieces, called `unit`, of which so many are `done`; None where it is not known how many there are.

        `shown`: False in all processes but the main.
        """
        self.title, self.total, self.unit, self.shown = title, total, unit, shown
        self.done = self._first = done
        self.place = self.figures = ""
        self._clock, self._ended = clock, threading.Event()
        self._begin = now = clock()
        self._recent = deque([(now, done)])
        self._next_line, self._next_drawing, self._next_figures = now + FIRST, now, now
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    def __enter__(self) -> Progress:
        if self.shown:
            with _lock:
                _running.append(self)
            self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if not self.shown:
            return
        self._ended.set()
        self._thread.join()
        with _lock:
            _erase()
            _running.remove(self)
            if _running:
                _running[-1]._go_on()

    def add(self, count: int = 1) -> None:
        """So many more pieces are done."""
        done = self.done + count
        self.move(done if self.total is None else min(done, self.total))

    def skip(self, count: int) -> None:
        """So many more pieces were done before this work began: they count as done, and not in the speed."""
        self.done += count
        self._first += count
        self._recent = deque((when, done + count) for when, done in self._recent)

    @property
    def before(self) -> int:
        """How many pieces were done before this work began."""
        return self._first

    def move(self, done: int, place: str = "", figures: Callable[[], str] | None = None) -> None:
        """`done` pieces are done; `place` says so in other words. `figures` are asked for only when they are shown."""
        self.done, self.place = done, place
        now = self._clock()
        if now - self._recent[-1][0] >= REDRAW:
            self._recent.append((now, done))
            while now - self._recent[0][0] > RECENT and len(self._recent) > 2:
                self._recent.popleft()
        # Not when a drawing is due: the thread keeps that up without figures, which are this thread's to ask for.
        if self.shown and (now >= self._next_line or (now >= self._next_figures and on_terminal())):
            self._next_figures = now + REDRAW
            self.figures = figures() if figures else ""
            self.show()

    def show(self) -> None:
        """Draws the line where there is a terminal, and writes one where it is time for that."""
        now = self._clock()
        with _lock, suppress(OSError):  # nobody reads standard error any more
            if not _running or _running[-1] is not self:
                return
            self._next_drawing = now + REDRAW
            if now >= self._next_line:
                self.note_line()
                _write_line(self.line())
            if on_terminal():
                _draw(self.line())

    def note_line(self) -> None:
        """A line has just been written; the next one has time."""
        self._next_line = self._clock() + EVERY

    def line(self, figures: str | None = None) -> str:
        """How far the work is, how long it will take, how fast it goes, and figures: the latest, or these.

        What a narrow terminal cuts off comes last.
        """
        share = f"{self.done / self.total:.0%}" if self.total else ""
        place = self.place or f"{self.done}{'' if self.total is None else f'/{self.total}'} {self.unit}"
        figures = self.figures if figures is None else figures
        return "  ".join(filter(None, (self.title, share, place, self._left(), self._speed(), figures)))

    def _speed(self) -> str:
        (begin, before), now = self._recent[0], self._clock()
        if self.done == before or now <= begin:
            return ""
        speed = (self.done - before) / (now - begin)
        return f"{speed:.{0 if speed >= 100 else 1 if speed >= 1 else 2}f} {self.unit}/s"

    def _left(self) -> str:
        done = self.done - self._first
        if self.total is None:
            return ""
        return f"{hours((self._clock() - self._begin) / done * (self.total - self.done))} left" if done else ""

    def _go_on(self) -> None:
        """After other work, whose time is none of this one's speed."""
        self._recent = deque([(self._clock(), self.done)])

    def _look_after(self) -> None:
        if hasattr(signal, "pthread_sigmask"):  # signals are for the main thread
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self._ended.wait(REDRAW):
            if self._clock() >= min(self._next_line, self._next_drawing):
                self.show()


def track(items: Iterable[Item], title: str, total: int, unit: str = "videos") -> Iterator[Item]:
    """Yields the items and shows how many are done: all but the one that the caller works on."""
    with Progress(title, total, unit) as progress:
        for item in items:
            yield item
            progress.add()


def on_terminal() -> bool:
    """Whether standard error is a terminal that can redraw a line."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


@contextmanager
def line_aside() -> Iterator[None]:
    """Takes the terminal's line away for what else is written there, and draws it again."""
    with _lock:
        _erase()
        yield
        if _running and on_terminal():
            _draw(_running[-1].line())


def _draw(line: str) -> None:
    width = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # 0: not known
    sys.stderr.write(CLEAR + line[: width - 1])
    sys.stderr.flush()


def _erase() -> None:
    if _running and on_terminal():
        sys.stderr.write(CLEAR)
        sys.stderr.flush()


def _write_line(line: str) -> None:
    if log.isEnabledFor(logging.INFO):
        log.info("%s", line, extra={SHOWN: True})
    elif not on_terminal():
        print(time.strftime("%Y-%m-%d %H:%M:%S"), line, file=sys.stderr, flush=True)


def _forget() -> None:
    """In a process that was forked: what is under way is its parent's."""
    global _lock
    _lock = threading.RLock()
    _running.clear()


# No process is forked while another thread writes: the child would find the stream locked, and wait for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: _lock.acquire(), after_in_parent=lambda: _lock.release(), after_in_child=_forget)


def hours(seconds: float) -> str:
    """`h:mm:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
