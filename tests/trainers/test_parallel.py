"""TRAIN.SHARD full: optimiser steps of weights that processes share are those of weights that each holds."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import pytest
import torch

from echoviewclip.clip.compiled import compile_blocks, why_not
from echoviewclip.inference import half
from echoviewclip.inference.precision import Precision
from echoviewclip.trainers import parallel
from echoviewclip.trainers.optimiser import build_optimiser, load_optimiser, optimiser_state
from echoviewclip.trainers.parallel import Replicated, held_bytes, place
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.distributed import is_main, rank
from echoviewclip.utils.divided import on_main, share_of
from echoviewclip.utils.errors import UserError
from tests.tiny_data import assert_same, configure, tiny_model, tiny_options
from tests.together import together

CPU = torch.device("cpu")
VIT = {"MODEL__ARCH": "ViT-tiny/16", "TRAIN__OPT_LEVEL": "O0", "TRAIN__OPTIMIZER": "sgd", "TRAIN__LR": 0.01}
FULL = {"TRAIN__SHARD": "full"}
STEPS = 3


class Training:
    """A model of random weights that trains on noise, by the parts of the real loop."""

    def __init__(self, stage: str = "view", **changes) -> None:
        self.config, self.model = tiny_model(stage, **VIT | changes)
        self.stage = build_stage(self.config)
        self.stage.prepare(self.model)
        sharded = place(self.model, self.config, CPU, trains=True)
        if self.config.TRAIN.COMPILE:
            compile_blocks(self.model, CPU)
        self.precision = Precision(self.config.TRAIN.OPT_LEVEL, self.model, CPU)
        self.parallel = sharded or Replicated(self.model, CPU)
        self.optimiser = build_optimiser(self.precision.master.items(), self.config)
        self.stage.train_mode(self.model)

    def gradients(self, number: int) -> float:
        """Adds those of two batches of this process; the sum of their losses."""
        total = 0.0
        for batch in range(2):
            noise = torch.Generator().manual_seed(100 * number + 10 * batch + rank())
            clips, targets = torch.randn(1, 2, 3, 32, 32, generator=noise), torch.eye(4)[[(number + rank()) % 4]]
            with self.parallel.no_sync() if batch == 0 else torch.enable_grad():
                with self.precision.autocast():
                    terms = self.stage.loss(self.parallel(clips, self.stage.parts), targets)
                    loss = torch.stack(list(terms.values())).sum() / 2
                self.precision.backward(loss)
            total += float(loss.detach())
        return total

    def step(self, number: int) -> tuple[float, float]:
        """The loss here and the norm of the gradients of all processes, which is clipped to 1."""
        return self.gradients(number), float(self.precision.step(self.optimiser, 1.0).norm)

    def state(self) -> tuple[dict, dict]:
        """Weights, and the optimiser's state, whole on the main process."""
        weights = on_main(self.precision.weights(self.model))
        return weights, optimiser_state(self.optimiser, self.precision.of_master)


def assert_alike(level: str, tolerance: float, **shared) -> None:
    """Both forms take the same steps; in each of two processes."""
    half.lacks_bfloat16 = lambda: ""  # O1 computes in it, whatever the processor
    forms = [Training(TRAIN__OPT_LEVEL=level, **changes) for changes in ({}, FULL | shared)]
    whole, ours = ([form.step(number) for number in range(STEPS)] for form in forms)
    for given, expected in zip(ours, whole, strict=True):
        assert given == pytest.approx(expected, rel=tolerance, abs=tolerance)
    (expected, moments), (given, own) = (form.state() for form in forms)
    if is_main():
        assert given.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(given[name], value, rtol=0, atol=tolerance, msg=name)
        for number, state in moments["state"].items():
            torch.testing.assert_close(own["state"][number], state, rtol=0, atol=100 * tolerance)


def test_steps_with_shared_weights_are_those_with_whole_ones(tmp_path):
    together(2, partial(assert_alike, "O0", 1e-5), tmp_path)


def resumed() -> None:
    """A training goes on from another's state, which is whole on the main process alone, to the bit."""
    first, second = Training(**FULL), Training(**FULL)
    for number in range(2):
        first.step(number)
    state = copy.deepcopy(first.state())  # as a file holds it
    box = [state if is_main() else None]
    torch.distributed.broadcast_object_list(box)
    weights, moments = box[0]
    second.precision.load(second.model, weights)
    load_optimiser(second.optimiser, moments, second.precision.of_master)
    assert first.step(2) == second.step(2)
    assert_same(second.state(), first.state())


def test_a_state_is_taken_over_to_the_bit(tmp_path):
    together(2, resumed, tmp_path)


@pytest.mark.slow
def test_autocast_computes_the_same(tmp_path):
    together(2, partial(assert_alike, "O1", 1e-4), tmp_path)


@pytest.mark.slow
def test_half_weights_learn_alike(tmp_path):
    together(2, partial(assert_alike, "O2", 0.05), tmp_path)


@pytest.mark.slow
def test_compiled_blocks_learn_the_same(tmp_path):
    if why_not(CPU):
        pytest.skip("torch.compile does not work here")
    together(2, partial(assert_alike, "O0", 1e-4, TRAIN__COMPILE=True), tmp_path)


def count(told: Path) -> None:
    """Writes how many bytes process 0 holds in a step, by its local shards."""
    training = Training(TRAIN__OPTIMIZER="adamw", **FULL)
    weights = list(training.model.parameters())
    training.gradients(0)
    gradients = [p.grad for p in weights if p.grad is not None]
    held = sum(share_of(tensor).nbytes for tensor in (*weights, *gradients))
    training.precision.step(training.optimiser, 0.0)
    states = training.optimiser.state.values()
    held += sum(value.nbytes for state in states for name, value in state.items() if name != "step")
    if is_main():
        told.write_text(f"{held}")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_what_a_process_holds(processes, tmp_path):
    together(processes, partial(count, tmp_path / "held"), tmp_path)
    held = int((tmp_path / "held").read_text())
    print(f"\n{processes} processes: {held} bytes of weights, gradients and moments in each")
    config, model = tiny_model(**VIT)
    build_stage(config).prepare(model)
    assert held == held_bytes(model, "adamw", processes)


def test_float16_is_refused(monkeypatch):
    config, model = tiny_model("view", **VIT | FULL | {"TRAIN__OPT_LEVEL": "O1"})
    monkeypatch.setattr(parallel, "world", lambda: 2)
    monkeypatch.setattr(parallel, "half_precision", lambda device: half.Half(torch.float16))
    with pytest.raises(UserError) as caught:
        place(model, config, CPU, trains=True)
    assert str(caught.value) == (
        "TRAIN.SHARD full: cpu computes in float16 at TRAIN.OPT_LEVEL O1, and processes would scale their shares of "
        "the gradients differently; set TRAIN.OPT_LEVEL O0, or TRAIN.SHARD none"
    )


def test_cached_features_are_refused(tmp_path):
    options = tiny_options(tmp_path, tmp_path, "negation", **FULL, TRAIN__CACHE_FEATURES=True)
    with pytest.raises(UserError) as caught:
        configure("configs/phantom/negation.yaml", options)
    assert str(caught.value) == (
        "TRAIN.SHARD full: shared weights compute only where all processes do, and for TRAIN.CACHE_FEATURES each "
        "computes what it lacks; set TRAIN.SHARD none, or TRAIN.CACHE_FEATURES False"
    )
