"""The three levels of mixed precision, under the names that apex gave them."""

from __future__ import annotations

import copy
import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from echoviewclip.inference.half import half_precision
from echoviewclip.utils.distributed import is_main
from echoviewclip.utils.divided import divided, is_sharded, share_of, total_norm
from echoviewclip.utils.exact import has_tf32

log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=nn.Module)


class Outcome(NamedTuple):
    """Of an optimiser step, as scalars on the device: the gradients' norm before it is clipped, whether the step was
    left out, and whether that is a fault; it is none while a gradient scaler looks for its scale."""

    norm: Tensor
    left_out: Tensor
    failed: Tensor


class Precision:
    """O0: float32, on GPUs with products in TF32. O1: autocast. O2: weights in half precision, updated through float32
    master weights.

    Half is bfloat16 where the device has it; else float16, with a gradient scaler. A processor without instructions for
    bfloat16 is many times slower in it than in float32, so there O1 is float32, and so is O2 of a model that only
    answers, but for its weights, which are rounded; what trains at O2 computes in bfloat16 all the same. The log says
    once what was chosen and why.

    `master` maps the name of a parameter that trains to the float32 tensor that the optimiser updates: the parameter
    itself, but for O2 and for sharded parameters, whose share of this process it is. `frozen` maps the names of other
    half parameters to their float32 originals, in main memory: what a stage does not train is saved as it came.
    """

    def __init__(
        self, level: str, model: nn.Module, device: torch.device, *, trains: bool = True, tf32: bool = True
    ) -> None:
        """`trains`: the model does more than answer. Without `tf32` products in float32 are exact on every device."""
        self.device = device
        self.half, slow = half_precision(device)
        self.halves = level == "O2"
        self.casts = (level == "O1" and not slow) or (level == "O2" and (trains or not slow))
        self.level, self.computes = level, self.half if self.casts else torch.float32
        self.tf32 = tf32 and level == "O0" and has_tf32(device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.casts and self.half == torch.float16)
        self.sharded = any(map(is_sharded, model.parameters()))
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.master: dict[str, nn.Parameter] = {
            name: nn.Parameter(share_of(p)) if is_sharded(p) else p for name, p in self.trained.items()
        }
        self.frozen: dict[str, Tensor] = {}
        if is_main():
            self._tell(slow)
        if self.halves and not self.sharded:  # of sharded weights half ones are made as they are gathered
            originals = {name: p.detach() for name, p in model.named_parameters()}
            halve(model, self.half)  # keeps the Parameter objects
            halved = {name for name, p in model.named_parameters() if p.dtype == self.half}
            self.master |= {name: nn.Parameter(originals[name].clone()) for name in halved & self.trained.keys()}
            self.frozen = {name: originals[name].cpu() for name in halved - self.trained.keys()}
            if not self.casts:
                for name, parameter in model.named_parameters():
                    parameter.data = parameter.data.float() if name in halved else parameter.data

    def __str__(self) -> str:
        return f"{self.level} ({self.products})"

    @property
    def products(self) -> str:
        """What matrices are multiplied in: float32, TF32, bfloat16 or float16."""
        return "TF32" if self.tf32 else _name(self.computes)

    def _tell(self, slow: str) -> None:
        chosen = f"TRAIN.OPT_LEVEL {self.level} computes in {_name(self.computes)} on {self.device}"
        if self.casts and slow:
            log.warning("%s, slower than in float32 (O0): %s", chosen, slow)
        elif self.tf32:
            log.info("%s, products in TF32 (in float32 with NVIDIA_TF32_OVERRIDE=0)", chosen)
        elif self.level != "O0":
            log.info("%s%s", chosen, slow and f": {slow}")

    def autocast(self) -> AbstractContextManager:
        """The context of forward passes; it also sets how they, and backward passes after them, multiply in float32."""
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
            torch.backends.cudnn.deterministic = True  # else gradients of convolutions differ from run to run
        # The cache would keep half copies of all weights to the end, of which sharding keeps one block's at a time.
        cached = not self.sharded
        return torch.autocast(self.device.type, self.half, cache_enabled=cached) if self.casts else nullcontext()

    def cast(self, model: Model) -> Model:
        """A model of float32 weights as this level computes with it: for O2 a copy in half precision."""
        return halve(copy.deepcopy(model), self.half) if self.halves else model

    def load_scaler(self, state: dict[str, Any]) -> None:
        """Takes over a gradient scaler's state; one of a run that had none is empty, and the scale is found anew."""
        if state:
            self.scaler.load_state_dict(state)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of `loss`."""
        self.scaler.scale(loss).backward()

    def step(self, optimiser: torch.optim.Optimizer, clip: float) -> Outcome:
        """One optimiser step, with the gradients' norm clipped to `clip` (0: not clipped).

        The device leaves it out where that norm is not finite: the optimiser is fused (`build_optimiser`), and told of
        `found_inf` it changes neither weights nor its own state.
        """
        for name, parameter in self._apart():
            master = self.master[name]
            if is_sharded(parameter):
                master.data = share_of(parameter)  # it may have moved
            master.grad = None if parameter.grad is None else share_of(parameter.grad).float()
            parameter.grad = None
        self.scaler.unscale_(optimiser)
        norm = self._norm()
        left_out = ~norm.isfinite()
        searching = self.scaler.is_enabled() & (self.scaler.scale(torch.ones_like(norm)) >= 1)
        if clip:
            nn.utils.clip_grads_with_norm_(self.master.values(), clip, norm)
        optimiser.found_inf = left_out.float()  # type: ignore[attr-defined]  # of fused optimisers
        optimiser.step()
        self.scaler.update()
        optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, parameter in self._halved():
                parameter.copy_(self.master[name])
        return Outcome(norm, left_out, left_out & ~searching)

    def _norm(self) -> Tensor:
        """Of the gradients of all processes' shares together."""
        shares: list[Tensor] = []
        others: list[Tensor] = []
        for name, master in self.master.items():
            if master.grad is not None:
                (shares if is_sharded(self.trained[name]) else others).append(master.grad)
        return total_norm(shares, others)

    def _apart(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters whose masters are other tensors."""
        return [(name, p) for name, p in self.trained.items() if p is not self.master[name]]

    def of_master(self, master: nn.Parameter) -> nn.Parameter:
        """The model's parameter that a master is of."""
        return next(self.trained[name] for name, other in self.master.items() if other is master)

    def _halved(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that train in half precision, whose masters are other memory, too."""
        return [(name, p) for name, p in self._apart() if not is_sharded(p)]

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """The model's state in float32: masters and originals in place of half weights; sharded ones stay so."""
        masters = {name: value.detach() for name, value in self.master.items() if not is_sharded(self.trained[name])}
        return model.state_dict() | self.frozen | masters

    def load(self, model: nn.Module, weights: dict[str, Tensor]) -> None:
        """The inverse of `weights`, of whole tensors. All processes call it."""
        own = model.state_dict()
        model.load_state_dict({name: divided(value, own.get(name, value)) for name, value in weights.items()})
        with torch.no_grad():
            for name, _ in self._halved():
                self.master[name].copy_(weights[name])
        self.frozen = {name: weights[name].detach().float().cpu() for name in self.frozen}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def halve(model: Model, half: torch.dtype) -> Model:
    """Casts a model's float32 parameters in place, as apex's O2 does: not those of batch norms.

    Running statistics and other buffers keep their precision too, since small steps would be lost in half; so do
    scalars, which cost nothing (the scale of the logits would be off by 0.4 %).
    """

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(half) if isinstance(tensor, nn.Parameter) and tensor.ndim else tensor

    for module in model.modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            module._apply(cast, recurse=False)
    return model
