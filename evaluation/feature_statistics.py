"""Where training features lie: the scores that judge a video by its distance from what was seen in training."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.linalg import LinAlgError, eigh, svd
from sklearn.covariance import ledoit_wolf

from echoviewclip.utils.seeding import generator

FEWEST = 2  # labelled training videos: a single one has no spread


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
        """Float64 `[N]` by name, of features `[N, D]`; higher = in distribution.

        mahalanobis: minus the smallest squared distance to a class mean (Lee et al. 2018); relative_mahalanobis: the
        same less the squared distance to the background Gaussian (Ren et al. 2021, arXiv:2106.09022); knn: minus
        the distance of unit features to the k-th nearest in the bank (Sun et al. 2022, arXiv:2204.06507).
        """
        features = np.asarray(features, np.float64)
        nearest = -_squared_distances(features @ self.whitening, self.means @ self.whitening).min(axis=1)
        background = _squared_distances(
            features @ self.background_whitening, (self.background_mean @ self.background_whitening)[None]
        )[:, 0]
        bank = _squared_distances(_unit(features), self.bank)
        kth = np.partition(bank, self.neighbour - 1, axis=1)[:, self.neighbour - 1]
        return {"mahalanobis": nearest, "relative_mahalanobis": nearest + background, "knn": -np.sqrt(kth)}

    def state(self) -> dict[str, np.ndarray]:
        """The arrays by name; `FeatureStatistics(**state)` is the way back."""
        return asdict(self)


def _whitening(residuals: np.ndarray) -> np.ndarray:
    """Square root of the inverse of the residuals' shrunk covariance, `[D, D]`; directions of no variance stay 0."""
    values, vectors = _eigen(ledoit_wolf(residuals, assume_centered=True)[0])
    # The inverse of a root below that of float32's smallest number could overflow where it is used.
    kept = values > max(values.max() * 1e-10, np.finfo(np.float32).tiny)
    return (vectors / np.where(kept, np.sqrt(np.where(kept, values, 1)), np.inf)) @ vectors.T


def _eigen(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `[D]` and eigenvectors `[D, D]`, in columns, of a covariance `[D, D]`.

    With fewer videos than dimensions, shrinking makes most eigenvalues equal. LAPACK's default driver (evr) fails on
    some such matrices; divide and conquer (evd) does not. The singular values of a covariance are its eigenvalues.
    """
    symmetric = (covariance + covariance.T) / 2
    try:
        return eigh(symmetric, driver="evd")
    except LinAlgError:
        vectors, values, _ = svd(symmetric, lapack_driver="gesvd")
        return values, vectors


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the rows of `a` `[N, D]` to those of `b` `[M, D]`, float64 `[N, M]`, without an `[N, M, D]` in between."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T, 0)
