"""In or out of distribution: scores of one forward pass (higher = more like known views), and how well they separate.

A video is accepted when its score is at least τ; `evaluation.calibration.threshold` finds τ.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit, log_softmax, logsumexp, softmax

from echoviewclip.evaluation.bootstrap import SCRATCH, Statistic, figures, gather, levels, ratio

FPR95 = (
    "share of outsiders with a score of at least t, where t is the highest threshold that accepts "
    "at least 95 % of the in-distribution videos (score ≥ t; equal scores pass together; no interpolation)"
)


def scores(
    logits: np.ndarray,
    logits_no: np.ndarray | None = None,
    *,
    cosines: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Every score that the given answers allow, float64 `[N]` by name; higher = in distribution.

    Those by distance are `feature_statistics.Distances`.

    Args:
        logits: `[N, K]`, scale·cos(f_pos, t_pos).
        logits_no: `[N, K]`, scale·cos(f_neg, t_neg): how strongly the video is said *not* to show the class, hence
            lowest at the class it shows.
        cosines: `[N, K]`, cos(f_pos, t_pos) without the scale, for mcm.

    Returns:
        Always: msp, the highest probability (Hendrycks & Gimpel 2017); max_logit (Hendrycks et al. 2022); energy,
        logsumexp of the logits (Liu et al. 2020).
        With logits_no: negation, S = Σ_c p_pos(c)·(1 − p_neg(c)), softmax over classes on both sides, in [0, 1]
        (EchoViewCLIP); and CLIPN's two (Wang et al. 2023, arXiv:2308.12213), where p_yes(c) is the softmax over the
        pair of the class's logit and its no-logit: competing_to_win, p_yes of the predicted class, and
        agreeing_to_differ, Σ_c p_pos(c)·p_yes(c), the mass that the extra class "none of them" leaves over.
        With cosines: mcm, the highest softmax of cosines at temperature 1 (Ming et al. 2022).
    """
    logits = np.asarray(logits, np.float64)
    positive = softmax(logits, axis=1)
    result = {"msp": positive.max(axis=1), "max_logit": logits.max(axis=1), "energy": logsumexp(logits, axis=1)}
    if logits_no is not None:
        logits_no = np.asarray(logits_no, np.float64)
        yes = expit(logits - logits_no)
        # 1 − Σ p_pos·p_neg is the same sum without adding K − 1 small terms to the large one.
        overlap = np.exp(logsumexp(log_softmax(logits, axis=1) + log_softmax(logits_no, axis=1), axis=1))
        result["negation"] = 1 - overlap
        result["competing_to_win"] = np.take_along_axis(yes, logits.argmax(axis=1)[:, None], axis=1)[:, 0]
        result["agreeing_to_differ"] = (positive * yes).sum(axis=1)
    if cosines is not None:
        result["mcm"] = softmax(np.asarray(cosines, np.float64), axis=1).max(axis=1)
    return result


def ood_metrics(in_scores: np.ndarray, out_scores: np.ndarray) -> dict[str, float]:
    """How well raw scores part in-distribution videos `[N]` from outsiders `[M]`; nan where either side is empty.

    Returns:
        auroc: probability that a random insider scores above a random outsider, equal scores counting half.
        aupr_in, aupr_out: average precision with insiders, and with outsiders, as the positives.
        fpr95: false positive rate at 95 % true positive rate, as `FPR95` says.

    Raises:
        ValueError: a score that is nan.
    """
    inside = np.concatenate([np.ones(len(in_scores), bool), np.zeros(len(out_scores), bool)])
    return figures(ood_statistic(np.concatenate([in_scores, out_scores]), inside), len(inside))


def ood_statistic(scores: np.ndarray, inside: np.ndarray) -> Statistic:
    """`ood_metrics` of scores `[N]` and whether each is `inside`, bool `[N]`, as a function of the videos' weights."""
    scores, inside = np.asarray(scores, np.float64), np.asarray(inside, bool)
    if np.isnan(scores).any():
        raise ValueError("scores that are nan: leave failed videos out and count them")
    level = levels(scores)
    ranked = np.argsort(level, kind="stable")
    ins, outs = ranked[inside[ranked]], ranked[~inside[ranked]]  # best first
    level_in, level_out = level[ins], level[outs]
    # Of each video: how many of its own and of the other side stand at its level or above, and above it.
    ins_at_ins, outs_at_ins = (np.searchsorted(side, level_in, side="right") for side in (level_in, level_out))
    ins_above_outs, ins_at_outs = (np.searchsorted(level_in, level_out, side=side) for side in ("left", "right"))
    outs_above_outs = np.searchsorted(level_out, level_out, side="left")
    if np.array_equal(ins_above_outs, ins_at_outs):
        ins_at_outs = ins_above_outs  # no insider shares a score with an outsider: looked up once
    of_ins_at, of_outs_above = _lookup(ins_at_ins), _lookup(outs_above_outs)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        rows, n, m = len(weights), len(ins), len(outs)
        of_ins, of_outs = SCRATCH.floats("ins", rows, n), SCRATCH.floats("outs", rows, m)
        precision, precision_out = SCRATCH.floats("precision", rows, n), SCRATCH.floats("precision out", rows, m)
        true, false = SCRATCH.floats("true", n + 1), SCRATCH.floats("false", m + 1)  # sums of the first 0, 1, … weights
        above, other, rest = SCRATCH.floats("above", m), SCRATCH.floats("other", m), SCRATCH.floats("rest", n)
        true[0] = false[0] = 0
        pairs, false_at_95, all_in, all_out = np.empty((4, rows))
        for row in range(rows):  # one by one: what is computed stays near the processor
            gather(weights[row], ins, of_ins[row]).cumsum(out=true[1:])
            gather(weights[row], outs, of_outs[row]).cumsum(out=false[1:])
            all_in[row], all_out[row] = true[-1], false[-1]
            gather(true, ins_above_outs, above)
            at = above if ins_at_outs is ins_above_outs else gather(true, ins_at_outs, other)
            pairs[row] = (of_outs[row] @ above + of_outs[row] @ at) / 2  # whole numbers, halved
            _precision(of_ins_at(true), gather(false, outs_at_ins, rest), out=precision[row])
            outs_left = np.subtract(false[-1], of_outs_above(false), out=other)
            _precision(outs_left, np.subtract(true[-1], above, out=above), out=precision_out[row])
            false_at_95[row] = _accepted_at_95(true, false, outs_at_ins)
        both = all_in * all_out  # zero where a side is empty: nothing is defined then
        return {
            "auroc": ratio(pairs, both),
            "aupr_in": ratio(_product(of_ins, precision) * all_out, both),
            "aupr_out": ratio(_product(of_outs, precision_out) * all_in, both),
            "fpr95": ratio(false_at_95 * all_in, both),
        }

    return statistic


def _lookup(places: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What looks values up at `places`; without copying where these follow each other."""
    if len(places) and np.array_equal(places, np.arange(places[0], places[0] + len(places))):
        part = slice(int(places[0]), int(places[0]) + len(places))
        return lambda values: values[part]
    return lambda values: values.take(places)


def _accepted_at_95(true: np.ndarray, false: np.ndarray, outs_at_ins: np.ndarray) -> float:
    """Outsiders at or above the first insider with whom 95 % of the insiders are accepted."""
    if not len(outs_at_ins):
        return 0.0
    enough = np.searchsorted(true[1:], 0.95 * true[-1] - 1e-9)
    return float(false[outs_at_ins[enough]])


def _precision(positives: np.ndarray, negatives: np.ndarray, out: np.ndarray) -> None:
    """Share of positives; 0 where there is neither, at videos that weigh nothing. Overwrites `negatives`."""
    both = np.add(positives, negatives, out=negatives)
    np.divide(positives, np.maximum(both, 1e-300, out=both), out=out)


def _product(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums of values `[B, n]` by weights `[B, n]`, `[B]`."""
    return np.einsum("bn,bn->b", weights, values)
