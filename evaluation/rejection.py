"""Rejection by more than one score: names that are not the views, residuals, what scores say together.

Arrays in, scores `[N]` out; higher = in distribution, as everywhere (`ood.py`). `tools/rejection.py` compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp

from echoviewclip.evaluation.feature_statistics import FeatureStatistics
from echoviewclip.evaluation.ood import ood_metrics
from echoviewclip.utils.seeding import generator

KEPT = 0.95  # share of the variance that is the principal subspace's
ALL = "all"  # the group of all outsiders


def neg_label(views: np.ndarray, others: np.ndarray, groups: int = 1, seed: int = 0) -> np.ndarray:
    """NegLabel of logits `[N, K]` with the views and `[N, M]` with names of no view, float64 `[N]` in [−1, 0].

    The softmax over all K + M has the mass S on the views; this is S − 1, the same order without rounding to 1. With
    `groups` the other names are shuffled by `seed` and cut into so many groups of one size, those left over dropped,
    and S is the mean of the groups' (Jiang et al., ICLR 2024, arXiv:2403.20078; both as its published code has them).

    Raises ValueError for groups that would be empty.
    """
    views, others = np.asarray(views, np.float64), np.asarray(others, np.float64)
    size = others.shape[1] // groups if groups > 0 else 0
    if not size:
        raise ValueError(f"{others.shape[1]} names make no {groups} groups")
    order = generator(seed).permutation(others.shape[1]) if groups > 1 else np.arange(others.shape[1])
    inside = logsumexp(views, axis=1)
    parts = order[: size * groups].reshape(groups, size)
    return -np.mean([expit(logsumexp(others[:, part], axis=1) - inside) for part in parts], axis=0)


@dataclass(frozen=True)
class Residuals:
    """What the principal subspace of training features leaves of a feature.

    Attributes:
        mean: float64 `[D]`, of the training features.
        minor: float64 `[D, R]`, unit vectors at right angles to the principal subspace and to each other.
        gaussian: of the training features' residuals, in these directions.
    """

    mean: np.ndarray
    minor: np.ndarray
    gaussian: FeatureStatistics

    @classmethod
    def fit(cls, features: np.ndarray, kept: float = KEPT) -> Residuals:
        """From training features `[N, D]`, D ≥ 2; the fewest directions that hold `kept` of the variance are principal.

        At least one direction is left. Raises ValueError as `FeatureStatistics.fit`.
        """
        features = np.asarray(features, np.float64)
        mean = features.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(features, rowvar=False, bias=True))
        share = np.cumsum(values[::-1].clip(0)) / max(values.clip(0).sum(), np.finfo(np.float64).tiny)
        principal = min(int(np.searchsorted(share, kept - 1e-12)) + 1, len(mean) - 1)
        minor = vectors[:, : len(mean) - principal]
        left = (features - mean) @ minor
        return cls(mean, minor, FeatureStatistics.fit(left, np.zeros(len(left), np.int64)))

    def scores(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Of features `[N, D]`, float64 `[N]` by name.

        residual: minus the length of what is left (ViM's residual, Wang et al., CVPR 2022, arXiv:2203.10807, around the
        mean). mars: minus its squared Mahalanobis distance. MaRS (Di Salvo et al. 2026, arXiv:2606.22649) takes the
        residual of an autoencoder whose form it does not publish; here it is linear, whose best is the principal
        subspace.
        """
        left = (np.asarray(features, np.float64) - self.mean) @ self.minor
        return {"residual": -np.linalg.norm(left, axis=1), "mars": self.gaussian.scores(left)["mahalanobis"]}


def together(known: np.ndarray, outliers: np.ndarray, videos: np.ndarray) -> np.ndarray:
    """What F scores say together of `videos` `[L, F]`: the log-odds, float64 `[L]`, of a logistic regression.

    It is fitted on `known` `[N, F]` against `outliers` `[M, F]`, both sides of equal weight, each score less its mean
    and divided by its standard deviation over both.
    """
    from sklearn.linear_model import LogisticRegression  # here, as importing it takes a second

    both = np.concatenate([known, outliers])
    mean, spread = both.mean(axis=0), both.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit((both - mean) / spread, np.arange(len(both)) < len(known))
    return model.decision_function((videos - mean) / spread)


def combinations(
    known: Mapping[str, np.ndarray],
    outliers: Mapping[str, np.ndarray],
    videos: Mapping[str, np.ndarray],
    parts: Mapping[str, Sequence[str]],
) -> dict[str, np.ndarray]:
    """By the names of `parts`, what the scores that each lists say `together`; scores `[N]` by name of each side."""

    def columns(scores: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
        return np.stack([scores[name] for name in names], axis=1)

    return {
        title: together(columns(known, names), columns(outliers, names), columns(videos, names))
        for title, names in parts.items()
    }


@dataclass(frozen=True)
class Figure:
    """How well a score parts insiders from a group of outsiders.

    Attributes:
        score, against: names.
        outsiders: how many there are.
        auroc, fpr95: as in `ood.ood_metrics`.
        added: AUROC less that of the score which the others are compared with.
    """

    score: str
    against: str
    outsiders: int
    auroc: float
    fpr95: float
    added: float


def figures_of(
    inside: Mapping[str, np.ndarray],
    outside: Mapping[str, np.ndarray],
    groups: Mapping[str, np.ndarray],
    alone: str,
) -> list[Figure]:
    """Every score of `inside` `[N]` against each group of `outside` `[M]`, bool `[M]` by name, and against `ALL`.

    `alone` is the score that the others are compared with.
    """
    masks = dict(groups) | {ALL: np.ones(len(outside[alone]), bool)}
    found = []
    for group, mask in masks.items():
        parted = {name: ood_metrics(inside[name], outside[name][mask]) for name in inside}
        for name, one in parted.items():
            added = one["auroc"] - parted[alone]["auroc"]
            found.append(Figure(name, group, int(mask.sum()), one["auroc"], one["fpr95"], added))
    return found
