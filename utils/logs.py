"""What a run tells: log.txt and the terminal for people, metrics.jsonl and TensorBoard for programs."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from utils.distributed import is_main
from utils.files import write_text


def set_up_logging(folder: Path | None) -> None:
    """Sends the log to the terminal and, with a folder, to `folder/log.txt`; only the main process speaks."""
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.INFO if is_main() else logging.ERROR)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if folder is not None and is_main():
        folder.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(folder / "log.txt", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
        root.addHandler(handler)
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, *_, **__: str(message)
    for noisy in ("httpx", "huggingface_hub", "open_clip", "matplotlib", "PIL", "pydicom"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class MetricsLog:
    """Appends one JSON object a line to `metrics.jsonl`, and its numbers to TensorBoard's event file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "metrics.jsonl"
        self.folder = folder
        self._board = None

    def write(self, step: int, **record: Any) -> None:
        """`record` maps a group (`train`, `val`) to its name → number dict; the main process writes."""
        if not is_main():
            return
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": step, **record}) + "\n")
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / "tensorboard"))
        for group, values in record.items():
            if isinstance(values, dict):
                for name, value in values.items():
                    if isinstance(value, int | float):
                        self._board.add_scalar(f"{group}/{name}", value, step)
        self._board.flush()

    def rewind(self, step: int) -> None:
        """Drops what was written after `step`, which a resumed run will write again."""
        if is_main() and self.file.is_file():
            lines = self.file.read_text(encoding="utf-8").split("\n")[:-1]  # a line that was cut off has no end
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            write_text(self.file, "".join(f"{line}\n" for line in kept))


class Clock:
    """Time spent and time left of work in equal pieces."""

    def __init__(self, pieces: int, done: int = 0) -> None:
        self.pieces, self.first = pieces, done
        self.start = time.monotonic()

    def left(self, done: int) -> str:
        """`h:mm:ss` until all pieces are done, `done` of them being so now."""
        rate = (time.monotonic() - self.start) / max(done - self.first, 1)
        return hours(rate * (self.pieces - done))


def hours(seconds: float) -> str:
    """`h:mm:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
