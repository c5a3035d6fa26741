"""Kills trainings at random and compares what they leave: python tools/soak.py [--kills N] [--minutes M] [--seed S].

Trainings on tiny videos, of the three stages, in 1 or 2 processes, with and without reading processes, moving average,
accumulation, at O0, O1 and O2, are killed at random moments (SIGKILL of the program, of one of its processes, of a
reading process; SIGTERM, SIGUSR1) and resumed, until they end. Then all their files must equal those of the same
training undisturbed: checkpoints to the bit, metrics.jsonl, metrics.json, predictions.csv, the report. What fails is
kept, and the exit code is 1. Linux only. See docs/reliability.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

if not __package__:  # started as a file
    ROOT = Path(__file__).resolve().parents[1]
    sys.path[:1] = [str(ROOT / "src"), str(ROOT)]  # the second for the tests' own means

import torch
import torch.utils.tensorboard  # here, so that no training has to wait for it

from echoviewclip.utils.errors import STOPPED, exit_code
from tests.forked import children, start, wait
from tests.tiny_data import STAGES, assert_same_files, tiny_options, write_standard_folder

PER_CASE = 6  # kills, before another case is taken
KINDS = ("program", "process", "reader", "SIGTERM", "SIGUSR1")
SETTINGS = {
    "SAVE_FREQ": 1,
    "PRINT_FREQ": 2,
    "TRAIN__EPOCHS": 2,
    "TRAIN__AUTO_RESUME": True,
    "TRAIN__SAVE_MINUTES": 0.005,
    "TRAIN__TIMEOUT": 60.0,
    "AUG__MIXUP": 0.8,
    "AUG__FLIP": 0.5,
    "AUG__ERASING": 0.5,
    "AUG__BACKGROUND_SWAP": 0.5,
    "MODEL__DROP_PATH_RATE": 0.3,
}


@dataclass(frozen=True)
class Case:
    """One way of training."""

    stage: str
    processes: int
    workers: int
    average: float
    accumulation: int
    level: str

    def command(self, data: Path, output: Path, resume: str) -> list[str]:
        """main.py and its arguments."""
        options = tiny_options(
            data,
            output,
            self.stage,
            **SETTINGS,
            MODEL__RESUME=resume,
            DATA__NUM_WORKERS=self.workers,
            TRAIN__EMA_DECAY=self.average,
            TRAIN__ACCUMULATION_STEPS=self.accumulation,
            TRAIN__OPT_LEVEL=self.level,
        )
        words = (str(word) for pair in options for word in pair)
        return ["main.py", "-cfg", f"configs/phantom/{self.stage}.yaml", "--opts", *words]


def all_cases(chance: random.Random) -> list[Case]:
    """Every combination, in a random order."""
    found = [
        Case(*parts) for parts in itertools.product(STAGES, (1, 2), (0, 2), (0.0, 0.9), (1, 2), ("O0", "O1", "O2"))
    ]
    chance.shuffle(found)
    return found


def strike(case: Case, program: int, kind: str, chance: random.Random) -> str:
    """Kills or asks to stop; what was struck."""
    ranks = children(program) if case.processes > 1 else [program]
    targets = {"process": ranks if case.processes > 1 else [], "reader": [r for rank in ranks for r in children(rank)]}
    chosen = targets.get(kind) or [program]
    number = getattr(signal, kind, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(chance.choice(chosen), number)
    return kind if targets.get(kind) or kind not in targets else "program"


EXPECTED = {
    "program": {0, -signal.SIGKILL},
    "process": {0, 128 + signal.SIGKILL, STOPPED},
    "reader": {0, 2},
    "SIGTERM": {0, STOPPED, -signal.SIGTERM, 128 + signal.SIGTERM},  # the last before the training has begun
    "SIGUSR1": {0, STOPPED, -signal.SIGUSR1, 128 + signal.SIGUSR1},
}


class Failed(Exception):
    """A training did not do as promised."""


class Soak:
    """The trainings and the account of kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.data = write_standard_folder(folder / "data")
        self.kills: Counter[str] = Counter()
        self.chains = self.cases = 0
        self.earlier = {"view": ""}
        for stage, following in (("view", "negation"), ("negation", "quality")):
            self._undisturbed(Case(stage, 1, 0, 0.0, 1, "O0"), folder / stage)
            self.earlier[following] = str(folder / stage / "last.pth")

    def run(self, kills: int, seconds: float) -> None:
        """Until so many kills are made, or the time is over."""
        until = time.monotonic() + seconds
        for case in itertools.cycle(all_cases(self.chance)):
            if self.kills.total() >= kills or time.monotonic() > until:
                return
            self._case(case, min(kills, self.kills.total() + PER_CASE))

    def _case(self, case: Case, kills: int) -> None:
        run, whole = self.folder / "run", self.folder / "whole"
        for folder in (run, whole):
            shutil.rmtree(folder, ignore_errors=True)
        took = self._undisturbed(case, run)
        run.rename(whole)  # checkpoints name their folder: both trainings run in the same one
        self.cases += 1
        while self.kills.total() < kills:
            shutil.rmtree(run, ignore_errors=True)
            struck = self._chain(case, run, took)
            try:
                assert_same_files(run, whole)
            except AssertionError as error:
                raise Failed(f"{case}, struck {struck}: other files than undisturbed: {error}") from None
            self.chains += 1
            print(
                f"{self.kills.total():4d} kills  {' '.join(map(str, astuple(case))):28s}  {', '.join(struck)}",
                flush=True,
            )

    def _undisturbed(self, case: Case, run: Path) -> float:
        """Trains to the end; the seconds it took."""
        begin = time.monotonic()
        code = wait(start(case.processes, self._command(case, run), self.folder / "log.txt"), 600)
        if code != 0:
            raise Failed(f"{case}: ended with {code}")
        return time.monotonic() - begin

    def _command(self, case: Case, run: Path) -> list[str]:
        return case.command(self.data, run, self.earlier[case.stage])

    def _chain(self, case: Case, run: Path, took: float) -> list[str]:
        """Trains to the end, killed at random moments; what was struck."""
        struck: list[str] = []
        log = self.folder / "log.txt"
        while True:
            log.unlink(missing_ok=True)
            program = start(case.processes, self._command(case, run), log)
            code, kind = wait(program, self.chance.uniform(0.0, 1.1 * took)), ""
            ranks = children(program)
            if code is None:
                kind = strike(case, program, self.chance.choice(KINDS), self.chance)
                struck.append(kind)
                self.kills[kind] += 1
                code = wait(program, 120)
            self._check(case, struck, code, EXPECTED.get(kind, {0}), log)
            if code == 0:
                return struck
            until = time.monotonic() + 10
            while case.processes > 1 and any(Path(f"/proc/{rank}").exists() for rank in ranks):
                if time.monotonic() > until:
                    raise Failed(f"{case}, struck {struck}: processes outlive their launcher")
                time.sleep(0.005)

    def _check(self, case: Case, struck: list[str], code: int | None, expected: set[int], log: Path) -> None:
        said = log.read_text(errors="replace") if log.exists() else ""
        if code not in expected or "Traceback" in said:
            raise Failed(f"{case}, struck {struck}: ended with {code}, expected {expected}; its words:\n{said[-5000:]}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="default: 200")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="most minutes to take")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def soak() -> int:
    """Kills, compares and sums up."""
    given = parse()
    torch.set_num_threads(1)
    begin = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        work = Soak(folder, given.seed)
        work.run(given.kills, 60 * given.minutes)
    except Failed as failure:
        print(f"{failure}\nkept in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    kinds = ", ".join(f"{count} {kind}" for kind, count in work.kills.most_common())
    print(
        f"{work.kills.total()} kills ({kinds}) in {work.chains} trainings of {work.cases} kinds, "
        f"{(time.monotonic() - begin) / 60:.0f} minutes: all files equal those of the undisturbed trainings"
    )
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(soak))
