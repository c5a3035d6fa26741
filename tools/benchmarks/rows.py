"""What reading costs by how long the list is: clips a second, and what the program and its reading process hold."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoviewclip.datasets.configured import read_list, training_data
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.loader import TrainingData
from echoviewclip.phantom.study.files import write_video
from echoviewclip.tools.benchmarks.cases import LABELS, ROOT
from echoviewclip.tools.benchmarks.clips import speckle
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names

ROWS = (1_000, 10_000, 100_000)
FILES, SIDE, LENGTH = 20, 128, 16  # behind all rows, which are links to them
WINDOWS = 20  # of an epoch's clips, in which the lists take turns


@dataclass(frozen=True)
class Rows:
    """A list of a length, read by one process in batches of 16 clips of the small tower.

    Attributes:
        rows: of the list.
        list_seconds: until it is read.
        rate, low, high: clips a second, median and quartiles over the windows.
        ratio: median over the rounds of this rate to that of the first list in the same round.
        first_bytes, last_bytes: memory of the program and of the list's reading process after the first and the last
            window, shared pages counted by share (Pss).
    """

    rows: int
    list_seconds: float
    rate: float
    low: float
    high: float
    ratio: float
    first_bytes: tuple[int, int]
    last_bytes: tuple[int, int]


def benchmark_rows(lengths: Sequence[int], clips: int) -> list[Rows]:
    """So many clips of each list, in windows in which the lists take turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, max(lengths))
        lists = [OpenList(folder, rows) for rows in lengths]
        window = max(1, clips // WINDOWS)
        for opened in lists:
            opened.read(window)  # starts its process, unmeasured
        begin = [opened.held() for opened in lists]
        rates = np.array([[opened.read(window) for opened in lists] for _ in range(WINDOWS)])
        end = [opened.held() for opened in lists]
        for opened in lists:
            opened.close()
    low, middle, high = np.percentile(rates, [25, 50, 75], axis=0)
    ratios = np.median(rates / rates[:, :1], axis=0)
    return [
        Rows(rows, opened.seconds, middle[i], low[i], high[i], ratios[i], begin[i], end[i])
        for i, (rows, opened) in enumerate(zip(lengths, lists, strict=True))
    ]


def write_data(folder: Path, rows: int) -> None:
    """A few prepared videos, and as many links to them as the longest list has rows."""
    (folder / "source").mkdir()
    video = speckle(LENGTH, SIDE)
    for number in range(FILES):
        write_video(folder / f"source/{number}.avi", np.roll(video, number, axis=2), fps=30)
    prepare(folder / "source", folder / "prepared", Options(keep_names=True, crop=False, size=SIDE), workers=1)
    (folder / "videos").mkdir()
    for row in range(rows):
        os.symlink(folder / f"prepared/videos/{row % FILES}.avi", folder / f"videos/{row}.avi")


class OpenList:
    """A list of the first so many links, and an endless run through its epochs."""

    def __init__(self, folder: Path, rows: int) -> None:
        classes = len(read_names(LABELS))
        file = folder / f"{rows}.txt"
        file.write_text("".join(f"{row}.avi {row % classes}\n" for row in range(rows)), encoding="utf-8")
        options = {
            "DATA.ROOT": str(folder),
            "DATA.ALLOW_OUTSIDE": True,
            "DATA.TRAIN_FILE": str(file),
            "DATA.LABEL_LIST": str(LABELS),
            "DATA.NUM_CLASSES": classes,
            "DATA.NUM_WORKERS": 1,
        }
        config = load_config(ROOT / "configs/phantom/view.yaml", list(options.items()))
        begin = time.perf_counter()
        annotations = read_list(config, str(file))
        self.seconds = time.perf_counter() - begin
        self.data = training_data(config, annotations)
        self.clips = batches(self.data)

    def read(self, clips: int) -> float:
        """Reads at least so many clips; clips a second."""
        begin, done = time.perf_counter(), 0
        while done < clips:
            done += next(self.clips)
        return done / (time.perf_counter() - begin)

    def held(self) -> tuple[int, int]:
        """Bytes that the program and this list's reading process hold, shared pages by share."""
        (worker,) = self.data.loader._iterator._workers  # type: ignore[union-attr]
        return proportional_bytes(os.getpid()), proportional_bytes(worker.pid)

    def close(self) -> None:
        """Ends the reading process."""
        self.clips.close()
        self.data.loader._iterator = None


def batches(data: TrainingData) -> Generator[int, None, None]:
    """The number of clips of one batch after the other, epoch after epoch."""
    epoch = 0
    while True:
        for batch in data.epoch(epoch):
            yield len(batch.video)
        epoch += 1


def proportional_bytes(process: int) -> int:
    """Linux's Pss of a process. Raises UserError on other systems."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        raise UserError("the memory of a process is read in /proc, which this system has not") from None
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def show(lists: Sequence[Rows], clips: int, about: str) -> None:
    """Prints a table."""
    print(f"{clips} training clips of 4 frames at 112×112 of each list, one reading process each, on {about}\n")
    print(
        f"{'rows':>9}{'s to read it':>14}{'clips/s (quartiles)':>28}{'ratio':>8}{'MB, program':>18}{'MB, reading':>18}"
    )
    for found in lists:
        rate = f"{found.rate:.0f} ({found.low:.0f}–{found.high:.0f})"
        held = [f"{a / 1e6:.0f} → {b / 1e6:.0f}" for a, b in zip(found.first_bytes, found.last_bytes, strict=True)]
        print(f"{found.rows:>9}{found.list_seconds:>14.2f}{rate:>28}{found.ratio:>8.3f}{held[0]:>18}{held[1]:>18}")
