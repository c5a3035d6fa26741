"""Batches on their way to a GPU: the next one travels while one is computed with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

Item = TypeVar("Item")


def sent_ahead(items: Iterable[Item], send: Callable[[Item], Item], device: torch.device) -> Iterator[Item]:
    """What `send` makes of each item, in order; on a GPU the next is sent, on a stream of its own, before one is used.

    `send` copies from pinned memory without waiting. On other devices it is called when its item is asked for.
    """
    if device.type != "cuda":
        yield from map(send, items)
        return
    road, work = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    underway: list[tuple[Item, torch.cuda.Event]] = []
    for item in items:
        # What arrives may take the memory of what nothing refers to any more, but the work with that may still be on.
        road.wait_stream(work)
        with torch.cuda.stream(road):
            underway.append((send(item), road.record_event()))
        if len(underway) > 1:
            yield _arrived(*underway.pop(0), work)
    for sent in underway:
        yield _arrived(*sent, work)


def _arrived(item: Item, there: torch.cuda.Event, work: torch.cuda.Stream) -> Item:
    """The item, once the work to come waits for it; the program does not."""
    work.wait_event(there)
    return item
