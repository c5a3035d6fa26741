"""Means of what training shows: loss terms and the gradients' norm between two reports."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class LossMeter:
    """Means over clips of the loss terms since the last report, summed on the device without waiting for it.

    Batches whose loss is not finite are left out, as their optimiser steps are.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count: Tensor | int = 0
        self.norm: Tensor | None = None

    def add(self, terms: dict[str, Tensor], clips: int) -> None:
        """The terms of a batch of so many clips, which are means over them."""
        finite = terms["loss"].isfinite()
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0) + torch.where(finite, clips * value, 0)
        self.count = self.count + clips * finite

    def means(self) -> dict[str, float]:
        """Means as plain numbers, and the norm of the last gradient, where they are finite; waits for the device."""
        count = int(self.count)
        means = {name: float(value) / count for name, value in self.sums.items()} if count else {}
        norm = {"grad_norm": float(self.norm)} if self.norm is not None else {}
        return {name: value for name, value in (means | norm).items() if math.isfinite(value)}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of a report that is under way."""
        return {"sums": dict(self.sums), "count": int(self.count), "norm": self.norm}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """The inverse of `state`; an empty one begins anew."""
        self.sums = {name: value.to(device) for name, value in state.get("sums", {}).items()}
        self.count = state.get("count", 0)
        self.norm = state["norm"].to(device) if state.get("norm") is not None else None
