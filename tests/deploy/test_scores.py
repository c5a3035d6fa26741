"""The scores of an exported graph are those of the evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echoviewclip.deploy.scores import OF_ONE_PASS, DistanceScore
from echoviewclip.evaluation import ood
from echoviewclip.evaluation.feature_statistics import FeatureStatistics
from echoviewclip.inference.collect import ViewAnswers
from echoviewclip.utils.config.choices import FITTED_SCORES, SCORES

RANDOM = np.random.default_rng(0)


def answers(scale: float) -> ViewAnswers[torch.Tensor]:
    cosines = torch.from_numpy(RANDOM.uniform(-1, 1, (50, 7)).astype(np.float32))
    return ViewAnswers(None, torch.empty(0), cosines, scale * cosines, None)


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("name", OF_ONE_PASS)
def test_a_score_of_one_pass_is_that_of_the_evaluation(name, scale):
    positive, negative = answers(scale), answers(scale)
    arrays = (positive.logits.numpy(), negative.logits.numpy())
    expected = ood.scores(*arrays, cosines=positive.cosines.numpy())[name]
    np.testing.assert_allclose(OF_ONE_PASS[name](positive, negative), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("name", FITTED_SCORES)
def test_a_score_by_distance_is_that_of_the_evaluation(name, offset):
    features = RANDOM.normal(size=(80, 12)).astype(np.float32) + np.float32(offset)
    statistics = FeatureStatistics.fit(features, RANDOM.integers(0, 4, 80))
    asked = RANDOM.normal(size=(70, 12)).astype(np.float32) + np.float32(offset)
    expected = statistics.scores(asked)[name]
    np.testing.assert_allclose(DistanceScore(name, statistics)(torch.from_numpy(asked)), expected, rtol=1e-6)


def test_every_score_can_be_exported():
    assert {*OF_ONE_PASS, *FITTED_SCORES} == {*SCORES, *FITTED_SCORES}
