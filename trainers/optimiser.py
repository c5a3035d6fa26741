"""The optimiser, its schedule as a function of the step, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from torch import nn
from yacs.config import CfgNode


def build_optimiser(named: Iterable[tuple[str, nn.Parameter]], config: CfgNode, cuda: bool) -> torch.optim.Optimizer:
    """AdamW or SGD over named float32 parameters; no weight decay on vectors (biases, norms, tokens) and scalars."""
    named = list(named)
    decayed = [p for name, p in named if p.ndim > 1 and not name.endswith("positional_embedding")]
    rest = [p for name, p in named if p.ndim <= 1 or name.endswith("positional_embedding")]
    groups = [{"params": decayed, "weight_decay": config.TRAIN.WEIGHT_DECAY}, {"params": rest, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if config.TRAIN.OPTIMIZER == "adamw":
        return torch.optim.AdamW(groups, lr=config.TRAIN.LR, betas=(0.9, 0.98), eps=1e-8, fused=cuda)
    return torch.optim.SGD(groups, lr=config.TRAIN.LR, momentum=0.9, nesterov=True)


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


class MovingAverage:
    """Exponential moving average of a model's parameters, in float32; early steps average over fewer weights.

    The decay of step n is min(decay, (1 + n) / (10 + n)), as TensorFlow's ExponentialMovingAverage has it.
    """

    def __init__(self, model: nn.Module, weights: dict[str, torch.Tensor], decay: float) -> None:
        """`weights` are the model's in float32, from which the average starts."""
        self.decay, self.steps = decay, 0
        self.model = copy.deepcopy(model).float().requires_grad_(False).eval()
        self.model.load_state_dict(weights)

    @torch.no_grad()
    def update(self, weights: dict[str, torch.Tensor]) -> None:
        """Moves towards `weights` (name → tensor); buffers are copied."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        parameters = dict(self.model.named_parameters())
        for name, value in self.model.state_dict().items():
            value.lerp_(weights[name].float(), 1 - decay) if name in parameters else value.copy_(weights[name])
        self.steps += 1
        self.model.train(False)  # forgets what was computed with the former weights
