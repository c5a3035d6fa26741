"""What a run tells people: the terminal and log.txt."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from echoviewclip.utils.distributed import is_main
from echoviewclip.utils.files import make_folder, writing
from echoviewclip.utils.progress import SHOWN, line_aside, on_terminal
from echoviewclip.utils.urls import without_secrets


def set_up_logging(folder: Path | None, anew: bool = False) -> None:
    """Sends the log to the terminal and, with a folder, to `folder/log.txt`; only the main process speaks.

    `anew` drops what log.txt holds. Raises UserError where the file cannot be written.
    """
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.INFO if is_main() else logging.ERROR)
    handlers: list[logging.Handler] = [Console(sys.stdout)]
    if folder is not None and is_main():
        make_folder(folder)
        with writing(folder / "log.txt"):
            if anew:
                (folder / "log.txt").unlink(missing_ok=True)
            handlers.append(LogFile(folder / "log.txt", encoding="utf-8", errors="backslashreplace"))
    for handler in handlers:
        day = (
            "" if isinstance(handler, Console) and handler.is_terminal else "%Y-%m-%d "
        )  # files are read on other days
        handler.setFormatter(Line("%(asctime)s %(levelname).1s %(message)s", f"{day}%H:%M:%S"))
        root.addHandler(handler)
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, *_, **__: str(message)
    for noisy in ("httpx", "huggingface_hub", "open_clip", "matplotlib", "PIL", "pydicom", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Line(logging.Formatter):
    """A line of the log, in which URLs are without passwords and signatures."""

    def format(self, record: logging.LogRecord) -> str:
        """See the base class."""
        return without_secrets(super().format(record))


class Console(logging.StreamHandler):
    """The log on standard output, which may be the terminal that shows how far the work is (utils/progress.py)."""

    @property
    def is_terminal(self) -> bool:
        """Whether somebody is looking."""
        return self.stream.isatty()

    def handle(self, record: logging.LogRecord) -> Any:
        """Writes a line above the one that shows how far the work is, unless that says the same."""
        if not (self.is_terminal and on_terminal()):
            return super().handle(record)
        if getattr(record, SHOWN, False):
            return False
        with line_aside():  # before this handler's own lock, as a line of progress takes them
            return super().handle(record)


class LogFile(logging.FileHandler):
    """log.txt, whose lines are lost while the disk is full; the terminal has them."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Drops what could not be written, so that it is not tried again with every line."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
            return
        if self.stream is not None:
            with suppress(OSError):
                self.stream.close()
        self.stream = None  # the next line opens the file again
