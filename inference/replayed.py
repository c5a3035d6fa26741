"""Small batches on a GPU: work that repeats as one CUDA graph, so that the program's own time does not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

Output = TypeVar("Output")

EAGER = 2  # calls before a recording pays; they also warm up what a recording may not contain


class Replayed(Generic[Output]):
    """A function of one tensor, called again and again: on a GPU it is recorded once and replayed from then on.

    The function computes on the device alone, always in the same way, without gradients and without waiting; what it
    reads besides stays where it is. A tensor of another shape or dtype is computed as usual, and so is everything on
    other devices.
    """

    def __init__(self, function: Callable[[Tensor], Output]) -> None:
        self.function = function
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: Tensor | None = None
        self._made: Output | None = None

    def __call__(self, given: Tensor) -> Output:
        """What the function makes of `given`: a tree (tuples, dicts) of tensors of its own."""
        if given.device.type != "cuda":
            return self.function(given)
        if self._given is None:
            self._calls += 1
            if self._calls <= EAGER:
                return self.function(given)
            self._record(given)
        if self._graph is None or self._given is None or not _alike(given, self._given):
            return self.function(given)
        self._given.copy_(given)
        self._graph.replay()
        return tree_map(_copy, self._made)

    def _record(self, given: Tensor) -> None:
        self._given, graph = given.clone(), torch.cuda.CUDAGraph()
        torch.cuda.synchronize(given.device)
        # Other threads may pin memory meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._made = self.function(self._given)
        self._graph = graph


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _copy(part: object) -> object:
    return part.clone() if isinstance(part, Tensor) else part
