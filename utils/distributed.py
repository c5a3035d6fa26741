"""Several processes as one, however they were started (ranks.py), or one alone; NCCL on GPUs, gloo on CPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from echoviewclip.utils.errors import LostPeer, UserError
from echoviewclip.utils.ranks import STORE, Place


def rank() -> int:
    """This process' number, 0 when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process writes the files and the log."""
    return rank() == 0


@contextmanager
def processes(device: str, seconds: float) -> Iterator[torch.device]:
    """Joins the processes of the run, yields this one's device, and parts at the end.

    `device` is `auto`, `cpu` or `cuda`. Raises UserError where CUDA is asked for and absent, and LostPeer where another
    process ends or does not answer for so many seconds.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("DEVICE is cuda, but no CUDA device is visible; set it to cpu or auto")
    cuda = device != "cpu" and torch.cuda.is_available()
    place = Place.of(os.environ)
    local = _device_number(place)
    if cuda and local >= torch.cuda.device_count():
        raise UserError(
            f"{os.environ.get('LOCAL_WORLD_SIZE', local + 1)} processes are asked for (GPUS), one a device, but "
            f"{torch.cuda.device_count()} CUDA devices are visible; ask for fewer, or set DEVICE cpu"
        )
    chosen = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(chosen)
    joined = place.world > 1
    try:
        if joined:
            _join(place, "nccl" if cuda else "gloo", timedelta(seconds=seconds))
        yield chosen
    except (RuntimeError, dist.DistError) as error:
        if joined and "EADDRINUSE" in str(error):
            raise UserError(
                "MASTER_PORT is taken on the machine of process 0; name another, the same for all"
            ) from None
        if joined and (isinstance(error, dist.DistError) or "/gloo/" in str(error)):
            raise LostPeer(
                f"process {place.rank}: another process has ended or did not answer for {seconds:g} s (TRAIN.TIMEOUT)"
            ) from None
        raise
    finally:
        if joined and dist.is_initialized():
            dist.destroy_process_group()


def _device_number(place: Place) -> int:
    """Slurm and MPI may show each process one device, its own, whose number is then 0."""
    own = place.meeting.startswith("tcp://") and torch.cuda.device_count() == 1
    return 0 if own else place.local


def _join(place: Place, backend: str, limit: timedelta) -> None:
    if prefix := os.environ.get(STORE):
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(host, port, is_master=False, timeout=limit, wait_for_workers=False)
        there = dist.PrefixStore(prefix, store)
        dist.init_process_group(backend, store=there, rank=place.rank, world_size=place.world, timeout=limit)
    elif place.meeting == "env://":
        dist.init_process_group(backend, timeout=limit)
    else:
        dist.init_process_group(
            backend, init_method=place.meeting, rank=place.rank, world_size=place.world, timeout=limit
        )


def gather(value: Any) -> list[Any]:
    """What every process holds, in order of rank; plain Python and numpy values."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def from_main(value: Any) -> Any:
    """What the main process holds, on every process."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


@torch.no_grad()
def share_buffers(model: torch.nn.Module) -> None:
    """Gives all processes the main one's buffers: running statistics of batch norms, which each takes of its share."""
    if world() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def barrier() -> None:
    """Waits for all."""
    if world() > 1:
        dist.barrier()
