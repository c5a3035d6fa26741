"""The optimiser, its schedule as a function of the step, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from yacs.config import CfgNode

from echoviewclip.trainers.stages import is_prompt
from echoviewclip.utils.errors import UserError

Model = TypeVar("Model", bound=nn.Module)


def build_optimiser(named: Iterable[tuple[str, nn.Parameter]], config: CfgNode) -> torch.optim.Optimizer:
    """AdamW or SGD over named float32 parameters.

    No weight decay on biases, norms, scalars and learnable tokens, unless TRAIN.DECAY_ALL.

    Fused, on the CPU too: `Precision.step` can then leave a step to the device to make or not.
    """
    named = list(named)
    decayed = [p for name, p in named if decays(name, p)]
    rest = [p for name, p in named if not decays(name, p)]
    decay = config.TRAIN.WEIGHT_DECAY
    groups = [
        {"params": decayed, "weight_decay": decay},
        {"params": rest, "weight_decay": decay if config.TRAIN.DECAY_ALL else 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.TRAIN.OPTIMIZER == "adamw":
        return torch.optim.AdamW(groups, lr=config.TRAIN.LR, betas=(0.9, 0.98), eps=1e-8, fused=True)
    optimiser = torch.optim.SGD(groups, lr=config.TRAIN.LR, momentum=0.9, nesterov=True, fused=True)
    for _, parameter in named:  # a first step that is left out would leave it undefined
        optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a matrix or kernel of the model: not a bias, a norm, a scalar or an embedding."""
    return parameter.ndim > 1 and not name.endswith("positional_embedding") and not is_prompt(name)


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Takes over a checkpoint's state, also of an optimiser that was not fused; its settings stay those of today.

    Raises UserError for the state of another optimiser or of other parameters.
    """
    own = optimiser.state_dict()
    if _signature(state) != _signature(own):
        raise UserError(
            "the checkpoint's optimiser is another, or trains other parts: resume with the TRAIN.OPTIMIZER, "
            "MODEL.FIX_TEXT and TRAINER.ViFi_CLIP of its own run (config.yaml beside it)"
        )
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for number, moments in state["state"].items():
        if number >= len(parameters) or not _fits(moments, parameters[number], "betas" in own["param_groups"][0]):
            raise UserError(f"the checkpoint's optimiser holds no state of its parameter {number}: resume another one")
    saved = zip(own["param_groups"], state["param_groups"], strict=True)
    groups = [today | {"lr": before["lr"]} for today, before in saved]  # each step sets its own rate
    optimiser.load_state_dict(state | {"param_groups": groups})


def _fits(moments: dict[str, Any], parameter: nn.Parameter, adam: bool) -> bool:
    """Whether these are the moments of a parameter, by name and shape."""
    shaped = {"exp_avg", "exp_avg_sq"} if adam else {"momentum_buffer"}
    whole = moments.keys() == shaped | ({"step"} if adam else set())
    return whole and all(
        isinstance(moments[name], torch.Tensor) and moments[name].shape == parameter.shape for name in shaped
    )


def _signature(state: dict[str, Any]) -> list[tuple[bool, int]]:
    """What tells one optimiser's state from another's: AdamW's betas, and how many parameters a group has."""
    return [("betas" in group, len(group["params"])) for group in state["param_groups"]]


def learning_rate(step: int, steps: int, warmup: int, peak: float, schedule: str) -> float:
    """The rate of optimiser step `step` (from 0) of `steps`.

    Linear from 0 to peak over `warmup` steps; then a half cosine to peak/100, or constant.
    """
    if step < warmup:
        return peak * step / warmup
    if schedule == "constant":
        return peak
    progress = (step - warmup) / max(steps - warmup, 1)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1))))


class MovingAverage(Generic[Model]):
    """Exponential moving average of a model's parameters, in float32; early steps average over fewer weights.

    The decay of step n is min(decay, (1 + n) / (10 + n)), as TensorFlow's ExponentialMovingAverage has it.
    """

    def __init__(self, model: Model, weights: dict[str, torch.Tensor], decay: float) -> None:
        """`weights` are the model's in float32, from which the average starts."""
        self.decay = decay
        self.model = copy.deepcopy(model).float().requires_grad_(False).eval()
        self.model.load_state_dict(weights)
        self.steps = torch.zeros((), dtype=torch.float64, device=next(model.parameters()).device)

    @torch.no_grad()
    def update(self, weights: dict[str, torch.Tensor], left_out: torch.Tensor | bool = False) -> None:
        """Moves towards `weights` (name → tensor), unless the step was left out (a bool scalar on the device).

        Buffers are copied; what `weights` does not name stays.
        """
        made = ~torch.as_tensor(left_out, device=self.steps.device)
        decay = ((1 + self.steps) / (10 + self.steps)).clamp(max=self.decay)
        share = ((1 - decay) * made).float()
        parameters, state = dict(self.model.named_parameters()), self.model.state_dict()
        for name, value in weights.items():
            state[name].lerp_(value, share) if name in parameters else state[name].copy_(value)
        self.steps += made
        self.model.train(False)  # forgets what was computed with the former weights
