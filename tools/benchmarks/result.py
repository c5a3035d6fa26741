"""What was measured, as a type, a table and a file."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from echoviewclip.inference.precision import Precision
from echoviewclip.tools.benchmarks.cases import Setting
from echoviewclip.tools.benchmarks.timing import Form, Timing, alternate
from echoviewclip.tools.benchmarks.work import largest_linear, operations, product, product_operations
from echoviewclip.utils.files import write_text

CEILING = "ceiling"
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Measured:
    """A form of a piece of work.

    Attributes:
        work, form, precision: what is done, in which of the compared forms, multiplied in which precision.
        seconds, low, high: median and quartiles of the wall time; on a GPU of its own clock.
        cpu_seconds: median of the time that processors spent on it.
        operations: floating-point operations.
        ceiling: operations a second of a linear layer of the model's size in the same precision, measured in the same
            rounds; on a processor a second of its own time, which other work on the machine hardly changes.
        share: of that ceiling that the form reaches.
        speedup, cpu_speedup: how many times as fast as the first form, by wall and by processors' time; medians of the
            rounds' ratios.
        bytes_above: the most of the GPU's memory that it takes at a time beyond what stays; None on a processor, whose
            programs are measured in processes of their own (`memory.py`).
    """

    work: str
    form: str
    precision: str
    seconds: float
    low: float
    high: float
    cpu_seconds: float
    operations: int
    ceiling: float
    share: float
    speedup: float
    cpu_speedup: float
    bytes_above: int | None


def measure(
    work: str,
    forms: Mapping[str, Form],
    computes: Mapping[str, Precision],
    model: nn.Module,
    setting: Setting,
    repeats: int,
    same: Mapping[str, str] = NONE,
) -> list[Measured]:
    """Forms in turn with the largest linear layer of `model` in each of their precisions; the first is the baseline.

    `same` names forms that compute what another does in a way in which operations cannot be seen, and that other.
    """
    counted = {name: operations(form) for name, form in forms.items() if name not in same}
    shape = largest_linear(model, forms[list(counted)[-1]])
    counted |= {name: counted[other] for name, other in same.items()}
    least = min(count for count in counted.values() if count)
    times = -(-least // product_operations(shape))  # as long as a form, or the clock is too coarse
    precisions = {precision.products: precision for precision in computes.values()}
    alone = {f"{CEILING} {name}": product(shape, times, precision) for name, precision in precisions.items()}
    timings = alternate({**forms, **alone}, setting.device, repeats)
    first = timings[next(iter(forms))]
    rows = []
    for name in forms:
        timing = timings[name]
        precision = computes[name].products
        at_best = _rate(times * product_operations(shape), timings[f"{CEILING} {precision}"], setting.device)
        low, middle, high = timing.quartiles
        rows.append(
            Measured(
                *(work, name, precision, middle, low, high),
                cpu_seconds=float(np.median(timing.cpu)),
                operations=counted[name],
                ceiling=at_best,
                share=_rate(counted[name], timing, setting.device) / at_best,
                speedup=first.slower_than(timing),
                cpu_speedup=first.busier_than(timing),
                bytes_above=memory_above(forms[name], setting.device),
            )
        )
    return rows


def memory_above(form: Form, device: torch.device) -> int | None:
    """The most bytes of a GPU's memory at a time in a run, less those that are taken before."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    form()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _rate(count: int, timing: Timing, device: torch.device) -> float:
    """Operations a second of the device's time."""
    return count / float(np.median(timing.wall if device.type == "cuda" else timing.cpu))


def show(rows: Sequence[Measured], about: str) -> None:
    """Prints a table."""
    print(f"{about}\n")
    print(
        f"{'':26}{'form':14}{'in':10}{'s (quartiles)':>26}{'CPU s':>9}{'GFLOP':>10}{'of ceiling':>12}"
        f"{'speed-up':>10}{'(CPU)':>8}{'GB above':>10}"
    )
    for row in rows:
        times, giga = f"{row.seconds:.4g} ({row.low:.4g}–{row.high:.4g})", row.operations / 1e9
        print(
            f"{row.work:26}{row.form:14}{row.precision:10}{times:>26}{row.cpu_seconds:>9.3g}{giga:>10.4g}"
            f"{row.share:>12.0%}{row.speedup:>10.2f}{row.cpu_speedup:>8.2f}"
            f"{'' if row.bytes_above is None else format(row.bytes_above / 1e9, '.2f'):>10}"
        )
    for precision in dict.fromkeys(row.precision for row in rows):
        best = max(row.ceiling for row in rows if row.precision == precision)
        print(f"ceiling in {precision}: {best / 1e9:.4g} GFLOP/s, a linear layer of the model's size alone")


def write(file: Path, benchmark: str, device: torch.device, arguments: Mapping[str, Any], rows: Sequence[Any]) -> None:
    """Writes what was measured, and on what, as JSON; `rows` are dataclasses or plain values."""
    content = {
        "benchmark": benchmark,
        "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()},
        "date": time.strftime("%Y-%m-%d"),
        "device": device_words(device),
        "torch": torch.__version__,
        "rows": [asdict(row) if hasattr(row, "__dataclass_fields__") else row for row in rows],
    }
    write_text(file, json.dumps(content, indent=2) + "\n")


def device_words(device: torch.device) -> str:
    """The GPU's name; or the processor's, its threads, and the instructions that PyTorch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' * (threads != 1)}, {torch.backends.cpu.get_cpu_capability()}"


def processor() -> str:
    """The name of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or "an unknown processor"
