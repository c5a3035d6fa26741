"""Half precision (O2) changes nothing for good: what is saved is float32, and what is frozen stays to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echoviewclip.inference.precision import Precision, halve
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.checkpoint import load_checkpoint
from tests.tiny_data import TRAINING, assert_same, tiny, tiny_model, train

CPU = torch.device("cpu")


@pytest.mark.parametrize("decay", [0.0, 0.9])
@pytest.mark.parametrize(("stage", "earlier"), [("negation", "view"), ("quality", "negation")])
def test_half_precision_leaves_what_is_frozen_as_it_came(tiny_folder, tiny_runs, tmp_path, stage, earlier, decay):
    resume = tiny_runs[earlier] / "last.pth"
    options = {"MODEL__RESUME": str(resume), "TRAIN__OPT_LEVEL": "O2", "TRAIN__EMA_DECAY": decay}
    options |= {"TRAIN__BATCH_SIZE": TRAINING}  # one step, as processors without instructions for it are slow
    content = load_checkpoint(train(tiny(tiny_folder, tmp_path, stage, **options)) / "last.pth")
    before = load_checkpoint(resume)["model"]
    assert "logit_scale" in before and "positive_text.prompts.embeddings" in before
    for weights in (content["model"], content["training"].get("weights", content["model"])):
        assert_same({name: weights[name] for name in before}, before)


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("stage", ["view", "negation", "quality"])
def test_weights_of_half_models_are_those_that_came_and_load_again(stage, variant):
    config, model = tiny_model(stage, MODEL__VARIANT=variant)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    build_stage(config).prepare(model)
    precision = Precision("O2", model, CPU)
    assert model.stem.conv1[0].weight.dtype == torch.bfloat16
    assert_same(precision.weights(model), before)
    others = {name: value + 0.001 if value.is_floating_point() else value for name, value in before.items()}
    precision.load(model, others)
    assert_same(precision.weights(model), others)


def test_half_models_keep_statistics_and_scalars_in_float32():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.LayerNorm(2))
    model.scale = nn.Parameter(torch.tensor(2.4265))
    model.register_buffer("table", torch.full((2,), 1.001))
    halve(model, torch.bfloat16)
    kinds = {name: value.dtype for name, value in model.state_dict().items() if value.is_floating_point()}
    assert {name for name, kind in kinds.items() if kind == torch.bfloat16} == {
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    }
    assert set(kinds.values()) == {torch.bfloat16, torch.float32}


@pytest.mark.usefixtures("bfloat16")
def test_the_statistics_of_half_models_are_those_of_float32(tiny_folder, tmp_path):
    # Of the first layer, which sees the same pictures whatever the weights: at a rate of 0 nothing else moves.
    name = "stem.conv1.1.running_mean"
    options = {"TRAIN__LR": 0.0, "TRAIN__WEIGHT_DECAY": 0.0}
    found = {
        level: load_checkpoint(
            train(tiny(tiny_folder, tmp_path / level, TRAIN__OPT_LEVEL=level, **options)) / "last.pth"
        )
        for level in ("O1", "O2")
    }
    torch.testing.assert_close(found["O2"]["model"][name], found["O1"]["model"][name], rtol=1e-6, atol=1e-7)
