"""Tensors of which each process holds a share, by rows (DTensor); any other tensor is its own share and whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

import torch.distributed as dist
from torch import Tensor, nn

from echoviewclip.utils.distributed import is_main

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor  # elsewhere imported where it is made: whoever predicts has none


def is_sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether this process holds a share of it alone."""
    return hasattr(tensor, "placements")


def share_of(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: the same memory, without gradients."""
    return tensor.to_local().detach() if is_sharded(tensor) else tensor


def whole(tensor: Tensor, share: Tensor | None = None) -> Tensor:
    """All of a tensor, on each process; all processes call this for the same tensors in the same order.

    With `share` all of what is divided as `tensor` is, of which this process holds that.
    """
    if not is_sharded(tensor):
        return tensor if share is None else share
    if share is not None:
        from torch.distributed.tensor import DTensor

        tensor = DTensor.from_local(
            share, tensor.device_mesh, tensor.placements, shape=tensor.shape, stride=tensor.stride()
        )
    return tensor.full_tensor().detach()


def whole_on_main(tensor: Tensor, share: Tensor | None = None) -> Tensor:
    """As `whole` on the main process, in main memory, so that no device has to have room for all; else empty.

    A tensor that is not sharded stays where it is, on every process.
    """
    if not is_sharded(tensor):
        return whole(tensor, share)
    found = whole(tensor, share)
    return found.cpu() if is_main() else found.new_empty(0)


def on_main(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`whole_on_main` of each."""
    return {name: whole_on_main(tensor) for name, tensor in tensors.items()}


def divided(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, divided and placed as `like` is; the main process' values count. All processes call this."""
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.detach().to(like.device, like.dtype), like.device_mesh, like.placements)


def total_norm(shares: list[Tensor], others: list[Tensor]) -> Tensor:
    """The norm of all elements of the tensors that processes hold `shares` of, and of `others`, which each holds."""
    norm = nn.utils.get_total_norm(others)
    if not shares:
        return norm
    squared = nn.utils.get_total_norm(shares).square()
    dist.all_reduce(squared)
    return (squared + norm.square()).sqrt()
