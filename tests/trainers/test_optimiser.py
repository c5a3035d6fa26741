"""Schedule, optimiser, moving average and precision, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from echoviewclip.inference.precision import Precision
from echoviewclip.trainers.optimiser import MovingAverage, build_optimiser, learning_rate, load_optimiser
from echoviewclip.utils.config import default_config

CPU = torch.device("cpu")


def config(**train):
    c = default_config()
    for key, value in train.items():
        c.TRAIN[key] = value
    return c


def rates(steps: int, warmup: int, schedule: str = "cosine", peak: float = 1.0) -> list[float]:
    return [learning_rate(step, steps, warmup, peak, schedule) for step in range(steps)]


def test_warm_up_is_linear_and_a_half_cosine_to_a_hundredth_follows():
    half = 0.99 * 0.5
    falling = [0.01 + half * (1 + math.cos(math.pi * k / 4)) for k in range(4)]
    assert rates(8, 4) == pytest.approx([0, 0.25, 0.5, 0.75, *falling])
    assert falling[0] == 1.0 and falling[2] == pytest.approx(0.505)
    assert learning_rate(8, 8, 4, 1.0, "cosine") == pytest.approx(0.01)


def test_without_warm_up_training_starts_at_the_peak():
    assert rates(4, 0)[0] == 1.0
    assert rates(4, 0, peak=2e-5)[2] == pytest.approx(2e-5 * 0.505)


def test_a_constant_rate_stays_after_its_warm_up():
    assert rates(5, 2, "constant") == [0, 0.5, 1, 1, 1]


def test_a_warm_up_longer_than_the_training_never_reaches_the_peak():
    assert rates(2, 4) == [0, 0.25]


def named(module: nn.Module):
    return dict(module.named_parameters()).items()


def test_weight_decay_spares_vectors_scalars_and_positions():
    module = nn.Module()
    module.linear, module.norm = nn.Linear(2, 3), nn.LayerNorm(3)
    module.positional_embedding, module.scale = nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(()))
    module.stem, module.prompts = nn.Module(), nn.Module()
    module.stem.prompts, module.prompts.context = nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(4, 3))
    optimiser = build_optimiser(named(module), config(WEIGHT_DECAY=0.5, LR=0.1))
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in module.named_parameters()} == {
        "positional_embedding": 0,
        "scale": 0,
        "stem.prompts": 0,
        "prompts.context": 0,
        "linear.weight": 0.5,
        "linear.bias": 0,
        "norm.weight": 0,
        "norm.bias": 0,
    }


def test_the_two_optimisers_are_as_published():
    adamw = build_optimiser(named(nn.Linear(1, 1)), config(OPTIMIZER="adamw"))
    assert isinstance(adamw, torch.optim.AdamW) and adamw.defaults["betas"] == (0.9, 0.98)
    sgd = build_optimiser(named(nn.Linear(1, 1)), config(OPTIMIZER="sgd"))
    assert isinstance(sgd, torch.optim.SGD) and sgd.defaults["momentum"] == 0.9


def one_weight(value: float = 0.0, dtype: torch.dtype = torch.float32) -> nn.Module:
    module = nn.Module()
    module.w = nn.Parameter(torch.tensor([value], dtype=dtype))
    module.register_buffer("seen", torch.tensor([0]))
    return module


def test_the_moving_average_by_hand():
    model = one_weight()
    average = MovingAverage(model, model.state_dict(), decay=0.2)
    for value, expected in ((1.0, 0.9), (2.0, 0.9 * 2 / 11 + 2 * 9 / 11), (3.0, None), (4.0, None)):
        before = average.model.w.item()
        average.update({"w": torch.tensor([value]), "seen": torch.tensor([int(value)])})
        # Decays (1 + n) / (10 + n): 1/10, 2/11, then the asked 0.2, which is less than 3/12.
        assert average.model.w.item() == pytest.approx(expected or before * 0.2 + value * 0.8)
    assert average.model.seen.item() == 4 and average.steps == 4
    assert not average.model.w.requires_grad and model.w.item() == 0


def test_o0_is_float32_throughout():
    model = nn.Linear(4, 4)
    precision = Precision("O0", model, CPU)
    with precision.autocast():
        assert model(torch.randn(2, 4)).dtype == torch.float32
    assert all(precision.master[name] is p for name, p in model.named_parameters())


@pytest.mark.usefixtures("bfloat16")
def test_o1_computes_in_half_and_keeps_float32_weights():
    model = nn.Linear(4, 4)
    precision = Precision("O1", model, CPU)
    with precision.autocast():
        assert model(torch.randn(2, 4)).dtype == torch.bfloat16
    assert model.weight.dtype == torch.float32


def test_o2_updates_half_weights_through_float32_masters():
    model = one_weight(1.0)
    precision = Precision("O2", model, CPU)
    assert model.w.dtype == torch.bfloat16 and precision.master["w"].dtype == torch.float32
    optimiser = torch.optim.SGD(precision.master.values(), lr=1e-3, fused=True)
    for _ in range(5):  # each far below what bfloat16 resolves at 1, which is 1/128
        precision.backward(-model.w.sum())
        precision.step(optimiser, clip=0)
    assert precision.master["w"].item() == pytest.approx(1.005)
    assert model.w.item() == torch.tensor(1.005).bfloat16().item()
    assert model.w.grad is None
    weights = precision.weights(model)
    assert weights["w"].dtype == torch.float32 and weights["w"].item() == pytest.approx(1.005)
    precision.load(model, {"w": torch.tensor([2.001]), "seen": torch.tensor([3])})
    assert precision.master["w"].item() == pytest.approx(2.001)
    assert (model.w.item(), model.seen.item()) == (2.0, 3)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
@pytest.mark.parametrize(("clip", "factor"), [(0, 1), (1, 1 / 5), (10, 1)])
def test_the_gradient_is_clipped_to_its_norm_and_the_norm_before_is_told(level, clip, factor):
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    precision = Precision(level, model, CPU)
    optimiser = torch.optim.SGD(precision.master.values(), lr=1.0, fused=True)
    precision.backward((model.weight * torch.tensor([3.0, 4.0])).sum())
    assert precision.step(optimiser, clip).norm.item() == pytest.approx(5, rel=1e-3)
    expected = torch.tensor([[-3.0, -4.0]]) * factor
    torch.testing.assert_close(precision.master["weight"].detach(), expected, rtol=1e-4, atol=0)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("level", ["O1", "O2"])
def test_a_gradient_that_overflows_float16_skips_the_step_and_halves_the_scale(level):
    model = one_weight(1.0)
    precision = Precision(level, model, CPU)
    precision.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)  # as on a device without bfloat16
    optimiser = torch.optim.SGD(precision.master.values(), lr=0.5, fused=True)
    precision.backward(model.w.sum())
    assert precision.step(optimiser, clip=0).norm.item() == 1  # told without the scale
    assert (precision.master["w"].item(), model.w.item(), precision.scaler.get_scale()) == (0.5, 0.5, 4.0)
    precision.backward(model.w.sum() * float("inf"))
    precision.step(optimiser, clip=1)
    assert (precision.master["w"].item(), model.w.item(), precision.scaler.get_scale()) == (0.5, 0.5, 2.0)
    assert precision.master["w"].grad is None and model.w.grad is None


def test_a_resumed_optimiser_keeps_its_moments_and_takes_today_s_weight_decay():
    module = torch.nn.Linear(3, 2)
    before = build_optimiser(module.named_parameters(), config(WEIGHT_DECAY=0.1))
    module(torch.ones(3)).sum().backward()
    before.step()
    after = build_optimiser(module.named_parameters(), config(WEIGHT_DECAY=0.3))
    load_optimiser(after, before.state_dict())
    assert [group["weight_decay"] for group in after.param_groups] == [0.3, 0.0]
    for parameter in module.parameters():
        assert torch.equal(after.state[parameter]["exp_avg"], before.state[parameter]["exp_avg"])
