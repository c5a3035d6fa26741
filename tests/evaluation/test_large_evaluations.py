"""What makes the intervals of large evaluations fast changes no bit of them."""

from __future__ import annotations

import numpy as np
import pytest

from echoviewclip.evaluation import measures
from echoviewclip.evaluation.bootstrap import intervals, ratio
from echoviewclip.evaluation.classification import class_rates
from echoviewclip.evaluation.ood import ood_statistic
from echoviewclip.evaluation.summary import summarise
from echoviewclip.tools.benchmarks.intervals import evaluate, made_up


def plain_ood(scores: np.ndarray, inside: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The same figures, all rows at once."""
    order = np.argsort(-scores, kind="stable")
    ins, outs = order[inside[order]], order[~inside[order]]
    level_in, level_out = -scores[ins], -scores[outs]
    of_ins, of_outs = weights.take(ins, axis=1), weights.take(outs, axis=1)  # indexed, their memory would be columns
    true, false = (np.pad(part.cumsum(axis=1), ((0, 0), (1, 0))) for part in (of_ins, of_outs))
    all_in, all_out = true[:, -1], false[:, -1]
    above = true[:, np.searchsorted(level_in, level_out, side="left")]
    at = true[:, np.searchsorted(level_in, level_out, side="right")]
    outs_at_ins = np.searchsorted(level_out, level_in, side="right")

    def precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
        return positives / np.maximum(positives + negatives, 1e-300)

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.einsum("bn,bn->b", a, np.ascontiguousarray(b))

    precision_in = precision(true[:, np.searchsorted(level_in, level_in, side="right")], false[:, outs_at_ins])
    false_above = false[:, np.searchsorted(level_out, level_out, side="left")]
    precision_out = precision(all_out[:, None] - false_above, all_in[:, None] - above)
    enough = [np.searchsorted(row[1:], 0.95 * row[-1] - 1e-9) for row in true]
    accepted = np.array([row[outs_at_ins[first]] for row, first in zip(false, enough, strict=True)])
    both = all_in * all_out
    return {
        "auroc": ratio(product(of_outs, above + at) / 2, both),
        "aupr_in": ratio(product(of_ins, precision_in) * all_out, both),
        "aupr_out": ratio(product(of_outs, precision_out) * all_in, both),
        "fpr95": ratio(accepted * all_in, both),
    }


@pytest.mark.parametrize("different", [7, 10**6], ids=["many equal scores", "hardly any"])
@pytest.mark.parametrize("videos", [50, 20_000])
def test_out_of_distribution_figures_are_those_of_plain_sums_to_the_bit(videos, different):
    random = np.random.default_rng(videos)
    scores, inside = random.integers(different, size=videos).astype(float), random.random(videos) < 0.4
    weights = random.poisson(1.0, (5, videos)).astype(float)
    weights[4] = inside  # no outsiders: not defined
    found, plain = ood_statistic(scores, inside)(weights), plain_ood(scores, inside, weights)
    assert list(found) == list(plain) and np.isnan(found["auroc"][4])
    for name, values in plain.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_rates_of_classes_are_those_of_products_with_their_indicators():
    random = np.random.default_rng(0)
    labels, predictions = random.integers(6, size=(2, 400))
    weights, identity = random.poisson(1.0, (3, 400)).astype(float), np.eye(7)
    support, precision, recall, _ = class_rates(weights, labels, predictions, 7)
    right = weights @ (identity[labels] * (labels == predictions)[:, None])
    np.testing.assert_array_equal(support, weights @ identity[labels])
    np.testing.assert_array_equal(recall, ratio(right, support))
    np.testing.assert_array_equal(precision[:, :6], ratio(right, weights @ identity[predictions])[:, :6])


def test_figures_that_are_drawn_together_have_the_intervals_that_they_have_alone():
    predictions = made_up(2000)
    found = evaluate(predictions, draws=30)
    read = predictions.where(~predictions.failed)
    names = set()
    for prefix, rows, statistic, rests_on in measures.parts_of(read, "score0", 0.0, 1.3):
        alone = intervals(statistic, read.clusters[rows], rests_on=rests_on, draws=30)
        for name, interval in alone.items():
            assert found.intervals[prefix + name] == (None if name == "ece" else interval), prefix + name
            names.add(prefix + name)
    assert names == set(found.intervals) and list(found.intervals) == list(found.metrics)
    assert summarise(predictions, stage="negation", draws=0).intervals == {}
