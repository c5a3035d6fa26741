"""Figures and their intervals: one definition serves both, so an interval always belongs to the figure it surrounds.

A `Statistic` is a metric as a function of weights `[B, N]`: row b says how often each of the N videos counts in
resampled set b. All weights 1 give the figure itself; drawing patients with replacement gives its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from utils.seeding import generator

Statistic = Callable[[np.ndarray], "dict[str, np.ndarray]"]
Interval = tuple[float, float]

_CHUNK = 2**22  # weights held at a time: some hundred megabytes with all that a statistic derives from them


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise quotient, float64; nan where the denominator is 0, since what is not defined has no figure."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def levels(scores: np.ndarray) -> np.ndarray:
    """The place of each score `[N]` among the different ones, int `[N]`: 0 for the highest, the same for equal ones."""
    return np.unique(-np.asarray(scores, np.float64), return_inverse=True)[1].reshape(-1)


def group_sums(weights: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Sums of weights `[B, N]` over groups, `[B, G]`; `group` int `[N]` names each of 0 … G − 1 at least once."""
    order = np.argsort(group, kind="stable")
    return np.add.reduceat(weights[:, order], np.flatnonzero(np.diff(group[order], prepend=-1)), axis=1)


def figures(statistic: Statistic, videos: int) -> dict[str, float]:
    """The statistic of the set itself: each of the `videos` counts once. nan where a figure is not defined."""
    return {name: float(values[0]) for name, values in statistic(np.ones((1, videos))).items()}


def intervals(
    statistic: Statistic, patients: Sequence[str], *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval | None]:
    """Percentile bootstrap intervals that resample patients (the videos of a patient come and go together).

    `patients` names the patient of each of the N videos. A draw in which a figure is not defined (say, no outsider
    was drawn) is left out. Returns (low, high) per figure, or None where the data cannot tell: a single patient,
    fewer than half of the draws defined, or a figure that no draw moves (20 of 20 right is no proof of no error).
    """
    patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1].reshape(-1)
    count = int(patient.max(initial=-1)) + 1
    if count < 2:
        return dict.fromkeys(figures(statistic, len(patient)))
    times_drawn = generator(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    rows = max(1, _CHUNK // len(patient))
    parts = [statistic(times_drawn[i : i + rows, patient].astype(np.float64)) for i in range(0, draws, rows)]
    return {name: _interval(np.concatenate([part[name] for part in parts]), level) for name in parts[0]}


def _interval(values: np.ndarray, level: float) -> Interval | None:
    defined = values[np.isfinite(values)]
    if 2 * len(defined) < len(values) or np.ptp(defined) < 1e-12:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
