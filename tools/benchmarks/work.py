"""How much a form computes: its floating-point operations, and how fast this device could at best compute them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from echoviewclip.inference.precision import Precision
from echoviewclip.tools.benchmarks.timing import Form

Shape = tuple[int, int, int]
"""Of a linear layer: rows, numbers in, numbers out."""


def operations(form: Form) -> int:
    """Floating-point operations of a run, counted as it runs; of products of matrices and convolutions.

    Attention is counted as the products that it consists of: fused kernels of processors are not known to the counter.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        form()
    return counter.get_total_flops()


def largest_linear(model: nn.Module, form: Form) -> Shape:
    """The shape at which the model's linear layers compute most in a run of `form`."""
    with _seen(model) as seen:
        form()
    return max(seen, key=lambda shape: seen[shape] * shape[0] * shape[1] * shape[2])


@contextmanager
def _seen(model: nn.Module) -> Iterator[Counter[Shape]]:
    """How often linear layers of each shape have run in the block."""
    seen: Counter[Shape] = Counter()

    def note(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        seen[made.numel() // made.shape[-1], given[0].shape[-1], made.shape[-1]] += 1

    hooks = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, nn.Linear)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def product(shape: Shape, times: int, precision: Precision) -> Form:
    """A linear layer of that shape alone, so many times: the ceiling for all that consists of such layers."""
    rows, inner, outer = shape
    x, weight = (
        torch.randn(size, device=precision.device).to(precision.computes) for size in ((rows, inner), (outer, inner))
    )

    def run() -> None:
        with precision.autocast():
            for _ in range(times):
                nn.functional.linear(x, weight)

    return run


def product_operations(shape: Shape) -> int:
    """Floating-point operations of a linear layer of that shape."""
    rows, inner, outer = shape
    return 2 * rows * inner * outer
