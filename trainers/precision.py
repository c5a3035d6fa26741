"""The three levels of mixed precision, under the names that apex gave them."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


class Precision:
    """O0: float32. O1: autocast. O2: weights in half precision, updated through float32 master weights.

    Half is bfloat16 where the device has it; else float16, with a gradient scaler. `master` maps a parameter's name to
    the float32 tensor that the optimiser updates: the parameter itself, but for O2.
    """

    def __init__(self, level: str, model: nn.Module, device: torch.device) -> None:
        self.level, self.device = level, device
        bfloat = device.type == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)
        self.half = torch.bfloat16 if bfloat else torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=level != "O0" and not bfloat)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.master: dict[str, nn.Parameter] = dict(trained)
        if level == "O2":
            self.master = {name: nn.Parameter(p.detach().float().clone()) for name, p in trained.items()}
            model.to(self.half)
        self.trained = trained  # casting keeps the Parameter objects

    def autocast(self) -> AbstractContextManager:
        """The context of forward passes."""
        return nullcontext() if self.level == "O0" else torch.autocast(self.device.type, dtype=self.half)

    def cast(self, model: nn.Module) -> nn.Module:
        """A model of float32 weights as this level computes with it: for O2 a copy in half precision."""
        return copy.deepcopy(model).to(self.half) if self.level == "O2" else model

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of `loss`."""
        self.scaler.scale(loss).backward()

    def step(self, optimiser: torch.optim.Optimizer, clip: float) -> Tensor:
        """One optimiser step; the gradients' norm (a device scalar) before it is clipped to `clip` (0: not clipped)."""
        if self.level == "O2":
            for name, parameter in self.trained.items():
                self.master[name].grad = None if parameter.grad is None else parameter.grad.float()
                parameter.grad = None
        self.scaler.unscale_(optimiser)
        norm = nn.utils.clip_grad_norm_(self.master.values(), clip or float("inf"))
        self.scaler.step(optimiser)
        self.scaler.update()
        optimiser.zero_grad(set_to_none=True)
        if self.level == "O2":
            with torch.no_grad():
                for name, parameter in self.trained.items():
                    parameter.copy_(self.master[name])
        return norm

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """The model's state, with the float32 masters in place of half weights."""
        state = model.state_dict()
        if self.level == "O2":
            state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
            state |= {name: value.detach() for name, value in self.master.items()}
        return state

    def load(self, model: nn.Module, weights: dict[str, Tensor]) -> None:
        """The inverse of `weights`."""
        model.load_state_dict(weights)
        if self.level == "O2":
            with torch.no_grad():
                for name, master in self.master.items():
                    master.copy_(weights[name])
