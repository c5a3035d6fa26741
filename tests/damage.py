"""Checkpoints as a broken disk, a broken copy or an editor leaves them: bytes that changed, fields that changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoviewclip.evaluation.feature_statistics import FeatureStatistics
from tests.tiny_data import VIEWS, tiny_model

BLOCK = 4096  # bytes of a disk's block


def small_content() -> dict:
    """A checkpoint of every field, small enough to be damaged often."""
    config, _ = tiny_model("negation", DATA__NUM_QUALITIES=3)
    random = np.random.default_rng(0)
    fitted = FeatureStatistics.fit(random.normal(size=(20, 6)), np.arange(20) % 4, neighbour=3)
    module = torch.nn.Linear(60, 60)
    optimiser = torch.optim.AdamW(module.parameters())
    module(torch.ones(60)).sum().backward()
    optimiser.step()
    training = {"epoch": 1, "batch": 0, "batches": 5, "step": 5, "best": 0.5, "best_epoch": 0, "lines": 3}
    training |= {"optimiser": optimiser.state_dict(), "scaler": {}, "weights": module.state_dict(), "average_steps": 5}
    training |= {
        "shown": {"sums": {}, "count": 0, "norm": None},
        "bad_steps": (0, 0),
        "bad_videos": {"a.avi": "is empty"},
    }
    return {
        "model": module.state_dict(),
        "stage": "negation",
        "variant": "paper",
        "config": config.dump(),
        "views": list(VIEWS),
        "grades": ["bad", "fair", "good"],
        "epoch": 0,
        "calibration": {
            "temperature": 1.25,
            "videos": 3,
            "views": [1, 1],
            "scores": {"knn": torch.tensor([-2.0, -1.5, -1.0], dtype=torch.float64)},
            "score": "knn",
            "accept_rate": 0.95,
            "tau": -1.5,
        },
        "statistics": {name: torch.from_numpy(value) for name, value in fitted.state().items()},
        "metrics": {"top1": 0.5},
        "training": training,
        "preparation": {"size": 256, "crop": False, "jpeg_quality": 3, "version": 1},
        "tokens": {"ids": torch.arange(3), "embeddings": torch.randn(3, 64)},
    }


def damaged_bytes(whole: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` versions of a file, each with another content: a bit flipped, a block of zeros, a cut, blocks swapped."""
    random = np.random.default_rng(seed)
    kinds = ("bit", "zeros", "cut", "swap", "noise")
    made = 0
    while made < count:
        kind, data = kinds[made % len(kinds)], bytearray(whole)
        place = int(random.integers(len(data)))
        block = slice(place // BLOCK * BLOCK, place // BLOCK * BLOCK + BLOCK)
        if kind == "bit":
            data[place] ^= 1 << int(random.integers(8))
        elif kind == "zeros":
            data[block] = bytes(len(data[block]))
        elif kind == "cut":
            del data[place:]
        elif kind == "swap":
            other = int(random.integers(max(1, len(data) - BLOCK)))
            data[block], data[other : other + BLOCK] = data[other : other + BLOCK], data[block]
        else:
            data[block] = random.bytes(len(data[block]))
        if bytes(data) != whole:  # zeros over zeros are no damage
            made += 1
            yield f"{kind} at {place}", bytes(data)


VALUES = (None, -1, 0, 1.5, float("nan"), "", "text", [], [1], {}, {"a": 1}, (), True, 10**30, torch.ones(2), b"bytes")


def changed_fields(content: dict[str, Any], count: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """`count` versions of a checkpoint's content with one field, at any depth, missing or holding something else."""
    random = np.random.default_rng(seed)
    places = list(_places(content, ()))
    for _ in range(count):
        place = places[int(random.integers(len(places)))]
        changed = copy.copy(content)
        node = changed
        for key in place[:-1]:
            node[key] = copy.copy(node[key])
            node = node[key]
        if random.random() < 0.3:
            del node[place[-1]]
            yield f"{place} deleted", changed
        else:
            node[place[-1]] = VALUES[int(random.integers(len(VALUES)))]
            yield f"{place} = {node[place[-1]]!r}", changed


def _places(node: dict[str, Any], prefix: tuple) -> Iterator[tuple]:
    """Paths of keys, few of each dict, so that all kinds of fields are met."""
    for key in list(node)[:13]:
        yield (*prefix, key)
        if isinstance(node[key], dict):
            yield from _places(node[key], (*prefix, key))


def write(file: Path, data: bytes) -> Path:
    """The bytes as a file."""
    file.write_bytes(data)
    return file
