"""Measures how fast this machine is: python tools/benchmark.py COMMAND [--json FILE].

rows     reading training clips from lists of 1,000 to 100,000 videos: rate and memory
data     what a worker needs for a training clip, from a video as a hospital has it and from the same prepared
forward  a batch of clips to its answers: view; and in or out of distribution; and quality
train    an optimiser step of each stage
cache    the same from reading the videos, whole and from cached features (TRAIN.CACHE_FEATURES)
predict  from video files to answers
black    forward passes and training steps with and without the patches that are black (MODEL.DROP_BLACK)
memory   the most memory that forward passes and training steps hold
intervals  the figures of an evaluation with their intervals, on made-up predictions
start    main.py --help, main.py to the first step, predict.py on one file

Models have random weights; `plain` is the published model as its definition reads, in float32. Compared forms take
turns in one process, so their ratios hold on a busy machine. See docs/performance.md and docs/data.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

if __name__ == "__main__":  # before anything that takes time is imported
    from echoviewclip.utils.huge_pages import start_with_huge_pages

    start_with_huge_pages()

import torch

from echoviewclip.clip.architectures import REGISTRY_NAME, SMALL
from echoviewclip.tools.benchmarks import (
    black,
    cache,
    clips,
    forward,
    intervals,
    memory,
    prediction,
    result,
    rows,
    start,
    training,
)
from echoviewclip.tools.benchmarks.cases import Setting
from echoviewclip.utils.errors import UserError, exit_code

ROUNDS = {
    "forward": forward.benchmark_forward,
    "train": training.benchmark_train,
    "predict": prediction.benchmark_predict,
}
CPU = torch.device("cpu")
CPU_BATCH, GPU_BATCH = 2, 16  # videos, unless --batch says


def parse() -> argparse.Namespace:
    """The command line. Raises UserError for a number out of its bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="benchmark", required=True)
    data = commands.add_parser("data", help="clips per second and core, as recorded and prepared")
    data.add_argument("--seconds", type=float, default=5, help="time for each of the six steps (default: 5)")
    lists = commands.add_parser("rows", help="reading by how long the list is")
    lists.add_argument("--lists", type=int, nargs="+", default=rows.ROWS, help=f"rows (default: {rows.ROWS})")
    lists.add_argument("--clips", type=int, default=20_000, help="that are read of each (default: 20000)")
    for name in (*ROUNDS, "cache", "black", "memory"):
        model = commands.add_parser(name)
        model.add_argument("--arch", choices=(*SMALL, *REGISTRY_NAME), default="ViT-B/16", help="(default: ViT-B/16)")
        model.add_argument("--batch", type=int, help=f"videos (default: {CPU_BATCH}, on a GPU {GPU_BATCH})")
        if name in ("forward", "train"):
            model.add_argument("--compile", action="store_true", help="measure TRAIN.COMPILE, too")
        model.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    figures = commands.add_parser("intervals", help="figures of a large evaluation with their intervals")
    figures.add_argument("--videos", type=int, default=200_000, help="(default: 200000)")
    figures.add_argument("--draws", type=int, default=1000, help="TEST.BOOTSTRAP_DRAWS (default: 1000)")
    commands.add_parser("start", help="how long one waits for a command")
    for name in (*ROUNDS, "cache", "black", "start"):
        commands.choices[name].add_argument("--repeats", type=int, default=5, help="measured rounds (default: 5)")
    for command in commands.choices.values():
        command.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    given = parser.parse_args()
    for name, least in (
        ("seconds", 0),
        ("batch", 1),
        ("repeats", 1),
        ("clips", 1),
        ("lists", 1),
        ("videos", 100),
        ("draws", 1),
    ):
        value = getattr(given, name, None)
        value = min(value) if name == "lists" and value else value
        if value is not None and not value >= least:
            raise UserError(f"--{name} must be at least {least}, found {value}")
    return given


def main() -> int:
    """Runs the benchmark that the command line names, prints its table and writes its file."""
    given = parse()
    device, found = run(given)
    if given.json:
        result.write(given.json, given.benchmark, device, vars(given), found)
    return 0


def run(given: argparse.Namespace) -> tuple[torch.device, Sequence[object]]:
    """Prints a table; returns on what was measured and its rows, dataclasses or plain values."""
    if given.benchmark == "data":
        torch.set_num_threads(1)
        recorded, prepared = clips.benchmark_data(given.seconds)
        clips.show(recorded, prepared, result.processor())
        both = {"recorded": recorded, "prepared": prepared}
        return CPU, [{"video": name, "ms (wall, CPU)": times} for name, times in both.items()]
    if given.benchmark == "rows":
        torch.set_num_threads(1)
        lists = rows.benchmark_rows(given.lists, given.clips)
        rows.show(lists, given.clips, result.processor())
        return CPU, lists
    if given.benchmark == "intervals":
        drawn = intervals.benchmark_intervals(given.videos, given.draws)
        intervals.show(drawn, given.draws, result.processor())
        return CPU, [drawn]
    if given.benchmark == "start":
        started = start.benchmark_start(given.repeats)
        start.show(started, result.device_words(CPU))
        return CPU, started
    setting = setting_of(given)
    data = setting.config("view", "ours").DATA
    about = f"{given.arch}, {setting.batch} videos of {data.NUM_FRAMES} frames at {data.INPUT_SIZE}×{data.INPUT_SIZE}"
    about += f", on {result.device_words(setting.device)}"
    if given.benchmark == "memory":
        held = memory.benchmark_memory(setting)
        memory.show(held, about)
        return setting.device, held
    if given.benchmark == "cache":
        stages = cache.benchmark_cache(setting, given.repeats)
        cache.show(stages, about)
        return setting.device, stages
    if given.benchmark == "black":
        dropped = black.benchmark_black(setting, given.repeats)
        result.show(dropped.rows, about)
        black.show(dropped)
        return setting.device, [*dropped.rows, {"share of black patches": dropped.black}]
    measured = ROUNDS[given.benchmark](setting, given.repeats)
    result.show(measured, about)
    return setting.device, measured


def setting_of(given: argparse.Namespace) -> Setting:
    """What is measured on what. Raises UserError where CUDA is asked for and absent."""
    if given.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, but no CUDA device is visible")
    cuda = given.device != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
    batch = given.batch or (GPU_BATCH if cuda else CPU_BATCH)
    return Setting(given.arch, batch, device, compile=getattr(given, "compile", False))


if __name__ == "__main__":
    sys.exit(exit_code(main))
