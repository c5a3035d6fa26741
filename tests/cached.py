"""Trainings from cached features, and their caches alone."""

from __future__ import annotations

from pathlib import Path

import torch

from echoviewclip.datasets.configured import training_data
from echoviewclip.inference.precision import Precision
from echoviewclip.trainers.data import read_list
from echoviewclip.trainers.feature_cache import FeatureCache
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.stopping import Stop
from tests.tiny_data import PLAIN, assert_same, history, tiny, tiny_model

CPU = torch.device("cpu")
EARLIER = {"negation": "view", "quality": "negation"}
CACHED = {"TRAIN__CACHE_FEATURES": True, "TRAIN__CACHE_DTYPE": "computed"}
DETERMINISTIC = PLAIN | {"DATA__NUM_FRAMES": 6, "AUG__OUTLIERS": ["virtual"], "TRAIN__BATCH_SIZE": 3}


def settings(tiny_runs, stage: str, **changes) -> dict:
    """Of a stage that grows from the stage before."""
    return {
        "MODEL__RESUME": str(tiny_runs[EARLIER[stage]] / "last.pth"),
        "DATA__OOD_FILE": "",
        "EVAL_FREQ": 9,
    } | changes


def assert_same_training(run: Path, other: Path) -> None:
    """Checkpoints, lines and predictions, to the bit."""
    for name in ("last.pth", "best.pth"):
        given, expected = load_checkpoint(run / name), load_checkpoint(other / name)
        del given["config"], expected["config"]
        assert_same(given, expected)
    assert history(run) == history(other)
    assert (run / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()


def caches(folder: Path, output: Path, stage: str = "negation", seed: int = 0, **changes) -> FeatureCache:
    """The cache of a training from random weights."""
    config = tiny(folder, output, stage, **CACHED | changes)
    _, model = tiny_model(stage, **changes)
    if seed:
        torch.nn.init.normal_(model.positive.projection, generator=torch.Generator().manual_seed(seed))
    made = build_stage(config)
    made.prepare(model)
    precision = Precision(config.TRAIN.OPT_LEVEL, model, CPU)
    data = training_data(config, read_list(config, config.DATA.TRAIN_FILE, "DATA.TRAIN_FILE"))
    return FeatureCache(config, made, model, precision, data, Stop())


def rows(cache: FeatureCache, epoch: int) -> tuple[list[int], dict[int, torch.Tensor], torch.Tensor]:
    """The order of an epoch's videos, the trunk's tokens of each, and those of the outliers."""
    order, tokens, outliers = [], {}, []
    for batch in cache.epoch(epoch):
        places = batch.place.tolist()
        order += places
        tokens |= dict(zip(places, batch.seen.tokens, strict=False))
        outliers.append(batch.seen.tokens[len(places) :])
        assert not batch.targets[len(places) :].any() and batch.targets[: len(places)].any(dim=1).all()
    return order, tokens, torch.cat(outliers)
