"""How well views are told apart: top-k, macro averages, per class, and which classes are confused.

A class that no video is labelled with has no recall, so it takes no part in macro averages: they run over the
classes present in the labels (scikit-learn: `labels=np.unique(y_true), zero_division=0`), and macro recall is balanced
accuracy. Videos wrongly given to an absent class still cost recall in the class they belong to. A class that is
present but never predicted has precision 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from typing_extensions import NotRequired, TypedDict  # before Python 3.11

from echoviewclip.evaluation.bootstrap import Interval, Statistic, figures, intervals, ratio


def classification_metrics(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1, top-5 and macro averages, each in [0, 1]; nan for an empty set.

    Args:
        probabilities: float `[N, K]`; any order-preserving score does.
        labels: int64 `[N]` in [0, K).

    Returns:
        top1, top5, balanced_accuracy, macro_precision, macro_recall, macro_f1. Among equal probabilities the lower
        class comes first, as with argmax; with fewer than five classes top5 is 1.

    Raises:
        ValueError: shapes that disagree, probabilities that are not finite, labels outside [0, K).
    """
    return figures(classification_statistic(probabilities, labels), len(labels))


def classification_statistic(probabilities: np.ndarray, labels: np.ndarray) -> Statistic:
    """`classification_metrics` as a function of the videos' weights (see `evaluation.bootstrap`)."""
    probabilities, labels = checked(probabilities, labels)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    rank = (order == labels[:, None]).argmax(axis=1)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        support, precision, recall, f1 = class_rates(weights, labels, order[:, 0], probabilities.shape[1])
        total = weights.sum(axis=1)
        balanced = macro(recall, support)
        return {
            "top1": ratio(weights @ (rank < 1), total),
            "top5": ratio(weights @ (rank < 5), total),
            "balanced_accuracy": balanced,
            "macro_precision": macro(precision, support),
            "macro_recall": balanced,
            "macro_f1": macro(f1, support),
        }

    return statistic


# Rows of metrics.json.
ClassFigures = TypedDict(
    "ClassFigures",
    {
        "class": int,
        "name": str,
        "support": int,
        "precision": float,
        "recall": float,
        "f1": float,
        "precision_interval": NotRequired[Interval | None],
        "recall_interval": NotRequired[Interval | None],
        "f1_interval": NotRequired[Interval | None],
    },
)


class ConfusedPair(TypedDict):
    """How often videos of one class were taken for another: the count, and its share of the class."""

    label: int
    prediction: int
    count: int
    share: float


def class_rates(
    weights: np.ndarray, labels: np.ndarray, predictions: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Support, precision, recall and F1 per class, each `[B, classes]`, of B weightings `[B, N]` of the videos.

    Recall and F1 are nan for a class without videos; precision is nan for one that is neither present nor predicted.
    """
    correct = labels == predictions
    support, predicted = _by_class(weights, labels, classes), _by_class(weights, predictions, classes)
    right = _by_class(weights[:, correct], labels[correct], classes)
    precision = np.where((support > 0) & (predicted == 0), 0.0, ratio(right, predicted))
    recall = ratio(right, support)
    f1 = np.where(support > 0, ratio(2 * right, support + predicted), np.nan)
    return support, precision, recall, f1


def _by_class(weights: np.ndarray, of: np.ndarray, classes: int) -> np.ndarray:
    """Sums of weights `[B, N]` of the videos `of` each class, `[B, classes]`."""
    return np.stack([np.bincount(of, row, minlength=classes) for row in weights])


def macro(rates: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Mean of `rates` `[B, K]` over the classes with support, `[B]`; nan where no class has any."""
    present = support > 0
    return ratio(np.where(present, rates, 0).sum(axis=1), present.sum(axis=1))


def per_class(
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    names: Sequence[str] | None = None,
    patients: Sequence[str] | np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> list[ClassFigures]:
    """One row for each of the K classes; rates that are not defined are nan.

    With `patients` (one per video) each rate also has its 95 % interval, (low, high) or None, .
    """
    probabilities, labels = checked(probabilities, labels)
    predictions, classes = probabilities.argmax(axis=1), probabilities.shape[1]

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        _, *rates = class_rates(weights, labels, predictions, classes)
        named = zip(("precision", "recall", "f1"), rates, strict=True)
        return {f"{name}/{c}": rate[:, c] for name, rate in named for c in range(classes)}

    figure = figures(statistic, len(labels))

    def rests_on(name: str) -> list[np.ndarray]:
        rate, c = name.split("/")
        return [(predictions if rate == "precision" else labels) == int(c)]

    interval = None
    if patients is not None:
        interval = intervals(statistic, patients, rests_on=rests_on, draws=draws, seed=seed)
    support = np.bincount(labels, minlength=classes)
    rows = []
    for c in range(classes):
        row: dict[str, object] = {"class": c, "name": names[c] if names else str(c), "support": int(support[c])}
        for rate in ("precision", "recall", "f1"):
            row[rate] = figure[f"{rate}/{c}"]
            if interval is not None:
                row[f"{rate}_interval"] = interval[f"{rate}/{c}"]
        rows.append(cast(ClassFigures, row))
    return rows


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int64 `[classes, classes]`: rows are the labels, columns the predictions."""
    cells = np.asarray(labels, np.int64) * classes + np.asarray(predictions, np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def confused_pairs(matrix: np.ndarray, most: int = 10) -> list[ConfusedPair]:
    """The largest off-diagonal cells of a confusion matrix, largest first: label, prediction, count, share of label."""
    off = matrix - np.diag(np.diag(matrix))
    cells = np.argsort(-off, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(cells, off.shape)
    return [
        {"label": int(r), "prediction": int(c), "count": int(off[r, c]), "share": float(off[r, c] / matrix[r].sum())}
        for r, c in zip(rows, columns, strict=True)
        if off[r, c] > 0
    ]


def worst_classes(rows: Sequence[ClassFigures], most: int = 5) -> list[ClassFigures]:
    """The rows of `per_class` with the lowest F1, lowest first; classes without videos are not among them."""
    return sorted((row for row in rows if row["support"]), key=lambda row: row["f1"])[:most]


def checked(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float64 `[N, K]` and labels int64 `[N]`, or the `ValueError` of `classification_metrics`."""
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"expected probabilities [N, K] and labels [N], got {probabilities.shape} and {labels.shape}")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities that are not finite: leave failed videos out and count them")
    if labels.size and not 0 <= labels.min() <= labels.max() < probabilities.shape[1]:
        raise ValueError(f"labels must lie in [0, {probabilities.shape[1]}), got {labels.min()} to {labels.max()}")
    return probabilities, labels
