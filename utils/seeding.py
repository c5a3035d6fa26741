"""Randomness as a function of (seed, epoch, sample id): the same whatever the number of workers or processes."""

from __future__ import annotations

import numpy as np


def generator(*key: int) -> np.random.Generator:
    """A numpy generator that depends on the non-negative integers in `key` only, e.g. `(seed, epoch, sample)`.

    Philox is keyed through `SeedSequence`, so that neighbouring keys give independent streams.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
