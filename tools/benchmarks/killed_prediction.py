"""predict.py run to its end, undisturbed or killed at moments and started again, and whether its rows are all there."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from echoviewclip.tools.benchmarks.cases import ROOT
from echoviewclip.tools.benchmarks.memory_over_time import Held, MemoryWatch, Sample, cpu_seconds, held_by_role
from echoviewclip.utils.errors import STOPPED, UserError
from echoviewclip.utils.progress import Progress

LOOK = 0.05  # seconds between two looks at the parts
SIGN = "answers come"  # predict.py says it when it has started
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)  # of which each kill is one
ENDS = {0, 1}  # codes of a prediction that has ended; 1: files could not be read
MOST_NAMED = 3  # rows that a fault names

Row = dict[str, object]


@dataclass(frozen=True)
class Task:
    """predict.py on a list of `rows`, in parts of `part_size`, by so many reading processes."""

    list_file: Path
    checkpoint: Path
    rows: int
    part_size: int
    workers: int

    def command(self, output: Path) -> list[str]:
        """predict.py and its arguments."""
        command = [sys.executable, "predict.py", str(self.list_file), "--resume", str(self.checkpoint)]
        numbers = ["--part-size", str(self.part_size), "--workers", str(self.workers)]
        return [*command, "--output", str(output), "--device", "cpu", *numbers]


@dataclass
class Life:
    """A process from its start to its end: seconds of a clock; `working` is when it had started, None if it had not.

    `kill` names the signal that ended it; empty if it ended by itself. `cpu` are the processors' seconds of it and of
    its reading processes, but for those that a SIGKILL took along; `cpu_start` those of its start.
    """

    begin: float
    working: float | None = None
    end: float = 0.0
    kill: str = ""
    cpu: float = 0.0
    cpu_start: float = 0.0

    @property
    def worked(self) -> float:
        """Seconds that it answered, without its start."""
        return self.end - self.working if self.working is not None else 0.0

    @property
    def cpu_worked(self) -> float:
        """The same in processors' seconds."""
        return self.cpu - self.cpu_start if self.working is not None else 0.0


@dataclass
class Run:
    """A prediction from its first start to its last end."""

    lives: list[Life] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of all lives, with their starts."""
        return sum(life.end - life.begin for life in self.lives)

    @property
    def worked(self) -> float:
        """Of all lives, without their starts."""
        return sum(life.worked for life in self.lives)

    @property
    def cpu_worked(self) -> float:
        """The same in processors' seconds, which other work on the machine hardly changes."""
        return sum(life.cpu_worked for life in self.lives)

    def held(self) -> list[Held]:
        """The memory of its processes."""
        last = self.lives[-1]
        return held_by_role(self.samples, last.begin if last.working is None else last.working)


def predict(task: Task, output: Path, kills: Sequence[tuple[float, signal.Signals]] = (), pause: float = 0.0) -> Run:
    """Runs the prediction until it ends; raises UserError where it fails.

    Each of `kills` is a share of all parts and a signal for the whole group of processes: it is sent once that share is
    written, a random time of at most `pause` seconds later, by a generator whose seed is the share.
    """
    run, waiting = Run(), list(kills)
    with Progress("predict, killed" if kills else "predict", task.rows, "rows") as progress, MemoryWatch() as watch:
        while True:
            life, code = _live(task, output, waiting, pause, watch, progress)
            run.lives.append(life)
            if not life.kill:
                break
    run.samples = watch.samples
    if code not in ENDS:
        raise UserError(f"predict.py ended with code {code}; its words are in {_words(output)}")
    return run


def _live(
    task: Task,
    output: Path,
    waiting: list[tuple[float, signal.Signals]],
    pause: float,
    watch: MemoryWatch,
    progress: Progress,
) -> tuple[Life, int]:
    life, parts, before = Life(time.monotonic()), -(-task.rows // task.part_size), _cpu_of_children()
    with _words(output).open("a", encoding="utf-8") as words:
        process = subprocess.Popen(
            task.command(output), cwd=ROOT, stdout=words, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        watch.watch(process.pid)
        listener = threading.Thread(target=_listen, args=(process, life, words), daemon=True)
        listener.start()
        try:
            while process.poll() is None:
                done = sum(1 for _ in (output / "parts").glob("*.jsonl"))
                if done:
                    progress.move(
                        max(progress.done, min(task.rows, done * task.part_size))
                    )  # parts are removed at the end
                if waiting and done >= waiting[0][0] * parts:
                    share, number = waiting.pop(0)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(random.Random(share).uniform(0, pause))
                    life.kill = _kill(process, number)
                    break
                time.sleep(LOOK)
            code = process.wait()
        finally:
            watch.watch(0)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        life.end, life.cpu = time.monotonic(), _cpu_of_children() - before
        listener.join()
    return life, code


def _kill(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Sends a signal to the group and waits for the end; its name, or nothing if the program had ended before."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    code = process.wait()
    if code in ENDS:
        return ""
    if code not in (STOPPED, -number):
        raise UserError(f"{number.name} ended predict.py with code {code}, expected {STOPPED} or {-number}")
    return number.name


def _listen(process: subprocess.Popen[str], life: Life, words: object) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if SIGN in line and life.working is None:
            life.working, life.cpu_start = time.monotonic(), cpu_seconds(process.pid)
        print(line, end="", file=words, flush=True)  # type: ignore[call-overload]


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _words(output: Path) -> Path:
    return output.with_suffix(".log")


def draw_kills(count: int, seed: int) -> list[tuple[float, signal.Signals]]:
    """So many kills at random shares of the work, in order; the first by SIGKILL, of several the last by SIGTERM."""
    chance = random.Random(seed)
    shares = sorted(chance.uniform(0.02, 0.95) for _ in range(count))
    numbers = [chance.choice(SIGNALS) for _ in shares]
    numbers[:1] = [signal.SIGKILL] * min(count, 1)
    if count > 1:
        numbers[-1] = signal.SIGTERM
    return list(zip(shares, numbers, strict=True))


def read_rows(output: Path) -> Iterator[Row]:
    """The answers of a prediction that has ended, in order."""
    with (output / "predictions.jsonl").open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def find_faults(files: Sequence[str], expected: Sequence[Row], found: Sequence[Row]) -> list[str]:
    """What is wrong with the rows `found` about `files`, of which each must be there once, as in `expected`; a line
    each for rows that are missing, that are there twice, of files that nobody named, and that are not the same."""
    counts, right = Counter(str(row["file"]) for row in found), {str(row["file"]): row for row in expected}
    named = set(files)
    wrong = {
        "missing": [file for file in files if file not in counts],
        "there more than once": [file for file, count in counts.items() if count > 1],
        "of files that are not in the list": [file for file in counts if file not in named],
        "not as undisturbed": [str(row["file"]) for row in found if right.get(str(row["file"]), row) != row],
    }
    faults = [f"{len(rows)} rows {what}: {', '.join(rows[:MOST_NAMED])}" for what, rows in wrong.items() if rows]
    if not faults and [str(row["file"]) for row in found] != list(files):
        faults.append("the rows are not in the order of the list")
    return faults
