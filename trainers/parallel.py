"""A model in several processes: each holds all of it (DistributedDataParallel), or a share of each weight (FSDP2)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from yacs.config import CfgNode

from echoviewclip.clip.attention import AttentionBlock
from echoviewclip.inference.half import half_precision
from echoviewclip.models.outputs import ModelOutput
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.distributed import world
from echoviewclip.utils.divided import is_sharded, whole
from echoviewclip.utils.errors import UserError

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule

log = logging.getLogger(__name__)


def place(model: VideoCLIP, config: CfgNode, device: torch.device, trains: bool) -> Sharded | None:
    """Moves a model to the device: where it trains in several processes, in shares as TRAIN.SHARD says, else whole.

    Raises UserError where the device computes in float16, for shares.
    """
    if config.TRAIN.SHARD == "none" or world() == 1 or not trains:
        model.to(device)
        return None
    half, level = half_precision(device).dtype, config.TRAIN.OPT_LEVEL
    if half == torch.float16 and level != "O0":
        raise UserError(
            f"TRAIN.SHARD full: {device} computes in float16 at TRAIN.OPT_LEVEL {level}, and processes would scale "
            "their shares of the gradients differently; set TRAIN.OPT_LEVEL O0, or TRAIN.SHARD none"
        )
    alone, shared = (held_bytes(model, config.TRAIN.OPTIMIZER, processes) / 1e9 for processes in (1, world()))
    log.info(
        "TRAIN.SHARD full: weights, gradients and moments take %.3g GB in each of %d processes, in one alone %.3g GB",
        *(shared, world(), alone),
    )
    return Sharded(model, device, half if level == "O2" else None)


class Parallel(Protocol):
    """A model that trains in one process or several, which all call it for their own batches."""

    def __call__(self, *arguments: Any) -> ModelOutput:
        """`VideoCLIP.forward`; with the backward pass after it processes exchange gradients, of which each gets the
        mean."""

    def no_sync(self) -> AbstractContextManager[None]:
        """Within it gradients are added up here; those of the next backward pass outside are exchanged with them."""

    def still(self) -> VideoCLIP:
        """A model with the same state, to be copied; it may be one that cannot run."""

    def answering(self, model: VideoCLIP) -> VideoCLIP:
        """A model that answers with the weights of this one, or of one of `still`. All processes call it; its answers
        may then be asked for in each as often as wanted."""


class Replicated:
    """A model that each process holds all of."""

    def __init__(self, model: VideoCLIP, device: torch.device) -> None:
        self._model, self._parallel = model, None
        if world() > 1:
            devices = [device.index] if device.type == "cuda" else None
            self._parallel = DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def __call__(self, *arguments: Any) -> ModelOutput:
        """See `Parallel`."""
        return (self._parallel or self._model)(*arguments)

    def no_sync(self) -> AbstractContextManager[None]:
        """See `Parallel`."""
        return self._parallel.no_sync() if self._parallel else nullcontext()

    def still(self) -> VideoCLIP:
        """See `Parallel`."""
        return self._model

    def answering(self, model: VideoCLIP) -> VideoCLIP:
        """See `Parallel`."""
        return model


class Sharded:
    """A model each of whose weights is divided among the processes, with its gradient and the optimiser's moments.

    A transformer block is gathered when it runs, forward and backward, and left again; what is in no block (a
    hundredth of a large tower) is gathered for the whole step. The scale of the logits, a scalar, is not divided.
    The state of the model has the names and shapes of before; its tensors are divided (`utils/divided.py`).
    """

    def __init__(self, model: VideoCLIP, device: torch.device, half: torch.dtype | None = None) -> None:
        """Divides a model, in place, and moves it to the device; the main process' values count.

        With `half` blocks are gathered, and so compute, in it; their gradients are added up in float32.
        """
        from torch.distributed.device_mesh import init_device_mesh  # who shards nothing does not wait for these
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        empty = {id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad) for p in model.parameters()}
        self._outline = copy.deepcopy(model, empty)  # without its weights
        self._model, self._device, self._exchanges = model, device, True
        mesh = init_device_mesh(device.type, (world(),))
        policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=half and torch.float32)
        for module in model.modules():
            if isinstance(module, AttentionBlock):
                _agree(module, device)
                _sum_on_gloo(fully_shard(module, mesh=mesh, mp_policy=policy))
        _agree(model, device)
        scale = model.logit_scale
        del model.logit_scale  # fully_shard divides no scalars
        root = _sum_on_gloo(fully_shard(model, mesh=mesh))
        self._exchange_shares = root.set_requires_gradient_sync
        model.logit_scale = scale
        if scale.requires_grad:
            scale.register_post_accumulate_grad_hook(self._average)

    def __call__(self, *arguments: Any) -> ModelOutput:
        """See `Parallel`."""
        return self._model(*arguments)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """See `Parallel`; the gradients that are added up are whole ones."""
        self._exchange(False)
        try:
            yield
        finally:
            self._exchange(True)

    def _exchange(self, exchanges: bool) -> None:
        self._exchanges = exchanges
        self._exchange_shares(exchanges)

    def _average(self, parameter: Tensor) -> None:
        """The mean of a gradient over the processes, of a parameter that is not divided."""
        if self._exchanges and parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= world()

    def still(self) -> VideoCLIP:
        """See `Parallel`; its weights are divided, too, and share the memory of the model's."""
        return self._with(self._model.state_dict())

    def answering(self, model: VideoCLIP) -> VideoCLIP:
        """See `Parallel`: a model of whole weights, without gradients and moments."""
        return self._with({name: whole(value) for name, value in model.state_dict().items()}).to(self._device)

    def _with(self, state: dict[str, Tensor]) -> VideoCLIP:
        model = copy.deepcopy(self._outline)
        model.load_state_dict(state, assign=True)
        return model


def held_bytes(model: nn.Module, optimiser: str, processes: int) -> int:
    """Of weights, and of gradients and moments (TRAIN.OPTIMIZER) of those that train, in process 0 of so many that
    share them; others hold as much or a little less."""
    total, moments = 0, {"adamw": 2, "sgd": 1}[optimiser]
    for parameter in model.parameters():
        rows = len(parameter) if parameter.ndim else 1
        share = -(-rows // processes) * (parameter.numel() // rows)
        total += share * parameter.itemsize * (2 + moments if parameter.requires_grad else 1)
    return total


def _sum_on_gloo(module: FSDPModule) -> FSDPModule:
    """Gradients are added up and then divided: PyTorch 2.8 takes what gloo adds up for the mean."""
    if dist.get_backend() == dist.Backend.GLOO:
        module.set_force_sum_reduction_for_comms(True)
    return module


@torch.no_grad()
def _agree(module: nn.Module, device: torch.device) -> None:
    """Moves what is not divided yet to the device, with the main process' values, as DistributedDataParallel does."""
    for tensor in (*module.parameters(), *module.buffers()):
        if not is_sharded(tensor):
            tensor.data = tensor.data.to(device)
            dist.broadcast(tensor.data, 0)
