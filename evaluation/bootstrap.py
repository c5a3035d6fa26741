"""Figures and their intervals: one definition serves both, so an interval always belongs to the figure it surrounds.

A `Statistic` is a metric as a function of weights `[B, N]`: row b says how often, a whole number, each of the N videos
counts in resampled set b. All weights 1 give the figure itself; drawing patients with replacement gives its interval.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.special import ndtr, stdtrit

from echoviewclip.utils.cores import usable_cores
from echoviewclip.utils.seeding import generator

Statistic = Callable[[np.ndarray], "dict[str, np.ndarray]"]
Interval = tuple[float, float]
Groups = Callable[[str], "Sequence[np.ndarray]"]
"""Figure → the groups of videos, each bool `[N]`, without any one of which it would not be defined."""

LEAST_PATIENTS = 8  # with fewer an interval of 95 % is one of 80 to 90 % (docs/evaluation.md)

_CHUNK = 2**20  # weights held at a time: what a statistic derives from them stays near the processor


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise quotient, float64; nan where the denominator is 0, since what is not defined has no figure."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def levels(scores: np.ndarray) -> np.ndarray:
    """The place of each score `[N]` among the different ones, int `[N]`: 0 for the highest, the same for equal ones."""
    return np.unique(-np.asarray(scores, np.float64), return_inverse=True)[1].reshape(-1)


class Levels:
    """The different ones of scores `[N]`, highest first, of which each video has one: `place`, int `[N]` (`levels`)."""

    def __init__(self, scores: np.ndarray) -> None:
        self.place = levels(scores)
        self._order = np.argsort(self.place, kind="stable")
        starts = np.flatnonzero(np.diff(self.place[self._order], prepend=-1))
        self._starts = starts if len(starts) < len(self.place) else None  # None: no two videos share one

    def __len__(self) -> int:
        return len(self.place) if self._starts is None else len(self._starts)

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """Sums of weights `[B, N]` over each level, `[B, levels]`."""
        ranked = weights.take(self._order, axis=1)
        return ranked if self._starts is None else np.add.reduceat(ranked, self._starts, axis=1)

    def sums_of(self, weights: np.ndarray, out: np.ndarray) -> np.ndarray:
        """The same of one row, `[N]`, into `out`, `[levels]`."""
        if self._starts is None:
            return gather(weights, self._order, out)
        ranked = gather(weights, self._order, SCRATCH.floats("ranked", len(weights)))
        return np.add.reduceat(ranked, self._starts, out=out)


class Scratch(threading.local):
    """Memory of each thread for arrays that are written before they are read: the same at the next call.

    The system gives large new arrays page by page, which takes longer than what is computed in them.
    """

    def __init__(self) -> None:
        self._memory: dict[str, np.ndarray] = {}

    def floats(self, name: str, *shape: int) -> np.ndarray:
        """A float64 array; what another call wrote to the same name is overwritten."""
        size = math.prod(shape)
        if name not in self._memory or self._memory[name].size < size:
            self._memory[name] = np.empty(size)
        return self._memory[name][:size].reshape(shape)

    def clear(self) -> None:
        """Gives the memory of this thread back."""
        self._memory.clear()


SCRATCH = Scratch()


def gather(values: np.ndarray, places: np.ndarray, out: np.ndarray) -> np.ndarray:
    """`values[places]`, all of which exist, into `out` without a copy in between."""
    return np.take(values, places, out=out, mode="clip")


def figures(statistic: Statistic, videos: int) -> dict[str, float]:
    """The statistic of the set itself: each of the `videos` counts once. nan where a figure is not defined."""
    found = {name: float(values[0]) for name, values in statistic(np.ones((1, videos))).items()}
    SCRATCH.clear()
    return found


def intervals(
    statistic: Statistic,
    patients: Sequence[str] | np.ndarray,
    *,
    rests_on: Groups | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Bootstrap intervals that resample patients (the videos of a patient come and go together).

    Percentiles as Hesterberg (2015, arXiv:1411.5279) expands them for small samples: with n patients the t distribution
    and √(n/(n − 1)) take the place of the normal one, without which 8 patients' 95 % would be 89 %.

    Args:
        patients: names the patient of each of the N videos, or is an integer array `[N]` of their places in the order
            of the names.
        rests_on: the groups of videos that a figure is of (say, insiders and outsiders); where not given, all videos.
            n is the number of patients in the smallest group.

    Returns:
        (low, high) per figure, or None where the data cannot tell: n below LEAST_PATIENTS, fewer than half of the
        draws defined (a draw of no outsider, say, is left out), or a figure that no draw moves (20 of 20 right is no
        proof of no error).
    """
    patient = patient_codes(patients)
    smallest = least_patients(patient, rests_on, figures(statistic, len(patient)))
    if max(smallest.values()) < LEAST_PATIENTS:
        return dict.fromkeys(smallest)
    count = int(patient.max()) + 1
    times_drawn = generator(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    rows = max(1, _CHUNK // len(patient))

    def part(start: int) -> dict[str, np.ndarray]:
        return statistic(times_drawn[start : start + rows].astype(np.float64).take(patient, axis=1))

    with ThreadPoolExecutor(usable_cores()) as threads:  # whose scratch ends with them
        parts = list(threads.map(part, range(0, draws, rows)))
    return {
        name: _interval(np.concatenate([part[name] for part in parts]), level, patients)
        for name, patients in smallest.items()
    }


def patient_codes(patients: Sequence[str] | np.ndarray) -> np.ndarray:
    """The place of each video's patient among the patients that there are, int `[N]`, in the order of their names."""
    patients = np.asarray(patients)
    if patients.dtype.kind != "i":
        patients = patients.astype(str)
    return np.unique(patients, return_inverse=True)[1].reshape(-1)


def least_patients(
    patients: Sequence[str] | np.ndarray, rests_on: Groups | None, names: Iterable[str]
) -> dict[str, int]:
    """Of how many patients each figure is, in the smallest of the groups that it rests on.

    Arguments as of `intervals`.
    """
    codes = patient_codes(patients)
    groups = {name: rests_on(name) if rests_on else [...] for name in names}
    return {name: min(_count(codes[group]) for group in parts) for name, parts in groups.items()}


def _count(codes: np.ndarray) -> int:
    return int(np.count_nonzero(np.bincount(codes.reshape(-1))))


def _interval(values: np.ndarray, level: float, patients: int) -> Interval | None:
    defined = values[np.isfinite(values)]
    if patients < LEAST_PATIENTS or 2 * len(defined) < len(values) or np.ptp(defined) < 1e-12:
        return None
    # The normal share below a quantile of t. scipy.stats calls the same functions, and takes a second to import.
    tail = ndtr(stdtrit(patients - 1, (1 - level) / 2) * math.sqrt(patients / (patients - 1)))
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)
