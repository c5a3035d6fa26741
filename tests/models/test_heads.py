"""Poolings over time and quality heads: what they start as, and what their outputs mean."""

from __future__ import annotations

import math

import pytest
import torch

from echoviewclip.models.pooling import POOLINGS, positions
from echoviewclip.models.quality import StepwiseHead
from tests.tiny_data import tiny_clips, tiny_model


@pytest.mark.parametrize("kind", POOLINGS)
def test_every_pooling_starts_as_the_mean_over_time_with_equal_weights(kind):
    frames = torch.randn(3, 5, 64)
    pooled, weights = POOLINGS[kind](64)(frames)
    torch.testing.assert_close(pooled, frames.mean(dim=1), rtol=0, atol=1e-5)
    torch.testing.assert_close(weights, torch.full((3, 5), 0.2))


def test_the_transformer_alone_knows_the_order_of_frames():
    frames = torch.randn(2, 5, 64)
    for kind, knows in (("mean", False), ("attention", False), ("transformer", True)):
        pooling = POOLINGS[kind](64)
        for parameter in pooling.parameters():
            torch.nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
        forward, backward = (pooling(order)[0] for order in (frames, frames.flip(1)))
        assert torch.allclose(forward, backward, atol=1e-4) != knows


def test_positions_by_hand():
    rows = positions(2, 4, torch.zeros(1))
    assert rows[0].tolist() == [0, 1, 0, 1]
    assert rows[1].tolist() == pytest.approx([math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)])


def test_stepwise_grades_are_products_of_steps():
    head = StepwiseHead(1, 3)
    with torch.no_grad():
        head.steps.weight.zero_()
        head.steps.bias.copy_(torch.tensor([math.log(3), 0.0]))  # steps of 3/4 and 1/2
    log_probabilities = head(torch.zeros(1, 1))
    assert log_probabilities.exp().tolist()[0] == pytest.approx([1 / 4, 3 / 4 * 1 / 2, 3 / 4 * 1 / 2])


@pytest.mark.parametrize("settings", [{"MODEL__QUALITY_HEAD": "corn"}, {"MODEL__QUALITY_VIEWS": True}])
def test_quality_answers_whatever_its_head(settings):
    _, model = tiny_model("quality", **settings)
    answers = model.eval()(tiny_clips(), ("quality",)).quality
    assert answers.logits.shape == (2, 3)
    assert all(0 <= score <= 1 for score in answers.score.tolist())
    model.restart_branch("quality")
    assert model.eval()(tiny_clips(), ("quality",)).quality.logits.shape == (2, 3)
