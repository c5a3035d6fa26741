"""Clocks: forms of the same work in turn, so that their ratios hold on a machine that is busy with other work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

Form = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """R repeats of a piece of work.

    Attributes:
        wall: float64 [R], seconds; on a GPU by its own clock.
        cpu: float64 [R], seconds of processors that this process used, which what else the machine does hardly changes.
    """

    wall: np.ndarray
    cpu: np.ndarray

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the wall time, seconds."""
        low, middle, high = np.percentile(self.wall, [25, 50, 75])
        return float(low), float(middle), float(high)

    def slower_than(self, other: Timing) -> float:
        """Median of the ratios of this wall time to another's, round by round: what slows a round slows both."""
        return float(np.median(self.wall / other.wall))

    def busier_than(self, other: Timing) -> float:
        """The same of the processors' time."""
        return float(np.median(self.cpu / other.cpu))


def alternate(forms: Mapping[str, Form], device: torch.device, repeats: int, warm_up: int = 1) -> dict[str, Timing]:
    """Each form `warm_up` times unmeasured, then `repeats` rounds of all, each round in another order."""
    names = list(forms)
    for name in names:
        for _ in range(warm_up):
            forms[name]()
    clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            clocks[name].append(clock(forms[name], device))
    return {name: Timing(*np.array(clocks[name]).T) for name in names}


def clock(form: Form, device: torch.device) -> tuple[float, float]:
    """Seconds of a single run: of the wall, or the GPU's between the first and the last kernel; and of processors."""
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        used = time.process_time()
        begin.record()
        form()
        end.record()
        torch.cuda.synchronize(device)
        return begin.elapsed_time(end) / 1000, time.process_time() - used
    start, used = time.perf_counter(), time.process_time()
    form()
    return time.perf_counter() - start, time.process_time() - used
