"""The most memory that forward passes and training steps hold at a time, each measured in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch

from echoviewclip.inference.precision import Precision
from echoviewclip.tools.benchmarks.cases import PLAIN, STAGES, Setting, build
from echoviewclip.tools.benchmarks.forward import PARTS, answer
from echoviewclip.tools.benchmarks.timing import Form
from echoviewclip.tools.benchmarks.training import model_of, step
from echoviewclip.utils.errors import UserError

RUNS = 2  # the second meets what the first has kept, e.g. the optimiser's state
Case = tuple[str, str, str]
"""`forward` or `training step`, the stage, and the form: PLAIN or a level."""


@dataclass(frozen=True)
class Memory:
    """What a form of a piece of work holds, in bytes; on a GPU of its memory, else of the process.

    Attributes:
        work, form, precision: as of `Measured`.
        loaded: with the model in place, before the first run.
        peak: the most at any time up to the last run.
    """

    work: str
    form: str
    precision: str
    loaded: int
    peak: int


def benchmark_memory(setting: Setting) -> list[Memory]:
    """Each case in a new process, one after the other: what one leaves behind is not the next one's."""
    return [in_process(setting, case) for case in cases(setting.device)]


def cases(device: torch.device) -> Iterator[Case]:
    """All three answers, and a step of each stage, in each form that differs on the device."""
    model = torch.nn.Linear(1, 1)
    computes = {level: Precision(level, model, device).computes for level in ("O0", "O1")}
    forms = [PLAIN, *(level for level in computes if level == "O0" or computes[level] != torch.float32)]
    yield from (("forward", "quality", form) for form in forms)
    yield from (("training step", stage, form) for stage in STAGES for form in forms)


def in_process(setting: Setting, case: Case) -> Memory:
    """Measures a case in a process of its own. Raises UserError where that process fails, e.g. for want of memory."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_measure, args=(setting, case, queue))
    process.start()
    process.join()
    if process.exitcode:
        raise UserError(f"memory of {', '.join(case)}: the process failed ({process.exitcode}); make --batch smaller")
    return queue.get()


def _measure(setting: Setting, case: Case, queue: SimpleQueue[Memory]) -> None:
    kind, stage, form = case
    run, precision = _form(setting, case)
    before = held(setting.device)
    for _ in range(RUNS):
        run()
    queue.put(Memory(f"{kind}, {stage}", form, precision.products, before, most_held(setting.device)))


def _form(setting: Setting, case: Case) -> tuple[Form, Precision]:
    kind, stage, form = case
    level = "O0" if form == PLAIN else form
    if kind == "forward":
        model = build(setting, stage, form).eval().requires_grad_(False)
        precision = Precision(level, model, setting.device, trains=False, tf32=form != PLAIN)
        return answer(setting, model, precision, PARTS[stage], plain=form == PLAIN), precision
    model = model_of(setting, stage, form)
    precision = Precision(level, model, setting.device, tf32=form != PLAIN)
    return step(setting, stage, form, model, precision), precision


def held(device: torch.device) -> int:
    """Bytes held now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    return _status("VmRSS")


def most_held(device: torch.device) -> int:
    """The most bytes that this process has held; on a GPU since `held`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> int:
    """Bytes, of a line of Linux's /proc/self/status: of this program alone, unlike getrusage's."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        raise UserError("the memory of a process is read in /proc, which this system has not") from None
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def show(rows: Sequence[Memory], about: str) -> None:
    """Prints a table."""
    print(f"{about}\n")
    print(f"{'':26}{'form':8}{'in':10}{'GB loaded':>12}{'GB peak':>12}{'GB above':>12}")
    for row in rows:
        giga = (row.loaded / 1e9, row.peak / 1e9, (row.peak - row.loaded) / 1e9)
        print(f"{row.work:26}{row.form:8}{row.precision:10}" + "".join(f"{value:>12.3f}" for value in giga))
