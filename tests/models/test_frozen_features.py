"""A model answers from the features of its frozen part as it does from the clips themselves."""

from __future__ import annotations

import pytest
import torch

from echoviewclip.models.outputs import FrozenFeatures
from echoviewclip.trainers.stages import build_stage
from tests.tiny_data import assert_same, entries, tiny_clips, tiny_model


@pytest.mark.parametrize(
    ("stage", "variant", "changes", "kept"),
    [
        ("negation", "paper", {}, ["tokens", "positive"]),
        ("negation", "paper", {"TRAIN__NEGATION_LOSS": "class", "TRAIN__OUTLIER_WEIGHT": 0.0}, ["tokens"]),
        ("negation", "released", {}, ["tokens", "positive"]),
        ("quality", "paper", {}, ["tokens", "positive", "negative"]),
        ("quality", "paper", {"MODEL__QUALITY_VIEWS": True}, ["tokens", "positive", "negative"]),
        ("quality", "released", {}, ["positive", "negative"]),
        ("view", "paper", {"TRAINER__ViFi_CLIP__USE": "text"}, ["positive"]),
        # Prompt tokens of text alone: no image branch trains.
        ("negation", "paper", {"TRAINER__ViFi_CLIP__PROMPT_MODEL": True}, ["positive", "negative"]),
    ],
)
def test_answers_and_gradients_are_those_of_the_clips(stage, variant, changes, kept):
    config, model = tiny_model(stage, MODEL__VARIANT=variant, **changes)
    made = build_stage(config)
    made.prepare(model)
    made.train_mode(model)
    features = model.encode_frozen(tiny_clips(), made.parts)
    assert [name for name, tensor in features._asdict().items() if tensor is not None] == kept
    assert features.clips == 2 and not any(tensor.requires_grad for tensor in features if tensor is not None)
    found = []
    for seen in (tiny_clips(), features):
        output = model(seen, made.parts)
        targets = torch.eye(3 if stage == "quality" else 4)[:2]
        sum(made.loss(output, targets).values()).backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found.append((entries(output), gradients))
        model.zero_grad()
    assert found[0][1].keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert_same(found[1], found[0])


def test_a_trunk_that_trains_has_no_frozen_features():
    config, model = tiny_model("view")
    build_stage(config).prepare(model)
    with pytest.raises(ValueError, match="the trunk or the positive branch trains"):
        model.encode_frozen(tiny_clips(), ("positive",))


def test_features_are_changed_where_there_are_any():
    doubled = FrozenFeatures(None, torch.ones(3, 2)).map(lambda tensor: 2 * tensor)
    assert doubled.tokens is None and torch.equal(doubled.positive, torch.full((3, 2), 2.0)) and doubled.clips == 3
