"""Does the model know what it knows? τ, temperature, calibration error, risk–coverage, "unknown" as a class."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.special import digamma, log_softmax, softmax

from echoviewclip.evaluation.bootstrap import SCRATCH, Levels, Statistic, figures, gather, levels, ratio
from echoviewclip.evaluation.classification import checked

TEMPERATURES = (0.05, 20.0)
PRIOR_VIDEOS = 10  # the weight of the prior on the temperature


def threshold(scores: np.ndarray, rate: float) -> float:
    """τ that accepts (score ≥ τ) the smallest share of in-distribution `scores` that is at least `rate` in (0, 1].

    It lies halfway between the ⌈rate·N⌉-th highest score and the next lower one, or a thousandth of the scores' range
    below the lowest, so that rounding in another batch or on another machine rejects none of those it accepts here.

    Raises:
        ValueError: no scores, a score that is nan, a rate outside (0, 1].
    """
    scores = np.sort(np.asarray(scores, np.float64))
    if not len(scores) or np.isnan(scores).any() or not 0 < rate <= 1:
        raise ValueError(f"τ needs scores without nan and a rate in (0, 1], got {len(scores)} scores and rate {rate}")
    last = scores[-math.ceil(round(rate * len(scores), 9))]  # 0.07 · 100 is 7, not 7.000000000000001
    lower = scores[scores < last]
    return float((last + lower[-1]) / 2 if len(lower) else last - (scores[-1] - last) / 1000)


def kept_scores(scores: np.ndarray, most: int = 4096) -> np.ndarray:
    """Finite scores, sorted float64 `[≤ most]`: what a checkpoint keeps of validation videos, to find τ by later.

    All of them where they are at most `most`, so that τ is exact. Of more, those at `most` evenly spaced ranks, the
    lowest and the highest included: τ for any rate then accepts a share that is off by less than 2 / most.
    """
    scores = np.asarray(scores, np.float64)
    scores = np.sort(scores[np.isfinite(scores)])
    if len(scores) <= most:
        return scores
    return scores[np.linspace(0, len(scores) - 1, most).round().astype(np.int64)]


def fit_temperature(logits: np.ndarray, labels: np.ndarray, prior: float = PRIOR_VIDEOS) -> float:
    """T in TEMPERATURES such that softmax(logits / T) has the lowest negative log-likelihood (Guo et al. 2017), with a
    prior: that the logits are right about themselves.

    `logits` `[N, K]` and `labels` `[N]` are of validation videos. Few videos, all of them right, would want T → 0 and
    so a certainty that they cannot prove. So `prior` further videos count, which are labelled just as softmax(logits)
    expects, and whose likelihood is highest at T = 1: N videos, all right, move a mean confidence c to about
    (N + prior·c) / (N + prior).
    """
    logits, labels = checked(logits, labels)
    if not len(labels):
        raise ValueError("a temperature cannot be fitted to no videos")
    from scipy.optimize import minimize_scalar  # here, as only this needs it and importing it takes a while

    wanted = prior / len(labels) * softmax(logits, axis=1)
    wanted[np.arange(len(labels)), labels] += 1

    def negative_log_likelihood(log_temperature: float) -> float:
        return -float((wanted * log_softmax(logits / math.exp(log_temperature), axis=1)).sum(axis=1).mean())

    bounds = tuple(map(math.log, TEMPERATURES))
    return math.exp(minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded").x)


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / T), float64 `[N, K]`, from softmax(logits) alone: log p and the logits differ by a constant."""
    return softmax(np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-300)) / temperature, axis=1)


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> list[dict]:
    """Rows of a reliability diagram, empty bins left out: low, high, count, and the means confidence and accuracy.

    `confidence` float `[N]` in [0, 1] is the probability of the predicted class, `correct` bool `[N]`; bins have
    equal width and hold their upper edge.
    """
    confidence, bin_of = np.asarray(confidence, np.float64), _bins(confidence, bins)
    return [
        {
            "low": b / bins,
            "high": (b + 1) / bins,
            "count": int((bin_of == b).sum()),
            "confidence": float(confidence[bin_of == b].mean()),
            "accuracy": float(np.mean(np.asarray(correct)[bin_of == b])),
        }
        for b in np.unique(bin_of).tolist()
    ]


def calibration_metrics(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> dict[str, float]:
    """Of the confidence `[N]` in [0, 1] of predictions that are `correct`, bool `[N]`; nan for an empty set.

    Returns:
        ece: expected calibration error, the mean of |accuracy − confidence| of the bins of `reliability`, by count.
        aurc: area under the risk–coverage curve, the mean error rate among the n most confident over n = 1 … N
            (Geifman & El-Yaniv 2017). Equal confidences count as shuffled: the mean over their orders, exactly.
    """
    return figures(calibration_statistic(confidence, correct, bins), len(confidence))


def calibration_statistic(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> Statistic:
    """`calibration_metrics` as a function of the videos' weights (see `evaluation.bootstrap`)."""
    confidence, wrong = np.asarray(confidence, np.float64), ~np.asarray(correct, bool)
    in_bin = np.eye(bins)[_bins(confidence, bins)]
    area = risk_statistic(confidence, ~wrong)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        gap = (weights * (confidence + wrong - 1)) @ in_bin
        return {"ece": ratio(np.abs(gap).sum(axis=1), weights.sum(axis=1))} | area(weights)

    return statistic


def risk_statistic(order_by: np.ndarray, correct: np.ndarray) -> Statistic:
    """The figure aurc of `calibration_metrics` alone, for any score `[N]` that orders videos, highest first."""
    levels, wrong = Levels(order_by), np.asarray(~np.asarray(correct, bool), float)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        rows, n = len(weights), len(levels)
        risks, total = SCRATCH.floats("risks", rows, n), weights.sum(axis=1)
        count, errors, rate = (SCRATCH.floats(name, n) for name in ("count", "errors", "rate"))
        after, errors_after, sums = (SCRATCH.floats(name, n + 1) for name in ("after", "errors after", "sums"))
        after[0] = errors_after[0] = 0
        known = harmonic(int(total.max(initial=0)))
        for row in range(rows):  # one by one: what is computed stays near the processor
            levels.sums_of(weights[row], count).cumsum(out=after[1:])
            wrong_weights = np.multiply(weights[row], wrong, out=SCRATCH.floats("wrong", len(wrong)))
            levels.sums_of(wrong_weights, errors).cumsum(out=errors_after[1:])
            # Σ over the places i of a level of (errors_before + (i − before)·rate) / i, through harmonic numbers.
            gather(known, after.astype(int), sums)
            np.divide(errors, np.maximum(count, 1, out=count), out=rate)
            before = np.multiply(after[:-1], rate, out=rate)
            risk = np.subtract(errors_after[:-1], before, out=before)
            risk *= np.subtract(sums[1:], sums[:-1], out=count)
            np.add(errors, risk, out=risks[row])
        return {"aurc": ratio(risks.sum(axis=1), total)}

    return statistic


@functools.lru_cache(maxsize=4)
def harmonic(most: int) -> np.ndarray:
    """Harmonic numbers 0, 1, 1 + 1/2, … `[most + 1]`, less a constant: weights are whole numbers of videos."""
    return digamma(np.arange(most + 1) + 1.0)


def risk_coverage(order_by: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and risk (error rate among the covered), each `[levels]`, at every threshold of the score `[N]`."""
    level, wrong = levels(order_by), ~np.asarray(correct, bool)
    covered = np.bincount(level).cumsum()
    return covered / max(len(level), 1), np.bincount(level, wrong).cumsum() / np.maximum(covered, 1)


def joint_metrics(predictions: np.ndarray, labels: np.ndarray, scores: np.ndarray, tau: float) -> dict[str, float]:
    """One accuracy over K views and "unknown": what a user meets who is told a view or nothing.

    Args:
        predictions: int `[N]`, the likeliest view.
        labels: int `[N]`, -1 for outsiders.
        scores: float `[N]`; a video is accepted when its score is at least `tau`.

    Returns:
        joint_accuracy: share of videos that are accepted with the right view or rejected as outsiders; nan without
        insiders or without outsiders, since it would be another figure;
        accepted: share of insiders accepted; rejected: share of outsiders rejected.
    """
    return figures(joint_statistic(predictions, labels, scores, tau), len(labels))


def joint_statistic(predictions: np.ndarray, labels: np.ndarray, scores: np.ndarray, tau: float) -> Statistic:
    """`joint_metrics` as a function of the videos' weights (see `evaluation.bootstrap`)."""
    accepted, outside = np.asarray(scores) >= tau, np.asarray(labels) < 0
    right = np.where(outside, ~accepted, accepted & (np.asarray(predictions) == labels))

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        ins, outs = weights @ ~outside, weights @ outside
        return {
            "joint_accuracy": np.where(ins * outs > 0, ratio(weights @ right, ins + outs), np.nan),
            "accepted": ratio(weights @ (accepted & ~outside), ins),
            "rejected": ratio(weights @ (~accepted & outside), outs),
        }

    return statistic


def _bins(confidence: np.ndarray, bins: int) -> np.ndarray:
    return np.clip(np.ceil(np.asarray(confidence, np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
