"""The optimiser, its schedule as a function of the step, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from echoviewclip.trainers.stages import is_prompt
from echoviewclip.utils.divided import divided, share_of, whole_on_main
from echoviewclip.utils.errors import UserError

Like = Callable[[nn.Parameter], Tensor]
"""What an optimiser's parameter is of: the model's own, which may be sharded."""

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


def optimiser_state(optimiser: torch.optim.Optimizer, like: Like) -> dict[str, Any]:
    """The state for a checkpoint, of sharded parameters the whole moments, on the main process.

    All processes call it, as they call `load_optimiser`.
    """
    state, likes = optimiser.state_dict(), [like(p) for p in _parameters(optimiser)]
    return state | {"state": {n: _each(whole_on_main, likes[n], moments) for n, moments in state["state"].items()}}


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any], like: Like = lambda p: p) -> None:
    """Takes over a checkpoint's state, also of an optimiser that was not fused; its settings stay those of today.

    Raises UserError for the state of another optimiser or of other parameters.
    """
    own = optimiser.state_dict()
    if _signature(state) != _signature(own):
        raise UserError(
            "the checkpoint's optimiser is another, or trains other parts: resume with the TRAIN.OPTIMIZER, "
            "MODEL.FIX_TEXT and TRAINER.ViFi_CLIP of its own run (config.yaml beside it)"
        )
    likes, shares = [like(p) for p in _parameters(optimiser)], {}
    for number, moments in state["state"].items():
        if number >= len(likes) or not _fits(moments, likes[number], "betas" in own["param_groups"][0]):
            raise UserError(f"the checkpoint's optimiser holds no state of its parameter {number}: resume another one")
        shares[number] = _each(lambda like, moment: share_of(divided(moment, like)), likes[number], moments)
    saved = zip(own["param_groups"], state["param_groups"], strict=True)
    groups = [today | {"lr": before["lr"]} for today, before in saved]  # each step sets its own rate
    optimiser.load_state_dict(state | {"param_groups": groups, "state": shares})


def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """In the order by which a state numbers them."""
    return [p for group in optimiser.param_groups for p in group["params"]]


def _each(change: Callable[[Tensor, Tensor], Tensor], like: Tensor, moments: dict[str, Any]) -> dict[str, Any]:
    """A parameter's moments, changed; AdamW's count of steps is none."""
    return {name: value if name == "step" else change(like, value) for name, value in moments.items()}


def _fits(moments: dict[str, Any], parameter: Tensor, adam: bool) -> bool:
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
        """Moves towards `weights` (name → tensor, of a sharded one this process' share), unless the step was left out
        (a bool scalar on the device).

        Buffers are copied; what `weights` does not name stays.
        """
        made = ~torch.as_tensor(left_out, device=self.steps.device)
        decay = ((1 + self.steps) / (10 + self.steps)).clamp(max=self.decay)
        share = ((1 - decay) * made).float()
        parameters, state = dict(self.model.named_parameters()), self.model.state_dict()
        for name, value in weights.items():
            average = share_of(state[name])
            average.lerp_(value, share) if name in parameters else average.copy_(value)
        self.steps += made
        self.model.train(False)  # forgets what was computed with the former weights
