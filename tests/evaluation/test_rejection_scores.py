"""Scores of names that are no views, of residuals and of several scores together, against hand computation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from echoviewclip.evaluation.rejection import ALL, Residuals, combinations, figures_of, neg_label, together


def test_neglabel_is_the_mass_that_names_of_no_view_leave():
    views, others = np.log([[3.0, 1.0]]), np.log([[2.0, 2.0, 8.0]])
    assert neg_label(views, others).tolist() == pytest.approx([4 / 16 - 1])


def test_groups_of_names_are_compared_with_all_views_and_their_masses_averaged():
    views, others = np.log([[3.0, 1.0]]), np.log([[2.0, 2.0, 8.0]])
    assert neg_label(views, others, groups=3).tolist() == pytest.approx([(4 / 6 + 4 / 6 + 4 / 12) / 3 - 1])


def test_names_that_fill_no_group_are_dropped():
    assert neg_label(np.zeros((1, 1)), np.zeros((1, 5)), groups=2).tolist() == pytest.approx([1 / 3 - 1])


def test_names_are_shuffled_before_they_are_cut():
    others = np.log([[1.0] * 4 + [9.0] * 4])  # as they stand the groups would be alike
    found = neg_label(np.zeros((1, 1)), others, groups=2)
    in_order = (1 / 5 + 1 / 37) / 2 - 1
    assert found == neg_label(np.zeros((1, 1)), others, groups=2) and found != pytest.approx([in_order])


def test_masses_near_one_keep_their_order():
    found = neg_label(np.array([[80.0], [81.0]]), np.zeros((2, 3)))
    assert found[0] < found[1] < 0


@pytest.mark.parametrize("groups", [0, 4])
def test_groups_without_names_are_refused(groups):
    with pytest.raises(ValueError, match=f"3 names make no {groups} groups"):
        neg_label(np.zeros((1, 2)), np.zeros((1, 3)), groups)


# Along the first axis by far the most; the mean is (1, 0, 0).
TRAINING = np.array([[3, 0, 0], [-1, 0, 0], [1, 0.2, 0], [1, -0.2, 0], [1, 0, 0.1], [1, 0, -0.1]])


def test_a_residual_is_what_the_principal_subspace_leaves():
    found = Residuals.fit(TRAINING).scores(np.array([[9.0, 3.0, 4.0], [-70.0, 0.0, 0.0]]))
    assert found["residual"].tolist() == pytest.approx([-5, 0])


def test_mars_is_the_residuals_mahalanobis_distance():
    found = Residuals.fit(TRAINING).scores(np.array([[9.0, 3.0, 4.0]]))
    left = TRAINING[:, 1:]
    precision = np.linalg.inv(LedoitWolf(assume_centered=True).fit(left).covariance_)
    assert found["mars"].tolist() == pytest.approx([-np.array([3, 4]) @ precision @ np.array([3, 4])], rel=1e-5)


@pytest.mark.parametrize(("kept", "left"), [(0.5, 2), (0.98, 2), (0.999, 1), (1.0, 1)])
def test_the_fewest_directions_that_hold_the_share_are_principal(kept, left):
    """Variances are in the ratio 8 : 0.08 : 0.02."""
    assert Residuals.fit(TRAINING, kept).minor.shape == (3, left)


def test_together_both_sides_weigh_the_same_however_many_they_are():
    known, outliers = np.ones((40, 1)), -np.ones((3, 1))
    low, middle, high = together(known, outliers, np.array([[-1.0], [0.0], [1.0]]))
    assert middle == pytest.approx(0, abs=1e-2) and high == pytest.approx(-low, abs=1e-2) and high > 1


def test_a_score_that_is_the_same_everywhere_changes_nothing():
    noise = np.random.default_rng(0)
    known, outliers, videos = noise.normal(1, 1, (30, 1)), noise.normal(-1, 1, (30, 1)), noise.normal(0, 1, (9, 1))
    alone = together(known, outliers, videos)
    both = together(*(np.hstack([side, np.full_like(side, 7)]) for side in (known, outliers, videos)))
    assert both == pytest.approx(alone, abs=1e-3)


def test_combinations_take_the_scores_that_they_name():
    known, outliers = {"a": np.array([2.0, 3.0]), "b": np.zeros(2)}, {"a": np.array([0.0, 1.0]), "b": np.zeros(2)}
    found = combinations(known, outliers, {"a": np.array([0.0, 9.0]), "b": np.zeros(2)}, {"one": ["a"], "two": ["b"]})
    assert found["one"][0] < 0 < found["one"][1] and found["two"].tolist() == pytest.approx([0, 0], abs=1e-6)


def test_figures_are_of_each_group_and_say_what_a_score_adds():
    inside = {"distance": np.array([3.0, 2.0]), "text": np.array([1.0, 1.0])}
    outside = {"distance": np.array([1.0, 2.5]), "text": np.array([0.0, 0.0])}
    found = {
        (one.score, one.against): one for one in figures_of(inside, outside, {"near": np.array([0, 1]) > 0}, "distance")
    }
    assert set(found) == {(name, group) for name in inside for group in ("near", ALL)}
    near = found["distance", "near"]
    assert (near.outsiders, near.auroc, near.fpr95, near.added) == (1, 0.5, 1, 0)
    assert found["distance", ALL].auroc == 0.75
    assert (found["text", "near"].added, found["text", ALL].added, found["text", ALL].fpr95) == (0.5, 0.25, 0)
