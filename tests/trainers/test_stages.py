"""The three stages' targets and losses against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from echoviewclip.models.outputs import NO_TEXTS, BranchOutput, ClassTexts, ModelOutput
from echoviewclip.models.quality import graded
from echoviewclip.trainers.stages import (
    STAGES,
    accepted_loss,
    between_features,
    build_stage,
    score_targets,
    squared_emd,
    squared_score_error,
    text_opposite_loss,
    yes_no_loss,
)
from echoviewclip.utils.config import default_config


def stage(name: str, **settings):
    config = default_config()
    config.STAGE = name
    config.DATA.NUM_CLASSES, config.DATA.NUM_QUALITIES = 3, 3
    config.AUG.LABEL_SMOOTH = settings.pop("LABEL_SMOOTH", 0.0)
    config.DATA.QUALITY_TARGET = settings.pop("QUALITY_TARGET", "grade")
    for key, value in settings.items():
        config.TRAIN[key] = value
    return build_stage(config)


def test_there_are_three_stages_and_each_knows_its_best_figure():
    assert {name: stage(name).best for name in STAGES} == {
        "view": ("top1",),
        "negation": ("ood/agreeing_to_differ/auroc", "negative/top1"),
        "quality": ("quality/quadratic_kappa", "quality/accuracy"),
    }
    assert stage("negation", NEGATION_LOSS="class").best == ("negative/top1",)


@pytest.mark.parametrize("name", ["view", "negation"])
def test_targets_of_views_are_one_hot(name):
    assert stage(name).targets(torch.tensor([2, 0]), torch.full((2,), math.nan)).tolist() == [[0, 0, 1], [1, 0, 0]]


LOGITS = torch.tensor([[math.log(2), 0.0, 0.0]])  # probabilities 1/2, 1/4, 1/4
FIRST = torch.tensor([[1.0, 0.0, 0.0]])


def answered(logits: Tensor | None, logits_no: Tensor | None = None, texts: ClassTexts = NO_TEXTS) -> ModelOutput:
    """What a model with these logits [B, K] of its branches answers."""
    branches = [
        None if given is None else BranchOutput(torch.eye(len(given)), torch.ones(len(given), 1), given, given)
        for given in (logits, logits_no)
    ]
    return ModelOutput(*branches, None, texts, {})


def test_the_view_loss_is_cross_entropy():
    loss = stage("view").loss(answered(LOGITS), FIRST)
    assert {name: term.item() for name, term in loss.items()} == {"view": pytest.approx(math.log(2))}


def test_label_smoothing_spreads_its_share_over_all_classes():
    loss = stage("view", LABEL_SMOOTH=0.3).loss(answered(LOGITS), FIRST)
    assert loss["view"].item() == pytest.approx(0.8 * math.log(2) + 0.1 * math.log(4) + 0.1 * math.log(4))


def test_the_class_loss_wants_the_true_class_denied_least():
    text = torch.eye(3)
    output = answered(None, -LOGITS, ClassTexts(text, -text))
    loss = stage("negation", NEGATION_LOSS="class", OPPOSITE_WEIGHT=2.0, OUTLIER_WEIGHT=0.0).loss(output, FIRST)
    assert loss["negation"].item() == pytest.approx(math.log(2))
    assert loss["opposite"].item() == pytest.approx(2 * (2 - math.sqrt(4 + 1e-4)), abs=1e-6)


@pytest.mark.parametrize(
    ("cosine", "expected"), [(1, 2 - 0.01), (0, 2 - math.sqrt(2.0001)), (-1, 2 - math.sqrt(4.0001))]
)
def test_the_text_opposite_loss_by_hand(cosine, expected):
    text = torch.tensor([[1.0, 0.0]])
    text_no = torch.tensor([[cosine, math.sqrt(1 - cosine**2)]])
    assert text_opposite_loss(text, text_no).item() == pytest.approx(expected, abs=1e-6)


def test_the_text_opposite_loss_is_the_mean_over_classes_and_has_a_slope_where_texts_agree():
    text = torch.eye(2, requires_grad=True)
    loss = text_opposite_loss(text, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert loss.item() == pytest.approx((1.99 + 2 - math.sqrt(2.0001)) / 2, abs=1e-6)
    loss.backward()
    assert torch.isfinite(text.grad).all() and text.grad[0, 0].item() == pytest.approx(50)  # 1 / √1e-4, halved


def test_grades_are_one_hot():
    assert stage("quality").targets(torch.tensor([1]), torch.tensor([math.nan])).tolist() == [[0, 1, 0]]


def test_scores_lie_between_the_two_nearest_grades():
    targets = stage("quality", QUALITY_TARGET="score").targets(torch.tensor([-1] * 3), torch.tensor([0.0, 0.75, 0.4]))
    torch.testing.assert_close(targets, torch.tensor([[1, 0, 0], [0, 0.5, 0.5], [0.2, 0.8, 0]]))


@given(st.floats(0, 1, width=32), st.integers(2, 12))
def test_the_expectation_of_score_targets_is_the_score(score, grades):
    targets = score_targets(torch.tensor([score]), grades)
    assert targets.sum().item() == pytest.approx(1, abs=1e-5) and (targets >= 0).all()
    assert (targets @ torch.linspace(0, 1, grades)).item() == pytest.approx(score, abs=1e-5)


def test_the_squared_earth_mover_s_distance_by_hand():
    # Cumulated 1/2, 3/4, 1 against 0, 0, 1, and against 1, 1, 1.
    assert squared_emd(LOGITS, torch.tensor([[0.0, 0.0, 1.0]])).item() == pytest.approx(1 / 4 + 9 / 16)
    assert squared_emd(LOGITS, FIRST).item() == pytest.approx(1 / 4 + 1 / 16)
    both = squared_emd(LOGITS.expand(2, -1), torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    assert both.item() == pytest.approx((13 / 16 + 5 / 16) / 2)


def test_the_quality_loss_adds_the_ordinal_term():
    loss = stage("quality", ORDINAL_WEIGHT=3.0).loss(
        ModelOutput(None, None, graded(LOGITS, torch.ones(1, 1)), NO_TEXTS, {}), FIRST
    )
    assert loss["quality"].item() == pytest.approx(math.log(2))
    assert loss["ordinal"].item() == pytest.approx(3 * 5 / 16)


def test_the_loss_of_defects_is_binary_cross_entropy_where_they_are_known():
    made = stage("quality")
    known = torch.tensor([[1.0, math.nan], [0.25, 0.0]])
    targets = made.targets(torch.tensor([0, 0]), torch.full((2,), math.nan), known)
    assert targets[:, :3].tolist() == [[1, 0, 0]] * 2
    logits = torch.tensor([[2.0, 5.0], [0.0, -1.0]], requires_grad=True)
    output = ModelOutput(None, None, graded(LOGITS.expand(2, -1), torch.ones(2, 1), logits), NO_TEXTS, {})
    loss = made.loss(output, targets)
    expected = math.log(1 + math.exp(-2)) + math.log(2) + math.log(1 + math.exp(-1))
    assert loss["defects"].item() == pytest.approx(expected / 4)
    assert loss["quality"].item() == pytest.approx(math.log(2))
    loss["defects"].backward()
    assert logits.grad[0, 1] == 0 and logits.grad.isfinite().all()


def test_the_outlier_loss_is_minus_log_of_what_the_score_rejects():
    logits, logits_no = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.5, 1.0, -2.0]])
    overlap = float((logits.softmax(-1) * logits_no.softmax(-1)).sum())  # 1 − S
    assert accepted_loss(logits, logits_no).item() == pytest.approx(-math.log(overlap), rel=1e-6)


def test_the_yes_no_loss_by_hand():
    # Yes to the first (σ(2) of it), no to the others (1 − σ(−1) and 1 − σ(0)).
    logits, logits_no = torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([[0.0, 1.0, 1.0]])
    expected = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1)) + math.log(2)
    assert yes_no_loss(logits, logits_no, FIRST).item() == pytest.approx(expected, rel=1e-6)


def test_virtual_outliers_have_the_logits_of_the_feature_halfway():
    features = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    classes, scale = torch.randn(3, 8, generator=torch.Generator().manual_seed(1)), 14.3
    halfway = torch.nn.functional.normalize(features + features.flip(0), dim=-1)
    torch.testing.assert_close(
        between_features(scale * features @ classes.t(), features), scale * halfway @ classes.t()
    )


@pytest.mark.parametrize("kind", ["clipn", "class"])
def test_outliers_enter_the_negation_loss_only_by_their_own_term(kind):
    torch.manual_seed(0)
    logits, logits_no, texts = torch.randn(4, 3), torch.randn(4, 3), ClassTexts(torch.eye(3), -torch.eye(3))
    targets = torch.cat([torch.eye(3)[[0, 1]], torch.zeros(2, 3)])  # two videos, two outliers
    with_outliers = stage("negation", NEGATION_LOSS=kind, OUTLIER_WEIGHT=1.0).loss(
        answered(logits, logits_no, texts), targets
    )
    inside = answered(logits[:2], logits_no[:2], texts)
    alone = stage("negation", NEGATION_LOSS=kind, OUTLIER_WEIGHT=0.0).loss(inside, targets[:2])
    torch.testing.assert_close(with_outliers["negation"], alone["negation"])
    assert "outliers" in with_outliers and "outliers" not in alone


def test_the_squared_score_error_by_hand():
    # Grades at 0, 1/2, 1 with probabilities 1/2, 1/4, 1/4 are expected at 3/8; the truth is 0.
    assert squared_score_error(LOGITS, FIRST).item() == pytest.approx((3 / 8) ** 2, rel=1e-6)
