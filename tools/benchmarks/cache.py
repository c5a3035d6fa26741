"""What TRAIN.CACHE_FEATURES saves: an optimiser step from reading the videos to the new weights, whole and from cached
features, in the stages that freeze part of the model."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from yacs.config import CfgNode

from echoviewclip.datasets.configured import class_names, training_data
from echoviewclip.inference.precision import Precision
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.phantom.study.files import write_video
from echoviewclip.tools.benchmarks import result
from echoviewclip.tools.benchmarks.cases import Setting, build
from echoviewclip.tools.benchmarks.clips import speckle
from echoviewclip.tools.benchmarks.timing import Form
from echoviewclip.trainers.data import read_list
from echoviewclip.trainers.feature_cache import FeatureCache
from echoviewclip.trainers.inputs import Batch, Inputs, PixelInputs
from echoviewclip.trainers.loop import Trainer
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.stopping import Stop

STAGES = ("negation", "quality")  # stage view trains what is cached
LENGTH = 32  # frames of a video
BATCHES = 2  # of an epoch


@dataclass(frozen=True)
class Cached:
    """A stage.

    Attributes:
        rows: its forms: `whole`, computed from pixels, and `cached`.
        clip_bytes: that a clip takes on disk, in each draw.
    """

    stage: str
    rows: list[result.Measured]
    clip_bytes: int


def benchmark_cache(setting: Setting, repeats: int) -> list[Cached]:
    """Per stage: steps on prepared videos, made for it, that this process reads; in the precision of its training."""
    return [of_stage(setting, stage, repeats) for stage in STAGES]


def of_stage(setting: Setting, stage: str, repeats: int) -> Cached:
    """The rows of a stage; its model and its videos are gone when it returns."""
    with tempfile.TemporaryDirectory() as folder:
        setting = replace(setting, smaller={**setting.smaller, **settings_in(folder)})
        config = setting.config(stage, "ours")
        write_data(config, Path(folder))
        model = build(setting, stage, "ours")
        trainer, cache = training(config, model, setting.device)
        list(cache.epoch(0))  # computes the draw
        kinds: dict[str, Inputs] = {"whole": trainer.inputs, "cached": cache}
        forms = {name: step(trainer, batches_of(inputs)) for name, inputs in kinds.items()}
        computes = dict.fromkeys(forms, trainer.precision)
        rows = result.measure(f"step from files, {stage}", forms, computes, model, setting, repeats)
        trainer.guard.read()  # raises where a loss was not finite
        return Cached(stage, rows, cache.clip_bytes())


def settings_in(folder: str) -> dict[str, object]:
    """Those of a training in `folder` that repeats one draw and ends with the first step that fails."""
    return {
        "OUTPUT": folder,
        "DATA.ROOT": folder,
        "DATA.TRAIN_FILE": "train.txt",
        "DATA.NUM_WORKERS": 0,
        "TRAIN.CACHE_FEATURES": True,
        "TRAIN.CACHE_DRAWS": 1,
        "TRAIN.MAX_BAD_STEPS": 1,
    }


def write_data(config: CfgNode, folder: Path) -> None:
    """Prepared videos for the batches of an epoch, as large as the clips that are cut of them, and their list."""
    names, video = class_names(config), speckle(LENGTH, config.DATA.INPUT_SIZE)
    lines = []
    for number in range(BATCHES * config.TRAIN.BATCH_SIZE):
        write_video(folder / f"{number}.avi", np.roll(video, number, axis=0), fps=30)
        lines.append(f"{number}.avi {number % len(names)}\n")
    (folder / config.DATA.TRAIN_FILE).write_text("".join(lines), encoding="utf-8")


def training(config: CfgNode, model: VideoCLIP, device: torch.device) -> tuple[Trainer, FeatureCache]:
    """A trainer as it is before its first step, of pixels, and the cache of what its frozen part sees in them."""
    stage, stop = build_stage(config), Stop()
    stage.prepare(model)
    precision = Precision(config.TRAIN.OPT_LEVEL, model, device)
    data = training_data(config, read_list(config, config.DATA.TRAIN_FILE, "DATA.TRAIN_FILE"))
    cache = FeatureCache(config, stage, model, precision, data, stop)
    inputs = PixelInputs(config, stage, data, device)
    trainer = Trainer(config, stage, model, precision, data, evaluator=None, origin=None, stop=stop, inputs=inputs)  # type: ignore[arg-type]
    with torch.no_grad(), precision.autocast():
        trainer.texts = model.encode_texts(stage.parts, frozen=True)
    stage.train_mode(model)
    return trainer, cache


def batches_of(inputs: Inputs) -> Iterator[Batch]:
    """The batches of epoch 0, 1, 2, …; the first of an epoch waits for what begins it as well."""
    return itertools.chain.from_iterable(map(inputs.epoch, itertools.count()))


def step(trainer: Trainer, batches: Iterator[Batch]) -> Form:
    """What the loop does with a batch, from reading it on."""

    def run() -> None:
        batch = next(batches)
        trainer.statistics.keep()
        terms = trainer._gradients(batch, synchronise=True)
        trainer.guard.saw(trainer.epoch, trainer.batch, batch.place, terms["loss"])
        trainer._update()

    return run


def show(stages: Sequence[Cached], about: str) -> None:
    """Prints a table."""
    result.show([row for stage in stages for row in stage.rows], about)
    for stage in stages:
        print(f"cache of stage {stage.stage}: {stage.clip_bytes / 1e6:.2f} MB a clip and draw")
