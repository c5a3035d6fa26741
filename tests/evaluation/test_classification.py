"""Classification figures against hand-computed numbers and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from echoviewclip.evaluation import classification as c


def one_hot(predictions, classes):
    return np.eye(classes)[np.asarray(predictions)]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 8))
def test_agrees_with_scikit_learn_also_where_classes_are_absent(seed, videos, classes):
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.ones(classes), videos), rng.integers(0, classes, videos)
    predictions, present = probabilities.argmax(1), np.unique(labels)
    ours = c.classification_metrics(probabilities, labels)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predictions, labels=present, average="macro", zero_division=0
    )
    assert ours == pytest.approx(
        {
            "top1": metrics.accuracy_score(labels, predictions),
            "top5": metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=range(classes))
            if classes > 5
            else 1.0,
            "balanced_accuracy": recall,
            "macro_precision": precision,
            "macro_recall": recall,
            "macro_f1": f1,
        }
    )


def test_hand_computed_with_an_absent_class_that_is_predicted():
    # labels 0 0 1 1, predicted 0 1 1 2; nobody belongs to class 2.
    figures = c.classification_metrics(one_hot([0, 1, 1, 2], 3), np.array([0, 0, 1, 1]))
    assert figures["top1"] == 0.5
    assert figures["macro_precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert figures["macro_recall"] == figures["balanced_accuracy"] == 0.5
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_equal_probabilities_count_the_lower_class_first():
    figures = c.classification_metrics(np.full((8, 8), 1 / 8), np.arange(8))
    assert figures["top1"] == 1 / 8
    assert figures["top5"] == 5 / 8


def test_per_class_rows_match_scikit_learn_and_name_what_is_undefined():
    labels, predictions = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 2])
    rows = c.per_class(one_hot(predictions, 4), labels, names=["a", "b", "c", "d"])
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predictions, labels=range(4), zero_division=np.nan
    )
    assert [row["name"] for row in rows] == ["a", "b", "c", "d"]
    assert [row["support"] for row in rows] == support.tolist()
    np.testing.assert_allclose([row["precision"] for row in rows], precision)
    np.testing.assert_allclose([row["recall"] for row in rows], recall)
    np.testing.assert_allclose([row["f1"] for row in rows[:2]], f1[:2])
    assert np.isnan([row["f1"] for row in rows[2:]]).all()
    assert [row["class"] for row in c.worst_classes(rows)] == [0, 1]


def test_per_class_intervals_surround_their_figures():
    rng = np.random.default_rng(0)
    labels, patients = rng.integers(0, 3, 300), np.repeat(np.arange(60), 5)
    predictions = np.where(rng.random(300) < 0.8, labels, rng.integers(0, 3, 300))
    for row in c.per_class(one_hot(predictions, 3), labels, patients=patients, draws=200):
        low, high = row["recall_interval"]
        assert low < row["recall"] < high
        assert high - low < 0.3


def test_confusion_matrix_and_the_most_confused_pairs():
    labels, predictions = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 2, 2, 0, 2, 2])
    matrix = c.confusion_matrix(labels, predictions, 4)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(labels, predictions, labels=range(4)))
    assert c.confused_pairs(matrix) == [
        {"label": 0, "prediction": 2, "count": 2, "share": pytest.approx(2 / 3)},
        {"label": 1, "prediction": 0, "count": 1, "share": 1.0},
    ]


def test_an_empty_set_has_no_figures():
    figures = c.classification_metrics(np.zeros((0, 3)), np.zeros(0, np.int64))
    assert all(np.isnan(value) for value in figures.values())


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones((2, 3)), [0], "got .2, 3. and .1,."),
        ([[np.nan, 1.0]], [0], "not finite"),
        (np.ones((1, 3)), [3], r"labels must lie in \[0, 3\), got 3 to 3"),
        (np.ones((1, 3)), [-1], r"labels must lie in \[0, 3\), got -1 to -1"),
    ],
)
def test_refuses_what_would_give_wrong_figures(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        c.classification_metrics(np.asarray(probabilities), np.asarray(labels))
