"""Where training features lie: the scores that judge a video by its distance from what was seen in training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, eigh, svd

from echoviewclip.utils.seeding import generator

FEWEST = 2  # labelled training videos: a single one has no spread
BLOCK = 64  # videos that are scored at a time


class Distances(NamedTuple):
    """Scores of N videos by distance, float64 `[N]`; higher = in distribution.

    Attributes:
        mahalanobis: minus the smallest squared distance to a class mean (Lee et al. 2018).
        relative_mahalanobis: the same less the squared distance to the background Gaussian (Ren et al. 2021,
            arXiv:2106.09022).
        knn: minus the distance of unit features to the k-th nearest in the bank (Sun et al. 2022, arXiv:2204.06507).
    """

    mahalanobis: np.ndarray
    relative_mahalanobis: np.ndarray
    knn: np.ndarray


@dataclass(frozen=True)
class FeatureStatistics:
    """Gaussians and a bank of training features `[N, D]`; float32 arrays only, so a checkpoint can hold it.

    Covariances are shrunk after Ledoit & Wolf (2004), so fewer videos than dimensions do no harm.

    Attributes:
        means: `[C, D]` of the classes seen in training.
        whitening: `[D, D]`; the square length of (x − mean) @ whitening is the Mahalanobis distance squared under the
            covariance that all classes share.
        background_mean: `[D]`, of all training features.
        background_whitening: `[D, D]`, of all training features around their one mean.
        bank: `[M, D]`, training features of unit length.
        neighbour: int64 `[]`, which nearest neighbour's distance counts.
    """

    means: np.ndarray
    whitening: np.ndarray
    background_mean: np.ndarray
    background_whitening: np.ndarray
    bank: np.ndarray
    neighbour: np.ndarray

    @classmethod
    def fit(
        cls, features: np.ndarray, labels: np.ndarray, *, neighbour: int = 10, bank: int = 5000, seed: int = 0
    ) -> FeatureStatistics:
        """From training features `[N, D]` and labels `[N]`; at most `bank` of them are kept, drawn by `seed`.

        Raises ValueError for fewer than `FEWEST` videos, and for features that are not finite in float32.
        """
        features, labels = np.asarray(features, np.float64), np.asarray(labels)
        if features.ndim != 2 or len(features) < FEWEST or 0 in features.shape or labels.shape != features.shape[:1]:
            raise ValueError(
                f"expected features [N ≥ {FEWEST}, D ≥ 1] and labels [N], got {features.shape} and {labels.shape}"
            )
        if not (np.abs(features) <= np.finfo(np.float32).max).all():
            raise ValueError("features that are not finite in float32: leave such videos out and count them")
        classes, index = np.unique(labels, return_inverse=True)
        member = np.eye(len(classes))[index]
        means = (member.T @ features) / member.sum(axis=0)[:, None]
        mean = features.mean(axis=0)
        kept = np.sort(generator(seed).permutation(len(features))[:bank])
        return cls(
            means=means.astype(np.float32),
            whitening=_whitening(features - means[index]).astype(np.float32),
            background_mean=mean.astype(np.float32),
            background_whitening=_whitening(features - mean).astype(np.float32),
            bank=_unit(features[kept]).astype(np.float32),
            neighbour=np.asarray(min(neighbour, len(kept)), np.int64),
        )

    def scores(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """`Distances` by name, of features `[N, D]`."""
        stream = self.stream()
        stream.add(features)
        return stream.result()._asdict()

    def stream(self) -> DistanceStream:
        """Scores videos as they come, in blocks."""
        return DistanceStream(self)

    def _of_block(self, features: np.ndarray) -> Distances:
        """Of features float64 `[BLOCK, D]`."""
        nearest = -_squared_distances(features @ self._exact_whitening, self._whitened_means).min(axis=1)
        background = _squared_distances(features @ self._exact_background, self._background)[:, 0]
        kth = np.partition(_squared_distances(_unit(features), self._exact_bank), self.neighbour - 1, axis=1)
        return Distances(nearest, nearest + background, -np.sqrt(kth[:, self.neighbour - 1]))

    # In float64 once, not for each block.

    @cached_property
    def _exact_whitening(self) -> np.ndarray:
        return self.whitening.astype(np.float64)

    @cached_property
    def _exact_background(self) -> np.ndarray:
        return self.background_whitening.astype(np.float64)

    @cached_property
    def _exact_bank(self) -> Points:
        return Points.of(self.bank)

    @cached_property
    def _whitened_means(self) -> Points:
        return Points.of(self.means @ self.whitening)

    @cached_property
    def _background(self) -> Points:
        return Points.of((self.background_mean @ self.background_whitening)[None])

    def state(self) -> dict[str, np.ndarray]:
        """The arrays by name; `FeatureStatistics(**state)` is the way back."""
        return asdict(self)


def _whitening(residuals: np.ndarray) -> np.ndarray:
    """Square root of the inverse of the residuals' shrunk covariance, `[D, D]`; directions of no variance stay 0."""
    # Here, as importing it takes a second that only fitting should wait.
    from sklearn.covariance import ledoit_wolf, ledoit_wolf_shrinkage

    videos, dimensions = residuals.shape
    if videos >= dimensions:
        values, vectors = _eigen(ledoit_wolf(residuals, assume_centered=True)[0])
        return (vectors * _inverse_roots(values)) @ vectors.T
    # Shrinking gives all directions but the residuals' own one variance, so that these few are all there is to find.
    shrinkage = ledoit_wolf_shrinkage(residuals, assume_centered=True)
    _, singular, axes = svd(residuals, full_matrices=False, lapack_driver="gesvd")
    squares = singular**2 / videos
    rest = shrinkage * squares.sum() / dimensions
    roots = _inverse_roots(np.append((1 - shrinkage) * squares + rest, rest))
    return roots[-1] * np.eye(dimensions) + (axes.T * (roots[:-1] - roots[-1])) @ axes


def _inverse_roots(values: np.ndarray) -> np.ndarray:
    """1/√value of each variance `[D]`; 0 where there is none."""
    # The inverse of a root below that of float32's smallest number could overflow where it is used.
    kept = values > max(values.max() * 1e-10, np.finfo(np.float32).tiny)
    return np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)


def _eigen(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `[D]` and eigenvectors `[D, D]`, in columns, of a covariance `[D, D]`.

    LAPACK's default driver (evr) fails on some matrices whose eigenvalues are nearly equal, as shrinking makes them;
    divide and conquer (evd) does not. The singular values of a covariance are its eigenvalues.
    """
    symmetric = (covariance + covariance.T) / 2
    if len(symmetric) == 1:  # which this driver refuses in scipy before 1.14
        return symmetric[0], np.ones((1, 1))
    try:
        return eigh(symmetric, driver="evd")
    except LinAlgError:
        vectors, values, _ = svd(symmetric, lapack_driver="gesvd")
        return values, vectors


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


class Points(NamedTuple):
    """Points float64 `[M, D]` and their squared lengths `[M]`."""

    rows: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Points:
        """Of rows of any float dtype."""
        rows = rows.astype(np.float64)
        return cls(rows, (rows**2).sum(axis=1))


def _squared_distances(a: np.ndarray, b: Points) -> np.ndarray:
    """Of the rows of `a` float64 `[N, D]` to those of `b`, float64 `[N, M]`, without an `[N, M, D]` in between."""
    return np.maximum((a**2).sum(axis=1)[:, None] + b.squares - 2 * a @ b.rows.T, 0)


class DistanceStream:
    """Scores by distance of features that come in parts: no more than a block of features is kept.

    Blocks are of BLOCK videos, the last one filled up with zeros, whatever the parts: products of matrices round
    differently for other sizes, and so a video's score does not depend on the videos or parts that it comes with.
    """

    def __init__(self, fitted: FeatureStatistics) -> None:
        self._fitted, self._block, self._filled = fitted, np.zeros((BLOCK, fitted.means.shape[1])), 0
        self._found: list[Distances] = []

    def add(self, features: np.ndarray) -> None:
        """The next videos' features `[n, D]`."""
        for part in _cut(features, BLOCK - self._filled):
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            if self._filled == BLOCK:
                self._score()

    def result(self) -> Distances:
        """Of all videos that came, in their order."""
        if self._filled or not self._found:
            self._score()
        return Distances(*(np.concatenate(parts) for parts in zip(*self._found, strict=True)))

    def _score(self) -> None:
        self._block[self._filled :] = 0
        self._found.append(Distances(*(values[: self._filled] for values in self._fitted._of_block(self._block))))
        self._filled = 0


def _cut(features: np.ndarray, first: int) -> Iterator[np.ndarray]:
    """The first so many rows, then BLOCK at a time."""
    for start, end in pairwise([0, *range(first, len(features), BLOCK), len(features)]):
        yield features[start:end]
