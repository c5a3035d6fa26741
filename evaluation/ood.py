"""In or out of distribution: scores of one forward pass (higher = more like known views), and how well they separate.

A video is accepted when its score is at least τ; `evaluation.calibration.threshold` finds τ.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_softmax, logsumexp, softmax

from echoviewclip.evaluation.bootstrap import Statistic, figures, group_sums, levels, ratio

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

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        if not len(scores):
            return {name: np.full(len(weights), np.nan) for name in ("auroc", "aupr_in", "aupr_out", "fpr95")}
        ins, outs = group_sums(weights * inside, level), group_sums(weights * ~inside, level)  # [B, levels]
        true, false = ins.cumsum(axis=1), outs.cumsum(axis=1)
        all_in, all_out = true[:, -1], false[:, -1]
        both = all_in * all_out  # zero where a side is empty: nothing is defined then
        enough = (true >= 0.95 * all_in[:, None] - 1e-9).argmax(axis=1)
        at_95 = np.take_along_axis(false, enough[:, None], axis=1)[:, 0]
        return {
            "auroc": ratio((outs * (true - ins / 2)).sum(axis=1), both),
            "aupr_in": ratio(_average_precision(ins, outs) * all_out, both),
            "aupr_out": ratio(_average_precision(outs[:, ::-1], ins[:, ::-1]) * all_in, both),
            "fpr95": ratio(at_95 * all_in, both),
        }

    return statistic


def _average_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Σ positives·precision over the levels `[B, levels]`, best first: average precision times all positives, `[B]`."""
    true = positives.cumsum(axis=1)
    return (positives * np.nan_to_num(ratio(true, true + negatives.cumsum(axis=1)))).sum(axis=1)
