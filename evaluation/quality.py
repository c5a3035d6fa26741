"""How well image quality is graded: agreement of grades, and of the expected score with its target.

A grade is one of G ordered classes, 0 the worst; a score lies in [0, 1], on which the grades stand evenly, the worst at
0 and the best at 1. So either kind of target has the other: `to_scores`, `to_grades`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, cast

import numpy as np

from echoviewclip.evaluation.bootstrap import Levels, Statistic, figures, ratio
from echoviewclip.evaluation.classification import checked, class_rates, macro

THERE = 0.5  # a defect that shows more strongly than this, or is likelier, is called there


class ViewQuality(TypedDict):
    """A row of metrics.json: how well the videos of one view were graded (`quality_metrics`)."""

    view: int
    name: str
    support: int
    accuracy: float
    top2: float
    macro_f1: float
    quadratic_kappa: float
    mae: float
    spearman: float
    pearson: float
    bias: float
    limit_low: float
    limit_high: float


def to_scores(grades: np.ndarray, count: int) -> np.ndarray:
    """The places float64 `[N]` in [0, 1] of grades int `[N]`, of which there are `count`."""
    return np.asarray(grades, np.float64) / max(count - 1, 1)


def to_grades(scores: np.ndarray, count: int) -> np.ndarray:
    """The nearest of `count` grades, int64 `[N]`, to scores `[N]`; halfway between two the better one."""
    return np.floor(np.clip(scores, 0, 1) * (count - 1) + 0.5).astype(np.int64)


def quality_metrics(
    probabilities: np.ndarray, grades: np.ndarray, scores: np.ndarray, targets: np.ndarray | None = None
) -> dict[str, float]:
    """Figures over N videos; nan where one is not defined (an empty set; a correlation or kappa of equal values).

    Args:
        probabilities: `[N, G]` of the grades.
        grades: int64 `[N]` in [0, G): the truth, or the true score binned.
        scores: float `[N]`, predicted.
        targets: float `[N]`, the true scores; where not given, those of the grades.

    Returns:
        accuracy, top2, macro_f1 (over the grades present, as in `evaluation.classification`);
        quadratic_kappa, over all G grades; mae, spearman, pearson, of score and target; and Bland & Altman's (1986)
        bias, the mean of score − target, with limit_low and limit_high, bias ∓ 1.96 standard deviations.

    Raises:
        ValueError: as `classification_metrics`, or a score that is not finite.
    """
    return figures(quality_statistic(probabilities, grades, scores, targets), len(grades))


def quality_statistic(
    probabilities: np.ndarray, grades: np.ndarray, scores: np.ndarray, targets: np.ndarray | None = None
) -> Statistic:
    """`quality_metrics` as a function of the videos' weights (see `evaluation.bootstrap`)."""
    probabilities, grades = checked(probabilities, grades)
    scores = np.asarray(scores, np.float64)
    targets = np.asarray(to_scores(grades, probabilities.shape[1]) if targets is None else targets, np.float64)
    if scores.shape != grades.shape or targets.shape != grades.shape or not np.isfinite([scores, targets]).all():
        raise ValueError("expected one finite score and one finite target per video: leave failed videos out")
    order = np.argsort(-probabilities, axis=1, kind="stable")
    predictions, in_two = order[:, 0], (order[:, :2] == grades[:, None]).any(axis=1)
    difference = scores - targets
    ranked = [Levels(-values) for values in (scores, targets)]  # lowest first

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(axis=1)
        support, _, _, f1 = class_rates(weights, grades, predictions, probabilities.shape[1])
        bias = ratio(weights @ difference, total)
        variance = ratio((weights * (difference - bias[:, None]) ** 2).sum(axis=1), total - 1)
        return {
            "accuracy": ratio(weights @ (predictions == grades), total),
            "top2": ratio(weights @ in_two, total),
            "macro_f1": macro(f1, support),
            "quadratic_kappa": _quadratic_kappa(weights, grades, predictions),
            "mae": ratio(weights @ np.abs(difference), total),
            "spearman": _correlation(weights, *(_ranks(weights, of) for of in ranked)),
            "pearson": _correlation(weights, scores, targets),
            "bias": bias,
            "limit_low": bias - 1.96 * np.sqrt(variance),
            "limit_high": bias + 1.96 * np.sqrt(variance),
        }

    return statistic


def defect_statistic(probabilities: np.ndarray, severities: np.ndarray) -> Statistic:
    """How well probabilities `[N]` of a defect follow how strongly it shows, `[N]` in [0, 1], by the videos' weights.

    auroc: probability that a video with more than THERE of it has a higher one than another, equal ones counting half;
    spearman: rank correlation.
    """
    there = severities > THERE
    ranked = [Levels(-np.asarray(values, np.float64)) for values in (probabilities, severities)]  # lowest first

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        found, absent = ranked[0].sums(weights * there), ranked[0].sums(weights * ~there)
        below = absent.cumsum(axis=1) - absent / 2
        return {
            "auroc": ratio((found * below).sum(axis=1), found.sum(axis=1) * absent.sum(axis=1)),
            "spearman": _correlation(weights, *(_ranks(weights, of) for of in ranked)),
        }

    return statistic


def per_view(
    views: np.ndarray,
    probabilities: np.ndarray,
    grades: np.ndarray,
    scores: np.ndarray,
    targets: np.ndarray | None = None,
    *,
    names: Sequence[str] | None = None,
) -> list[ViewQuality]:
    """One row for each view that occurs in `views` int64 `[N]`, with its `quality_metrics`."""
    views = np.asarray(views)
    targets = to_scores(grades, probabilities.shape[1]) if targets is None else np.asarray(targets)
    rows = []
    for view in np.unique(views).tolist():
        of = views == view
        metrics = quality_metrics(probabilities[of], grades[of], scores[of], targets[of])
        about = {"view": view, "name": names[view] if names else str(view), "support": int(of.sum())}
        rows.append(cast(ViewQuality, about | metrics))
    return rows


def _quadratic_kappa(weights: np.ndarray, grades: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Cohen's kappa with quadratic weights, `[B]`: 1 − mean (g − p)² over its mean were g and p independent.

    That latter mean is E[g²] + E[p²] − 2·E[g]·E[p], so no table of grades is needed.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return ratio(weights @ values, weights.sum(axis=1))

    by_chance = mean(grades**2) + mean(predictions**2) - 2 * mean(grades) * mean(predictions)
    return 1 - ratio(mean((grades - predictions) ** 2), by_chance)


def _ranks(weights: np.ndarray, values: Levels) -> np.ndarray:
    """Ranks `[B, N]` of values, lowest first, repeated by `weights`; ties share their mean rank (less ½)."""
    mass = values.sums(weights)
    return (mass.cumsum(axis=1) - mass / 2).take(values.place, axis=1)


def _correlation(weights: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Weighted Pearson correlation `[B]` of `a` and `b`, each `[N]` or `[B, N]`; nan where one of them is constant."""

    def centred(values: np.ndarray) -> np.ndarray:
        from_mean = values - ratio((weights * values).sum(axis=1), weights.sum(axis=1))[:, None]
        rounding = 1e-12 * np.abs(values).max(initial=0)  # which is no spread
        return np.where(np.abs(from_mean) > rounding, from_mean, 0)

    def mean_product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (weights * x * y).sum(axis=1)

    a, b = centred(a), centred(b)
    both = mean_product(a, a) * mean_product(b, b)
    return ratio(mean_product(a, b), np.sqrt(both))
