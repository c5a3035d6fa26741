"""Whole runs with TRAIN.SHARD full, in two processes, against those in which each process holds all weights."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from yacs.config import CfgNode

from echoviewclip.trainers import loop
from echoviewclip.trainers.guard import poisoned
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.distributed import rank
from echoviewclip.utils.stopping import Stopped
from tests.framed import VIT, write_framed_folder
from tests.killed import Interrupted, killed_after
from tests.tiny_data import PLAIN, STAGES, assert_same, history, metrics, tiny, train
from tests.together import together

pytestmark = pytest.mark.slow

# 8 videos, 4 a step: in two processes two batches of one each, in one process four. Blocks are recomputed, and leave
# black patches out; the gradient is clipped; the moving average answers.
SETTINGS = (
    PLAIN
    | VIT
    | {
        "DATA__OOD_FILE": "",
        "TRAIN__BATCH_SIZE": 1,
        "TRAIN__GLOBAL_BATCH": 4,
        "TRAIN__EPOCHS": 2,
        "TRAIN__LR": 0.01,
        "TRAIN__CLIP_GRAD": 1.0,
        "TRAIN__EMA_DECAY": 0.9,
        "TRAIN__USE_CHECKPOINT": True,
        "TRAIN__OUTLIER_WEIGHT": 0.0,
        "EVAL_FREQ": 2,
        "SAVE_FREQ": 1,
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = write_framed_folder(tmp_path_factory.mktemp("framed") / "data")
    for name in ("train.txt", "quality_train.txt"):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join(lines[:8]))
    return folder


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory) -> dict[tuple[str, str], Path]:
    """(stage, TRAIN.SHARD) → folder of its run in two processes; stages grow from those with whole weights."""
    top, found, resume = tmp_path_factory.mktemp("runs"), {}, ""
    for stage in STAGES:
        for shard in ("none", "full"):
            found[stage, shard] = top / f"{stage} {shard}"
            run_in(2, folder, found[stage, shard], stage, MODEL__RESUME=resume, TRAIN__SHARD=shard)
        resume = str(found[stage, "none"] / "last.pth")
    return found


def run_in(processes: int, folder: Path, output: Path, stage: str, **changes) -> Path:
    config = tiny(folder, output, stage, **SETTINGS | changes)
    together(processes, partial(train, config), output.parent)
    return output


def assert_close(run: Path, expected: Path) -> None:
    """The weights that train, their average and the optimiser's moments."""
    ours, theirs = load_checkpoint(run / "last.pth"), load_checkpoint(expected / "last.pth")
    assert ours.keys() == theirs.keys() and ours["training"].keys() == theirs["training"].keys()
    pairs = [(ours["model"], theirs["model"]), (ours["training"]["weights"], theirs["training"]["weights"])]
    moments = [content["training"]["optimiser"]["state"] for content in (ours, theirs)]
    assert moments[0].keys() == moments[1].keys()
    pairs += [(moments[0][number], moments[1][number]) for number in moments[0]]
    for given, wanted in pairs:
        assert given.keys() == wanted.keys()
        for name, value in wanted.items():
            assert type(given[name]) is type(value)
            torch.testing.assert_close(given[name], value, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_learns_the_same(runs, stage):
    shared, whole = runs[stage, "full"], runs[stage, "none"]
    assert_close(shared, whole)
    ours, theirs = ([line["train"]["loss"] for line in history(run) if "train" in line] for run in (shared, whole))
    assert len(ours) == 8 and ours == pytest.approx(theirs, rel=0, abs=1e-5)
    first, last = (load_checkpoint(shared / name)["model"] for name in ("ckpt_epoch_0.pth", "last.pth"))
    assert max((first[name] - last[name]).abs().max() for name in last) > 1e-4  # so that it would show


@pytest.mark.parametrize("stage", STAGES)
def test_one_process_reads_the_checkpoint_and_answers_the_same(runs, folder, tmp_path, stage):
    shared = runs[stage, "full"]
    options = SETTINGS | {"TEST__ONLY_TEST": True, "MODEL__RESUME": str(shared / "last.pth"), "TRAIN__SHARD": "full"}
    answered = train(tiny(folder, tmp_path, stage, **options))
    ours, theirs = (
        {name: value for name, value in metrics(run)["metrics"].items() if value is not None}
        for run in (answered, shared)
    )
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize(
    ("begun", "shard", "processes"),
    [("full", "full", 2), ("full", "none", 2), ("none", "full", 2), ("full", "full", 1)],
)
def test_a_run_goes_on_whatever_held_its_weights(runs, folder, tmp_path, begun, shard, processes):
    earlier = str(runs["view", begun] / "ckpt_epoch_0.pth")
    output = tmp_path / "run"
    run_in(processes, folder, output, "view", MODEL__RESUME=earlier, TRAIN__SHARD=shard)
    assert_close(output, runs["view", "full"])
    if begun == shard == "full" and processes == 2:
        given, expected = (load_checkpoint(run / "last.pth") for run in (output, runs["view", "full"]))
        for key in ("model", "calibration", "metrics"):
            assert_same(given[key], expected[key])


def interrupted(config: CfgNode, error: type[BaseException]) -> None:
    """A run that is killed, or asked to stop in one process, after an optimiser step."""
    update = loop.Trainer._update

    def asked(self):
        if rank() == 1 and self.step == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self)

    with pytest.MonkeyPatch.context() as patch:
        if error is Interrupted:
            killed_after(patch, 1)
        else:
            patch.setattr(loop.Trainer, "_update", asked)
        with pytest.raises(error):
            train(config)


@pytest.mark.parametrize("error", [Interrupted, Stopped])
def test_a_run_that_is_killed_or_asked_to_stop_goes_on_to_the_same_weights(runs, folder, tmp_path, error):
    output, options = tmp_path / "run", {"TRAIN__SHARD": "full", "TRAIN__SAVE_STEPS": 1}
    together(2, partial(interrupted, tiny(folder, output, "view", **SETTINGS | options), error), tmp_path)
    assert load_checkpoint(output / "last.pth")["training"]["step"] < 4
    run_in(2, folder, output, "view", TRAIN__SHARD="full", TRAIN__AUTO_RESUME=True)
    given, expected = (load_checkpoint(run / "last.pth") for run in (output, runs["view", "full"]))
    assert_same(given["model"], expected["model"])
    assert_same(given["training"]["optimiser"], expected["training"]["optimiser"])


def with_a_bad_loss(config: CfgNode) -> None:
    """A run in which the loss of the second process is infinite in one batch."""
    gradients = loop.Trainer._gradients

    def bad(self, batch, synchronise):
        broken = self.step == 1 and rank() == 1 and not synchronise
        patch.setattr(loop, "poisoned", lambda loss: poisoned(loss * float("inf") if broken else loss))
        return gradients(self, batch, synchronise)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Trainer, "_gradients", bad)
        train(config)


def test_a_step_whose_loss_is_not_finite_in_one_process_is_left_out_in_both(folder, tmp_path):
    found = {shard: tmp_path / shard for shard in ("none", "full")}
    for shard, output in found.items():
        config = tiny(folder, output, "view", **SETTINGS, TRAIN__SHARD=shard)
        together(2, partial(with_a_bad_loss, config), tmp_path)
    assert_close(found["full"], found["none"])
    assert load_checkpoint(found["full"] / "last.pth")["training"]["bad_steps"] == (1, 0)
