"""What a run tells: log.txt and the terminal for people, metrics.jsonl and TensorBoard for programs."""

from __future__ import annotations

import json
import logging
import math
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoviewclip.utils.distributed import is_main
from echoviewclip.utils.files import atomic_path, flush, make_folder, writing
from echoviewclip.utils.progress import SHOWN, line_aside, on_terminal

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


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
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s", f"{day}%H:%M:%S"))
        root.addHandler(handler)
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, *_, **__: str(message)
    for noisy in ("httpx", "huggingface_hub", "open_clip", "matplotlib", "PIL", "pydicom"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


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


class MetricsLog:
    """Appends one JSON object a line to `metrics.jsonl`, and its numbers to TensorBoard's event file.

    The main process alone writes. `lines` is how many there are; a checkpoint keeps the number, so that a run that goes
    on from it can drop what was written after it.
    """

    def __init__(self, folder: Path) -> None:
        """Starts anew: lines that a run left which was killed before its first checkpoint are dropped."""
        self.file = folder / "metrics.jsonl"
        self.folder = folder
        self.lines = 0
        self._begun = False
        self._first_step = 0
        self._board: SummaryWriter | None = None

    def go_on(self, source: Path, lines: int | None, step: int) -> None:
        """Goes on after the first `lines` lines that the run has in the folder `source`, after optimiser step `step`.

        Checkpoints of an earlier version do not know the number; then lines up to `step` are kept.
        """
        if not is_main():
            return
        file = source / self.file.name
        # What follows the last line break was cut off.
        found = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
        kept = [line for line in found if _step_of(line) <= step] if lines is None else found[:lines]
        self._begin(kept)
        self._first_step = step + 1

    def write(self, step: int, **record: Any) -> None:
        """`record` maps a group (`train`, `val`) to its name → number dict."""
        if not is_main():
            return
        if not self._begun:
            self._begin([])
        with writing(self.file):
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"step": step, **record}) + "\n")
            self.lines += 1
            self._draw(step, record)

    def flush(self) -> None:
        """Waits until the lines are on the disk, as a checkpoint that counts them will be."""
        if self._begun:
            flush(self.file)

    def _begin(self, kept: list[bytes]) -> None:
        with atomic_path(self.file) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in kept))
        self.lines, self._begun = len(kept), True

    def _draw(self, step: int, record: dict[str, Any]) -> None:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self._first_step)
        for group, values in record.items():
            if isinstance(values, dict):
                for name, value in values.items():
                    if isinstance(value, int | float):
                        self._board.add_scalar(f"{group}/{name}", value, step)
        self._board.flush()


def _step_of(line: bytes) -> float:
    """The step that a line of metrics.jsonl tells; infinite where the line cannot be read."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf
