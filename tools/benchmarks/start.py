"""How long one waits: for --help, for the first training step, for the answer about one file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoviewclip.phantom.study.files import write_video
from echoviewclip.tools.benchmarks.cases import LABELS, ROOT
from echoviewclip.tools.benchmarks.clips import speckle
from echoviewclip.utils.errors import UserError, first_line
from echoviewclip.utils.label_list import read_names

VIDEOS, SIDE, LENGTH = 8, 112, 16  # of the made-up data set
FIRST_STEP = "batch 1/"  # what the log says after it


@dataclass(frozen=True)
class Started:
    """A command's wall seconds until it showed what is waited for: median, least and most; and processors' seconds of
    its whole life, whose median hardly depends on what else the machine does."""

    work: str
    seconds: float
    least: float
    most: float
    cpu_seconds: float


def benchmark_start(repeats: int) -> list[Started]:
    """Each command `repeats` times, in turn, after once unmeasured, which fills the system's cache of files."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_data(data)
        commands = {
            "main.py --help": ([sys.executable, "main.py", "--help"], ""),
            "main.py to the first step": (training(data, "again"), FIRST_STEP),
            "predict.py, one file": (prediction(data), ""),
        }
        clock(training(data), "")  # to its end: whose checkpoint predict.py reads
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(repeats + 1):
            for name, (command, sign) in commands.items():
                times = clock(command, sign)
                if turn:
                    found[name].append(times)
    return [summary(name, np.array(times)) for name, times in found.items()]


def write_data(folder: Path) -> None:
    """A few videos and the lists that train on them and validate on the first two."""
    (folder / "videos").mkdir()
    video, names = speckle(LENGTH, SIDE), read_names(LABELS)
    for number in range(VIDEOS):
        write_video(folder / f"videos/{number}.avi", video, fps=30)
    lines = [f"{number}.avi {number % len(names)}\n" for number in range(VIDEOS)]
    (folder / "train.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "val.txt").write_text("".join(lines[:2]), encoding="utf-8")


def training(data: Path, run: str = "run") -> list[str]:
    """A training of the tiny tower from its shipped weights, one step long, in a folder beside the data."""
    options = {
        "DEVICE": "cpu",
        "DATA.ROOT": data,
        "DATA.TRAIN_FILE": "train.txt",
        "DATA.VAL_FILE": "val.txt",
        "DATA.LABEL_LIST": LABELS,
        "DATA.NUM_CLASSES": len(read_names(LABELS)),
        "TRAIN.EPOCHS": 1,
        "TRAIN.WARMUP_EPOCHS": 0,
        "TRAIN.BATCH_SIZE": VIDEOS,
        "PRINT_FREQ": 1,
    }
    pairs = [str(word) for pair in options.items() for word in pair]
    command = [sys.executable, "main.py", "-cfg", "configs/phantom/view.yaml", "--overwrite"]
    return [*command, "--output", str(data / run), "--opts", *pairs]


def prediction(data: Path) -> list[str]:
    """An answer about one file by the checkpoint of `training`."""
    command = [sys.executable, "predict.py", str(data / "videos/0.avi"), "--resume", str(data / "run/last.pth")]
    return [*command, "--device", "cpu", "--output", str(data / "predict")]


def clock(command: Sequence[str], sign: str) -> tuple[float, float]:
    """Wall seconds until a line of its output holds `sign` (empty: until it ends), and its processors' seconds.

    A command whose sign was seen is ended. Raises UserError where it fails.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    seconds, said = 0.0, []
    for line in process.stdout:
        said.append(line)
        if sign and sign in line:
            seconds = time.perf_counter() - begin
            os.killpg(process.pid, signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if not seconds:
        seconds = time.perf_counter() - begin
        if sign or process.returncode:
            reason = first_line(RuntimeError("".join(said[-1:])))
            raise UserError(f"{' '.join(command[1:3])}: ended with code {process.returncode}: {reason}")
    return seconds, used.ru_utime + used.ru_stime


def summary(work: str, times: np.ndarray) -> Started:
    """Of times [R, 2], wall and processors'."""
    wall, used = times.T
    return Started(work, float(np.median(wall)), float(wall.min()), float(wall.max()), float(np.median(used)))


def show(rows: Sequence[Started], about: str) -> None:
    """Prints a table."""
    print(f"{about}\n")
    print(f"{'':28}{'s':>8}{'least':>8}{'most':>8}{'CPU s':>8}")
    for row in rows:
        print(f"{row.work:28}{row.seconds:>8.2f}{row.least:>8.2f}{row.most:>8.2f}{row.cpu_seconds:>8.2f}")
