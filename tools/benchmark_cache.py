"""Measures what TRAIN.CACHE_FEATURES saves: python tools/benchmark_cache.py -cfg FILE [--steps N] [--opts KEY VALUE …].

FILE configures stage negation or quality. Its model begins with random weights and trains on videos that are made for
it, prepared ones of 224×224 (phantom: the configuration's size). One thread; steps of both kinds take turns, and the
medians count. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

import numpy as np
import torch
from yacs.config import CfgNode

from echoviewclip.datasets.configured import class_names, training_data
from echoviewclip.inference.precision import Precision
from echoviewclip.models.build import build_model, configured_towers
from echoviewclip.phantom.study.files import write_video
from echoviewclip.tools.benchmarks.clips import speckle
from echoviewclip.tools.benchmarks.result import processor
from echoviewclip.trainers.data import read_list
from echoviewclip.trainers.feature_cache import FeatureCache
from echoviewclip.trainers.inputs import Batch, Inputs, PixelInputs
from echoviewclip.trainers.loop import Trainer
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.label_list import read_names
from echoviewclip.utils.stopping import Stop

LENGTH = 32  # frames of a video
PARTS = ("batch", "gradients", "update")  # of a step

Times = dict[str, list[tuple[float, float]]]  # part → wall and CPU seconds of each step


def main() -> int:
    """Parses the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-cfg", metavar="FILE", required=True, help="of stage negation or quality")
    parser.add_argument("--steps", type=int, default=5, help="that are measured of each kind (default: 5)")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="any settings, in pairs")
    given = parser.parse_args()
    if given.steps < 1 or len(given.opts) % 2:
        raise UserError("--steps must be at least 1, and --opts takes pairs of KEY VALUE")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = configure(given.cfg, list(zip(given.opts[::2], given.opts[1::2], strict=True)), Path(folder))
        show(config, *measure(config, given.steps))
    return 0


def configure(file: str, options: list[tuple[str, str]], folder: Path) -> CfgNode:
    """The configuration on two batches of videos that are made in `folder`."""
    own = [("OUTPUT", str(folder)), ("DATA.ROOT", str(folder)), ("DATA.TRAIN_FILE", "train.txt")]
    own += [("DATA.NUM_WORKERS", "0"), ("MODEL.RESUME", ""), ("DEVICE", "cpu"), ("TRAIN.CACHE_FEATURES", "True")]
    own += [("TRAIN.CACHE_DRAWS", "1"), ("DATA.RESIZE", "worker"), ("DATA.QUALITY_TARGET", "grade")]
    config = load_config(file, [*own, *options])
    side, classes = config.DATA.INPUT_SIZE, len(class_names(config))
    lines = []
    for number in range(2 * config.TRAIN.BATCH_SIZE):
        write_video(folder / f"{number}.avi", np.roll(speckle(LENGTH, side), number, axis=0), fps=30)
        lines.append(f"{number}.avi {number % classes}\n")
    (folder / "train.txt").write_text("".join(lines))
    return config


def measure(config: CfgNode, steps: int) -> tuple[Times, Times, FeatureCache]:
    """Times of steps computed whole, and of steps from the cache, which has been filled before."""
    torch.manual_seed(0)
    views = read_names(config.DATA.LABEL_LIST, config.DATA.NUM_CLASSES, "DATA.NUM_CLASSES")
    model = build_model(config, views, configured_towers(config, overwritten=True))
    stage = build_stage(config)
    stage.prepare(model)
    precision = Precision(config.TRAIN.OPT_LEVEL, model, torch.device("cpu"))
    data = training_data(config, read_list(config, config.DATA.TRAIN_FILE, "DATA.TRAIN_FILE"))
    cache = FeatureCache(config, stage, model, precision, data, Stop())
    trainer = Trainer(config, stage, model, precision, data, evaluator=None, origin=None, stop=Stop())  # type: ignore[arg-type]
    with torch.no_grad(), precision.autocast():
        trainer.texts = model.encode_texts(stage.parts, frozen=True)
    stage.train_mode(model)
    kinds: list[tuple[Times, Iterator[Batch]]] = []
    for inputs in (PixelInputs(config, stage, data, precision.device), cache):
        kinds.append(({part: [] for part in PARTS}, endless(inputs)))
    for step, (times, batches) in itertools.product(range(steps + 1), kinds):
        clocks = train_step(trainer, batches)
        if step:  # the first warms up
            for part, start, end in zip(PARTS, clocks, clocks[1:], strict=False):
                times[part].append((end[0] - start[0], end[1] - start[1]))
    return kinds[0][0], kinds[1][0], cache


def train_step(trainer: Trainer, batches: Iterator[Batch]) -> list[tuple[float, float]]:
    """Makes an optimiser step of a batch; wall and CPU clock before, between and after its parts."""
    trainer.statistics.keep()
    clocks = [clock()]
    batch = next(batches)
    clocks.append(clock())
    trainer._gradients(batch, synchronise=True)
    clocks.append(clock())
    trainer._update()
    return [*clocks, clock()]


def clock() -> tuple[float, float]:
    """Wall and CPU seconds."""
    return time.perf_counter(), time.process_time()


def endless(inputs: Inputs) -> Iterator[Batch]:
    """The batches of epoch 0, 1, 2, ….

    Where an epoch begins, its batch waits for what begins it as well.
    """
    return itertools.chain.from_iterable(map(inputs.epoch, itertools.count()))


def show(config: CfgNode, whole: Times, cached: Times, cache: FeatureCache) -> None:
    """Prints a table of medians."""
    size, frames = config.DATA.INPUT_SIZE, config.DATA.NUM_FRAMES
    print(
        f"stage {config.STAGE}, {config.MODEL.ARCH}, {config.TRAIN.OPT_LEVEL}, batch {config.TRAIN.BATCH_SIZE}, "
        f"{frames} frames of {size}×{size}, one thread on {processor()}"
    )
    print(f"cache: {cache.clip_bytes() / 1e6:.2f} MB a clip and draw\n")
    print(f"{'ms a step, wall (CPU)':24}{'computed whole':>20}{'from the cache':>20}{'ratio':>8}")
    for name, parts in {**{part: (part,) for part in PARTS}, "together": PARTS}.items():
        both = [np.median(1000 * sum(np.array(times[part]) for part in parts), axis=0) for times in (whole, cached)]
        told = [f"{wall:.1f} ({cpu:.1f})" for wall, cpu in both]
        print(f"{name:24}{told[0]:>20}{told[1]:>20}{both[0][1] / both[1][1]:>8.2f}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
