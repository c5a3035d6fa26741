"""Training on a GPU: no step waits for the device, every precision learns, compiled blocks are the same blocks."""

from __future__ import annotations

import csv
import math
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from yacs.config import CfgNode

from echoviewclip.inference import half, precision
from echoviewclip.inference.half import Half
from echoviewclip.trainers import inputs, loop
from echoviewclip.utils.checkpoint import load_checkpoint
from tests import tiny_data
from tests.framed import VIT, write_framed_folder
from tests.killed import RANDOM
from tests.tiny_data import PLAIN, STAGES, assert_same, history, tiny


def train(config: CfgNode) -> Path:
    """On the GPU."""
    return tiny_data.train(config, device="cuda")


@contextmanager
def no_waiting():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def watched(function):
    def run(*arguments, **named):
        with no_waiting():
            return function(*arguments, **named)

    return run


def watched_batches(function):
    def run(*arguments, **named):
        batches = function(*arguments, **named)
        while True:
            with no_waiting():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    return run


def watch_steps(monkeypatch) -> None:
    """Raises where a step waits for the device."""
    monkeypatch.setattr(loop.Trainer, "_gradients", watched(loop.Trainer._gradients))
    monkeypatch.setattr(loop.Trainer, "_update", watched(loop.Trainer._update))
    monkeypatch.setattr(inputs.PixelInputs, "epoch", watched_batches(inputs.PixelInputs.epoch))


@pytest.fixture(scope="module")
def gpu_runs(tiny_folder, tmp_path_factory):
    """Stage → folder of its run on the GPU, each grown from the one before."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    folder, resume, runs = tmp_path_factory.mktemp("gpu"), "", {}
    for stage in STAGES:
        config = tiny(tiny_folder, folder / stage, stage, DEVICE="cuda", MODEL__RESUME=resume, TRAIN__EPOCHS=2)
        train(config)
        runs[stage] = folder / stage
        resume = str(folder / stage / "last.pth")
    return runs


def settings(gpu_runs, stage, **changes):
    before = {"view": None, "negation": "view", "quality": "negation"}[stage]
    resume = str(gpu_runs[before] / "last.pth") if before else ""
    return {"DEVICE": "cuda", "MODEL__RESUME": resume, "DATA__OOD_FILE": ""} | changes


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
@pytest.mark.parametrize("stage", STAGES)
def test_no_step_waits_for_the_device(tiny_folder, gpu_runs, tmp_path, monkeypatch, stage, level):
    config = tiny(
        tiny_folder,
        tmp_path,
        stage,
        **settings(gpu_runs, stage, **RANDOM),
        TRAIN__OPT_LEVEL=level,
        TRAIN__CLIP_GRAD=1.0,
        TRAIN__EMA_DECAY=0.9,
        PRINT_FREQ=1000,
    )
    watch_steps(monkeypatch)
    train(config)


@pytest.mark.usefixtures("gpu_runs")
def test_no_step_waits_to_know_which_patches_are_black(tmp_path, monkeypatch):
    folder = write_framed_folder(tmp_path / "data")
    watch_steps(monkeypatch)
    train(tiny(folder, tmp_path / "run", DEVICE="cuda", **VIT, **RANDOM, PRINT_FREQ=1000))


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("stage", STAGES)
def test_float16_finds_its_scale_and_learns(tiny_folder, gpu_runs, tmp_path, monkeypatch, stage, level):
    for module in (half, precision):
        monkeypatch.setattr(module, "half_precision", lambda device: Half(torch.float16))
    config = tiny(tiny_folder, tmp_path, stage, **settings(gpu_runs, stage), TRAIN__OPT_LEVEL=level, TRAIN__EPOCHS=4)
    train(config)
    losses = [line["train"]["loss"] for line in history(tmp_path) if "train" in line and "loss" in line["train"]]
    assert losses and all(map(math.isfinite, losses))
    state = load_checkpoint(tmp_path / "last.pth")["training"]["scaler"]
    assert state["scale"] > 0


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_on_a_gpu_repeats_itself(tiny_folder, gpu_runs, tmp_path, stage):
    options = settings(gpu_runs, stage, **RANDOM, TRAIN__EPOCHS=2)
    for name in ("one", "other"):
        train(tiny(tiny_folder, tmp_path / name, stage, **options))
    weights = [load_checkpoint(tmp_path / name / "last.pth")["model"] for name in ("one", "other")]
    assert_same(*weights)


def test_a_resumed_run_on_a_gpu_is_the_whole_one(tiny_folder, gpu_runs, tmp_path):
    options = settings(gpu_runs, "view", **RANDOM, TRAIN__LR_SCHEDULER="constant")
    train(tiny(tiny_folder, tmp_path / "whole", **options, TRAIN__EPOCHS=2))
    train(tiny(tiny_folder, tmp_path / "parts", **options, TRAIN__EPOCHS=1))
    options["TRAIN__AUTO_RESUME"] = True
    train(tiny(tiny_folder, tmp_path / "parts", **options, TRAIN__EPOCHS=2))
    assert_same(*(load_checkpoint(tmp_path / name / "last.pth")["model"] for name in ("parts", "whole")))


def test_a_step_in_which_no_clip_keeps_a_block(tiny_folder, tmp_path):
    options = {"MODEL__DROP_PATH_RATE": 0.99, "TRAIN__BATCH_SIZE": 1}
    run = train(tiny(tiny_folder, tmp_path, DEVICE="cuda", **options))
    assert all(math.isfinite(line["train"]["loss"]) for line in history(run) if "train" in line)


@pytest.mark.parametrize("stage", STAGES)
def test_compiled_blocks_train_as_they_do_uncompiled(tiny_folder, gpu_runs, tmp_path, monkeypatch, stage):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    options = settings(gpu_runs, stage, **PLAIN, TRAIN__LR=1e-2)  # Adam would blow up differences of rounding
    for name, compiled in (("eager", False), ("compiled", True)):
        train(tiny(tiny_folder, tmp_path / name, stage, **options, TRAIN__COMPILE=compiled))
    eager, compiled = (load_checkpoint(tmp_path / name / "last.pth")["model"] for name in ("eager", "compiled"))
    assert eager.keys() == compiled.keys()
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name].float(), value.float(), rtol=1e-2, atol=1e-3)


def test_features_cached_on_a_gpu_train_as_none_do(tiny_folder, gpu_runs, tmp_path):
    options = settings(gpu_runs, "negation", **RANDOM, TRAIN__EPOCHS=2)
    train(tiny(tiny_folder, tmp_path / "plain", "negation", **options))
    options |= {"TRAIN__CACHE_FEATURES": True, "TRAIN__CACHE_DRAWS": 2, "TRAIN__CACHE_DTYPE": "computed"}
    train(tiny(tiny_folder, tmp_path / "cached", "negation", **options))
    assert_same(*(load_checkpoint(tmp_path / name / "last.pth")["model"] for name in ("cached", "plain")))


def test_the_answers_of_a_gpu_are_those_of_a_processor(tiny_folder, gpu_runs, tmp_path, monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    options = {"MODEL__RESUME": str(gpu_runs["negation"] / "last.pth"), "TEST__ONLY_TEST": True}
    options |= {"TRAIN__OPT_LEVEL": "O0"}
    tables = []
    for device in ("cpu", "cuda"):
        config = tiny(tiny_folder, tmp_path / device, "negation", DEVICE=device, **options)
        tables.append((tiny_data.train(config, device=device) / "predictions.csv").read_text().splitlines())
    assert len(tables[0]) == len(tables[1]) > 1
    for one, other in zip(*(csv.DictReader(table) for table in tables), strict=True):
        for name, value in one.items():
            ours, theirs = (numbers(text) for text in (value, other[name]))
            assert (ours == theirs) if isinstance(ours, str) else ours == pytest.approx(theirs, rel=1e-3, abs=1e-3), (
                name
            )


def numbers(text: str) -> list[float] | str:
    """Those in a cell; the cell as it is, where it holds words."""
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        return text
