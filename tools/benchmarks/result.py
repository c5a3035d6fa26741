"""What was measured, as a type, a table and a file."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from echoviewclip.tools.benchmarks.cases import Setting
from echoviewclip.tools.benchmarks.timing import Form, Timing, alternate
from echoviewclip.tools.benchmarks.work import largest_linear, operations, product, product_operations
from echoviewclip.utils.files import write_text

CEILING = "ceiling"


@dataclass(frozen=True)
class Measured:
    """A form of a piece of work.

    Attributes:
        work, form, precision: what is done, in which of the compared forms, computed in which dtype.
        seconds, low, high: median and quartiles of the wall time; on a GPU of its own clock.
        cpu_seconds: median of the time that processors spent on it.
        operations: floating-point operations.
        ceiling: operations a second of a linear layer of the model's size in the same precision, measured in the same
            rounds; on a processor a second of its own time, which other work on the machine hardly changes.
        share: of that ceiling that the form reaches.
        speedup, cpu_speedup: how many times as fast as the first form, by wall and by processors' time; medians of the
            rounds' ratios.
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


def measure(
    work: str,
    forms: Mapping[str, Form],
    computes: Mapping[str, torch.dtype],
    model: nn.Module,
    setting: Setting,
    repeats: int,
) -> list[Measured]:
    """Forms in turn with the largest linear layer of `model` in each of their precisions; the first is the baseline."""
    counted = {name: operations(form) for name, form in forms.items()}
    shape = largest_linear(model, list(forms.values())[-1])
    least = min(count for count in counted.values() if count)
    times = -(-least // product_operations(shape))  # as long as a form, or the clock is too coarse
    ceilings = {dtype: product(shape, times, setting.device, dtype) for dtype in set(computes.values())}
    alone = {f"{CEILING} {dtype}": form for dtype, form in ceilings.items()}
    timings = alternate({**forms, **alone}, setting.device, repeats)
    first = timings[next(iter(forms))]
    rows = []
    for name in forms:
        timing = timings[name]
        at_best = _rate(times * product_operations(shape), timings[f"{CEILING} {computes[name]}"], setting.device)
        low, middle, high = timing.quartiles
        rows.append(
            Measured(
                *(work, name, str(computes[name]).removeprefix("torch."), middle, low, high),
                cpu_seconds=float(np.median(timing.cpu)),
                operations=counted[name],
                ceiling=at_best,
                share=_rate(counted[name], timing, setting.device) / at_best,
                speedup=first.slower_than(timing),
                cpu_speedup=first.busier_than(timing),
            )
        )
    return rows


def _rate(count: int, timing: Timing, device: torch.device) -> float:
    """Operations a second of the device's time."""
    return count / float(np.median(timing.wall if device.type == "cuda" else timing.cpu))


def show(rows: Sequence[Measured], about: str) -> None:
    """Prints a table."""
    print(f"{about}\n")
    print(
        f"{'':26}{'form':8}{'in':10}{'s (quartiles)':>26}{'CPU s':>9}{'GFLOP':>10}{'of ceiling':>12}"
        f"{'speed-up':>10}{'(CPU)':>8}"
    )
    for row in rows:
        times, giga = f"{row.seconds:.4g} ({row.low:.4g}–{row.high:.4g})", row.operations / 1e9
        print(
            f"{row.work:26}{row.form:8}{row.precision:10}{times:>26}{row.cpu_seconds:>9.3g}{giga:>10.4g}"
            f"{row.share:>12.0%}{row.speedup:>10.2f}{row.cpu_speedup:>8.2f}"
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
