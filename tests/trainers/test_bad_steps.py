"""Optimiser steps whose loss or gradient is not finite change nothing, are counted, and end the run at last."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from echoviewclip.inference.precision import Precision
from echoviewclip.trainers import loop
from echoviewclip.trainers.optimiser import build_optimiser, load_optimiser
from echoviewclip.trainers.stages import ViewStage
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.config import default_config
from echoviewclip.utils.errors import UserError
from tests.tiny_data import TRAINING, assert_same, history, tiny, train

STEPS = math.ceil(TRAINING / 2)  # of an epoch
CPU = torch.device("cpu")


def bad_gradients(monkeypatch, *steps: int) -> None:
    """Makes a gradient nan in these optimiser steps, counted from 0."""
    gradients = loop.Trainer._gradients

    def bad(self, batch, synchronise):
        terms = gradients(self, batch, synchronise)
        if self.step in steps:
            self.model.positive.projection.grad[0, 0] = math.nan
        return terms

    monkeypatch.setattr(loop.Trainer, "_gradients", bad)


def bad_losses(monkeypatch, *calls: int, value: float = math.inf) -> None:
    """Makes the loss `value` in these batches, counted from 0, with gradients that are finite by themselves."""
    loss, count = ViewStage.loss, iter(range(1000))

    def bad(self, answers, targets):
        terms = loss(self, answers, targets)
        return {name: term + value if next(count) in calls else term for name, term in terms.items()}

    monkeypatch.setattr(ViewStage, "loss", bad)


def state(trainer) -> dict:
    """All that a step may change."""
    everything = {
        "weights": trainer.precision.weights(trainer.model),
        "model": trainer.model.state_dict(),
        "optimiser": trainer.optimiser.state_dict()["state"],
        "average": trainer.average.model.state_dict(),
        "steps": trainer.average.steps,
    }
    return copy.deepcopy(everything)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize(("level", "step"), [("O0", 0), ("O1", 2), ("O2", 2)])
def test_a_bad_gradient_changes_nothing(tiny_folder, tmp_path, monkeypatch, level, step, optimiser):
    bad_gradients(monkeypatch, step)
    states = [None]
    train_epoch, update = loop.Trainer._train_epoch, loop.Trainer._update

    def begun(self, clock):
        states[0] = state(self)
        train_epoch(self, clock)

    def made(self):
        norm = update(self)
        states.append(state(self))
        return norm

    monkeypatch.setattr(loop.Trainer, "_train_epoch", begun)
    monkeypatch.setattr(loop.Trainer, "_update", made)
    options = {"TRAIN__OPTIMIZER": optimiser, "TRAIN__OPT_LEVEL": level, "TRAIN__EMA_DECAY": 0.9}
    train(tiny(tiny_folder, tmp_path, **options))
    if step:
        assert_same(states[step + 1], states[step])
    else:  # AdamW makes its state in its first step
        assert_same(states[1]["weights"], states[0]["weights"])
    assert states[step + 1]["steps"] == step and states[step + 2]["steps"] == step + 1
    assert not torch.equal(
        states[step + 2]["weights"]["positive.projection"], states[step]["weights"]["positive.projection"]
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_loss_in_a_group_leaves_the_step_out_and_names_its_batch(tiny_folder, tmp_path, monkeypatch, value):
    bad_losses(monkeypatch, 1, value=value)
    run = train(tiny(tiny_folder, tmp_path, TRAIN__ACCUMULATION_STEPS=2))
    lines = [line["train"] for line in history(run) if "train" in line]
    assert "loss" not in lines[1] and math.isfinite(lines[2]["loss"])
    assert [line.get("bad_steps", 0) for line in lines] == [0, 1, 1, 1, 1]
    logged = [line for line in (run / "log.txt").read_text().splitlines() if "not finite" in line]
    assert len(logged) == 1
    assert "epoch 1, batch 2: the loss or the gradient is not finite, so the step is left out" in logged[0]
    assert logged[0].count(".avi") == 2  # of the batch, not of the group


def test_a_bad_gradient_at_the_end_of_an_epoch_does_not_reach_the_checkpoint(tiny_folder, tmp_path, monkeypatch):
    bad_gradients(monkeypatch, STEPS - 1)
    run = train(tiny(tiny_folder, tmp_path))
    content = load_checkpoint(run / "last.pth")
    assert all(value.isfinite().all() for value in content["model"].values())
    assert content["training"]["step"] == STEPS and content["training"]["bad_steps"] == (1, 1)


def test_running_statistics_that_a_bad_batch_moved_are_put_back(tiny_folder, tmp_path, monkeypatch):
    gradients, means = loop.Trainer._gradients, []

    def bad(self, batch, synchronise):
        norm = self.model.stem.conv1[1]
        means.append(norm.running_mean.clone())
        broken = norm.register_forward_pre_hook(lambda _, inputs: (inputs[0] * (math.nan if self.batch == 1 else 1),))
        terms = gradients(self, batch, synchronise)
        broken.remove()
        if self.batch == 1:
            assert norm.running_mean.isnan().all()
        return terms

    monkeypatch.setattr(loop.Trainer, "_gradients", bad)
    run = train(tiny(tiny_folder, tmp_path))
    assert torch.equal(means[2], means[1]) and not torch.equal(means[3], means[2])
    assert all(value.isfinite().all() for value in load_checkpoint(run / "last.pth")["model"].values())


@pytest.mark.parametrize(("saves", "known"), [(0, "nothing was saved since the run began at step 0"), (1, None)])
def test_too_many_bad_steps_in_a_row_stop_the_run(tiny_folder, tmp_path, monkeypatch, saves, known):
    bad_gradients(monkeypatch, 0, 2, 3)
    with pytest.raises(UserError) as caught:
        train(tiny(tiny_folder, tmp_path, TRAIN__MAX_BAD_STEPS=2, TRAIN__SAVE_STEPS=saves))
    start, _, names = str(caught.value).rpartition(": ")
    known = known or f"{tmp_path}/last.pth holds the weights after step 3"
    assert start == (
        "epoch 1, batch 4: the loss or the gradient is not finite, for 2 optimiser steps in a row "
        f"(TRAIN.MAX_BAD_STEPS); they were left out, and {known}; lower TRAIN.LR, set TRAIN.CLIP_GRAD 1 or look at the "
        "videos of the last step"
    )
    assert len(names.split(", ")) == 2 and all(name.startswith("clip ") for name in names.split(", "))
    if saves:
        content = load_checkpoint(tmp_path / "last.pth")
        assert content["training"]["step"] == 3
        assert all(value.isfinite().all() for value in content["model"].values())


def test_bad_steps_in_a_row_are_counted_over_a_resume(tiny_folder, tmp_path, monkeypatch):
    bad_gradients(monkeypatch, STEPS - 1, STEPS)
    options = {"TRAIN__MAX_BAD_STEPS": 2, "TRAIN__AUTO_RESUME": True, "TRAIN__LR_SCHEDULER": "constant"}
    train(tiny(tiny_folder, tmp_path, **options, TRAIN__EPOCHS=1))
    with pytest.raises(UserError, match=r"^epoch 2, batch 1: .* and nothing was saved since the run began at step 5;"):
        train(tiny(tiny_folder, tmp_path, **options, TRAIN__EPOCHS=2))


def test_weights_that_are_not_finite_are_not_saved(tiny_folder, tmp_path):
    with pytest.raises(UserError) as caught:
        train(tiny(tiny_folder, tmp_path, TRAIN__LR=1e30, TRAIN__OPT_LEVEL="O0", TRAIN__SAVE_STEPS=1))
    assert str(caught.value) == (
        "the weights are not finite after step 1 (stem.positional_embedding, stem.conv1.0.weight, stem.conv1.1.weight "
        "and 59 more) and are not saved; nothing was saved since the run began at step 0; lower TRAIN.LR or set "
        "TRAIN.CLIP_GRAD 1"
    )
    assert not (tmp_path / "last.pth").exists()


def test_a_gradient_scaler_may_look_for_its_scale():
    module = nn.Linear(1, 1, bias=False)
    precision = Precision("O1", module, CPU)
    precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)  # as on a device without bfloat16
    optimiser = build_optimiser(module.named_parameters(), default_config())
    outcomes = []
    for _ in range(4):
        precision.backward(module.weight.sum() * math.inf)
        outcomes.append(precision.step(optimiser, clip=0))
    assert [bool(outcome.left_out) for outcome in outcomes] == [True] * 4
    assert [bool(outcome.failed) for outcome in outcomes] == [False, False, True, True]  # at scales 2, 1, 1/2, 1/4


def test_a_norm_beyond_float32_is_no_gradient_to_follow():
    module = nn.Linear(2, 1, bias=False)
    precision = Precision("O0", module, CPU)
    before = module.weight.detach().clone()
    optimiser = build_optimiser(module.named_parameters(), default_config())
    precision.backward((module.weight * 3e38).sum())
    assert precision.step(optimiser, clip=1).failed
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_the_state_of_an_optimiser_that_was_not_fused_is_taken_over(kind):
    config, one = default_config(), nn.Parameter(torch.ones(3))
    config.TRAIN.OPTIMIZER = kind.__name__.lower()
    settings = {"betas": (0.9, 0.98)} if kind is torch.optim.AdamW else {"momentum": 0.9, "nesterov": True}
    former = kind([{"params": [one], "weight_decay": 0.0}], lr=1e-3, **settings)
    other = nn.Parameter(torch.ones(3))
    for _ in range(2):
        one.grad = torch.tensor([1.0, 2.0, 3.0])
        former.step()
    other.data.copy_(one.data)
    optimiser = build_optimiser([("w", other)], config)
    load_optimiser(optimiser, copy.deepcopy(former.state_dict()))
    one.grad = other.grad = torch.tensor([3.0, -2.0, 1.0])
    optimiser.found_inf = torch.tensor(1.0)
    optimiser.step()
    assert torch.equal(other, one)
    optimiser.found_inf = torch.tensor(0.0)
    optimiser.step(), former.step()
    torch.testing.assert_close(other, one)
