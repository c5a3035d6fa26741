"""The scale of the logits: between 1 and 100 while it trains, free in the released variant."""

from __future__ import annotations

import math

import pytest
import torch

from echoviewclip.trainers.stages import ViewStage
from echoviewclip.utils.checkpoint import load_checkpoint
from tests.tiny_data import TRAINING, tiny, train

START = math.log(1 / 0.07)  # of a tower with random weights


@pytest.fixture
def scale(tiny_folder, tmp_path, monkeypatch):
    """Makes one step that wants the logits larger (sign 1) or smaller (−1), at a rate of 3; returns the scale saved."""

    def run(sign: int, **changes) -> float:
        def slope(self, output, targets):
            return {"slope": -sign * output.positive.logits.sum() / output.positive.cosines.detach().sum()}

        monkeypatch.setattr(ViewStage, "loss", slope)
        options = {"TRAIN__LR": 3.0, "TRAIN__BATCH_SIZE": TRAINING, "TRAIN__CLIP_GRAD": 0.0} | changes
        return float(
            load_checkpoint(train(tiny(tiny_folder, tmp_path, **options)) / "last.pth")["model"]["logit_scale"]
        )

    return run


@pytest.mark.parametrize("level", ["O0", "O2"])
@pytest.mark.parametrize(("sign", "expected"), [(1, float(torch.tensor(math.log(100)))), (-1, 0.0)])
def test_the_scale_of_the_logits_stays_between_1_and_100(scale, level, sign, expected):
    assert scale(sign, TRAIN__OPT_LEVEL=level) == expected


def test_the_published_training_leaves_the_scale_free(scale):
    assert scale(1, MODEL__VARIANT="released") == pytest.approx(START + 3, abs=1e-3)
