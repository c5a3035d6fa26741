"""The released recipe trains as the published code does: three steps of each stage from the fixtures' weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from echoviewclip.inference.precision import Precision
from echoviewclip.models.outputs import NO_TEXTS, ModelOutput
from echoviewclip.models.quality import graded
from echoviewclip.trainers.optimiser import build_optimiser
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.config import load_config
from tests.models.test_parity import HERE, STAGE, fixture_weights, published_model, released_config

ANSWERS = {"view": ("positive",), "negation": ("positive", "negative"), "quality": ("quality",)}
ARRAYS = {"positive": "logits_after", "negative": "logits_no_after", "quality": "logits_after"}


def fixtures():
    """Ours, and those of PARITY_FIXTURES or its folder `train`."""
    more = os.environ.get("PARITY_FIXTURES")
    for folder in (HERE / "train", *([Path(more), Path(more, "train")] if more else [])):
        for manifest in sorted(folder.glob("train_*.json")):
            yield pytest.param(manifest, id=manifest.stem)


@pytest.mark.slow
@pytest.mark.parametrize("file", fixtures())
def test_three_steps_are_those_of_the_published_training(file: Path):
    weights = fixture_weights(file.parent)
    manifest, expected = weights.load(file.stem, file.parent)
    recipe, given = released_config(manifest), manifest["training"]
    changes = {"TRAIN.LR": given["lr"], "TRAIN.WEIGHT_DECAY": given["weight_decay"], "TRAIN.OPT_LEVEL": "O0"}
    recipe.defrost()
    recipe.merge_from_list([word for pair in changes.items() for word in pair])
    model, _, _ = published_model(recipe, manifest, weights)
    stage = build_stage(recipe)
    stage.prepare(model)
    stage.train_mode(model)
    precision = Precision("O0", model, torch.device("cpu"))
    optimiser = build_optimiser(precision.master.items(), recipe)
    for group in optimiser.param_groups:
        assert (list(group["betas"]), group["eps"], group["weight_decay"]) == (
            given["betas"],
            given["eps"],
            given["weight_decay"],
        )

    clips = torch.from_numpy(weights.inputs(manifest, recipe.DATA.NUM_FRAMES, recipe.DATA.INPUT_SIZE))
    labels = (7 * torch.arange(len(clips)) + 1) % len(manifest["classes"])
    targets = stage.targets(labels, torch.full((len(clips),), torch.nan))
    smooth, count = recipe.AUG.LABEL_SMOOTH, targets.shape[1]
    np.testing.assert_allclose(targets * (1 - smooth) + smooth / count, expected["targets"], atol=1e-6)
    losses, norms = [], []
    for _ in range(given["steps"]):
        loss = torch.stack(list(stage.loss(model(clips, stage.parts), targets).values())).sum()
        precision.backward(loss)
        norms.append(float(precision.step(optimiser, recipe.TRAIN.CLIP_GRAD).norm))
        losses.append(loss.item())
    np.testing.assert_allclose(losses, expected["losses"], rtol=1e-4)
    np.testing.assert_allclose(norms, expected["grad_norms"], rtol=2e-3)
    with torch.no_grad():
        output = model.eval()(clips, model.parts)
    for part in ANSWERS[STAGE[manifest["stage"]]]:
        logits = getattr(output, part).logits
        np.testing.assert_allclose(logits, expected[ARRAYS[part]], rtol=0, atol=2e-3, err_msg=part)


@pytest.mark.parametrize("file", ["train_stage1.yaml", "train_stage2.yaml", "train_qc.yaml"])
def test_the_released_recipe_decays_everything_and_has_no_ordinal_term(file):
    recipe = load_config(Path("configs/released") / file)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    decays = [group["weight_decay"] for group in build_optimiser(model.named_parameters(), recipe).param_groups]
    assert decays == [recipe.TRAIN.WEIGHT_DECAY] * 2
    plain = build_optimiser(model.named_parameters(), load_config("configs/ultracls/view.yaml")).param_groups
    assert [group["weight_decay"] for group in plain] == [recipe.TRAIN.WEIGHT_DECAY, 0.0]
    if recipe.STAGE == "quality":
        logits = torch.randn(2, recipe.DATA.NUM_QUALITIES)
        output = ModelOutput(None, None, graded(logits, torch.ones(2, 1)), NO_TEXTS, {})
        terms = build_stage(recipe).loss(output, torch.eye(recipe.DATA.NUM_QUALITIES)[:2])
        assert sum(terms.values()) == terms["quality"]
