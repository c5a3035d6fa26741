"""Functions that run in several processes at once, which exchange over gloo.

They are forks of a process that has imported everything and done nothing: after a backward pass with threads, as
compiled ones have, PyTorch lets no fork of this one compute gradients.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

SECONDS = 300  # that a process waits for another


def together(processes: int, action: Callable[[], None], folder: Path) -> None:
    """Runs `action`, which can be pickled, in so many processes; fails where one fails.

    What they have to tell they write to files; `folder` is for what they meet by.
    """
    meeting = folder / f"meeting {len(list(folder.glob('meeting *')))}"
    meeting.mkdir()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["echoviewclip.trainers.session", "torch.distributed.fsdp", "tests.tiny_data"])
    children = [context.Process(target=_run, args=(rank, processes, action, meeting)) for rank in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert not any(child.exitcode for child in children), "".join(map(Path.read_text, sorted(meeting.glob("*.txt"))))


def _run(rank: int, processes: int, action: Callable[[], None], meeting: Path) -> None:
    torch.set_num_threads(1)
    try:
        if processes > 1:
            address, limit = f"file://{meeting / 'store'}", timedelta(seconds=SECONDS)
            dist.init_process_group("gloo", timeout=limit, init_method=address, rank=rank, world_size=processes)
        action()
    except BaseException:
        (meeting / f"{rank}.txt").write_text(f"process {rank}: {traceback.format_exc()}\n")
        raise SystemExit(1) from None
