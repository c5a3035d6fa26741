"""Resident memory of a group of processes over time: samples, peaks, how fast it grows, a picture."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echoviewclip.utils.errors import UserError

EVERY = 1.0  # seconds between two samples
PROGRAM, OTHER = "program", "reading processes"
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """What a process held: `seconds` of time.monotonic, `held` in bytes, pages that are shared counted in full."""

    seconds: float
    process: int
    role: str
    held: int


@dataclass(frozen=True)
class Held:
    """Of all processes of a role: the most that one held, and bytes a minute by which the most at a time grew in the
    second half of the last life's work; 0 for fewer than three samples."""

    role: str
    processes: int
    peak: int
    growth: float


class MemoryWatch:
    """Samples, once a second in a thread, every process of the groups that are watched, one group after the other."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._group, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        if not Path("/proc/self/statm").is_file():
            raise UserError("the memory of a process is read in /proc, which this system has not")

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def watch(self, group: int) -> None:
        """From now on the processes of this group; its number is that of the program."""
        self._group = group

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            if group := self._group:
                now = time.monotonic()
                found = ((process, resident(process)) for process in processes_of(group))
                self.samples += [
                    Sample(now, process, PROGRAM if process == group else OTHER, held)
                    for process, held in found
                    if held
                ]


def processes_of(group: int) -> list[int]:
    """The processes of a group that live now."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[2]) == group:
            found.append(int(process))
    return found


def cpu_seconds(process: int) -> float:
    """Processors' seconds that a process has taken; 0 if it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    return sum(map(int, text.rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> int:
    """Bytes of memory that a process has now; 0 if it has ended."""
    try:
        return PAGE * int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0


def held_by_role(samples: Sequence[Sample], since: float = 0.0) -> list[Held]:
    """Peak and growth for each role that occurs; growth is that `since` the last life began to work."""
    found = []
    for role in dict.fromkeys(sample.role for sample in samples):
        own = [sample for sample in samples if sample.role == role]
        processes = len({sample.process for sample in own})
        late = [sample for sample in own if sample.seconds >= since]
        found.append(Held(role, processes, max(sample.held for sample in own), growth(*curve(late))))
    return found


def curve(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """The most that a process held at each time: seconds `[n]`, bytes `[n]`."""
    most: dict[float, int] = {}
    for sample in samples:
        most[sample.seconds] = max(most.get(sample.seconds, 0), sample.held)
    return np.array(list(most), float), np.array(list(most.values()), float)


def growth(seconds: np.ndarray, held: np.ndarray) -> float:
    """Bytes a minute, by least squares over the second half of the time."""
    if len(seconds) < 3 or (late := seconds >= (seconds[0] + seconds[-1]) / 2).sum() < 3:
        return 0.0
    return float(60 * np.polyfit(seconds[late], held[late], 1)[0])


def draw(file: Path, runs: Mapping[str, Sequence[Sample]], kills: Mapping[str, Sequence[float]]) -> None:
    """A panel for each run: what each role held over its minutes, and dotted lines where it was killed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(runs), 1, figsize=(8, 2.4 * len(runs)), squeeze=False, layout="constrained")
    for axis, (name, samples) in zip(axes[:, 0], runs.items(), strict=True):
        begin = samples[0].seconds if samples else 0.0
        for role, colour in ((PROGRAM, "#1f4e79"), (OTHER, "#c0703a")):
            own = [sample for sample in samples if sample.role == role]
            seconds, held = curve(own)
            # A line through all lives would bridge the time between them.
            pause = np.flatnonzero(np.diff(seconds) > 3 * EVERY) + 1
            seconds, held = np.insert(seconds, pause, np.nan), np.insert(held, pause, np.nan)
            axis.plot((seconds - begin) / 60, held / 1e6, color=colour, linewidth=1.2, label=role)
        for number, moment in enumerate(kills.get(name, ())):
            label = "killed" if number == 0 else None
            axis.axvline((moment - begin) / 60, color="#888888", linewidth=0.8, linestyle=":", label=label)
        axis.set_title(name, loc="left", fontsize=10)
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        axis.set_ylabel("MB resident")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8, ncols=3, loc="lower right")
    axes[-1, 0].set_xlabel("minutes")
    figure.savefig(file, dpi=130)
    pyplot.close(figure)
