"""The model that grows: branches that start as copies, one checkpoint for three questions, what trains, what rests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from echoviewclip.clip.blocks import Blocks
from echoviewclip.clip.text import TextTower
from echoviewclip.clip.weights import load_towers
from echoviewclip.inference.resume import load_weights
from echoviewclip.models.build import build_model
from echoviewclip.models.quality import expected_score
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.errors import UserError
from tests.tiny_data import VIEWS, assert_same, configure, entries, tiny_clips, tiny_model, tiny_options

INTERMEDIATE = {"intermediates.1", "intermediates.2", "intermediates.3"}
BRANCH = ("features", "attention", "cosines", "logits")
ENTRIES = {
    "positive": {*(f"positive.{name}" for name in BRANCH), "texts.positive", *INTERMEDIATE},
    "negative": {*(f"negative.{name}" for name in BRANCH), "texts.positive", "texts.negative"},
    "quality": {"quality.logits", "quality.score", "quality.attention"},
}


def moved(model):
    """The model with weights that are not those it starts from."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model.eval()


def grown(stage: str, before, **changes):
    """The model of `stage` with the weights of the one before."""
    _, model = tiny_model(stage, **changes)
    load_weights(model, before.state_dict(), "before.pth")
    return model.eval()


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_the_negative_branch_starts_as_the_positive_one(variant):
    view = moved(tiny_model("view", MODEL__VARIANT=variant)[1])
    model = grown("negation", view, MODEL__VARIANT=variant)
    pairs = [(model.positive_text.tower, model.negative_text.tower), (model.positive.blocks, model.negative.blocks)]
    pairs += [(model.positive.pooling, model.negative.pooling), (model.positive.ln_post, model.negative.ln_post)]
    for positive, negative in pairs:
        for (name, ours), theirs in zip(positive.named_parameters(), negative.parameters(), strict=True):
            away = variant == "paper" and name == "text_projection"  # the negative text points the other way
            assert torch.equal(-ours if away else ours, theirs), name
            assert ours.data_ptr() != theirs.data_ptr()  # a copy of its own
    if variant == "paper":
        output = model(tiny_clips(), ("positive", "negative"))
        assert torch.equal(output.negative.features, output.positive.features)
        assert (output.texts.negative * output.texts.positive).sum(dim=-1).max() < 0


def test_the_quality_branch_starts_as_the_positive_one():
    model = grown("quality", grown("negation", moved(tiny_model("view")[1])))
    for name in ("blocks", "ln_post"):
        positive, quality = getattr(model.positive, name), getattr(model.quality, name)
        for ours, theirs in zip(positive.parameters(), quality.parameters(), strict=True):
            assert torch.equal(ours, theirs) and ours.data_ptr() != theirs.data_ptr()
    assert torch.equal(model.positive.projection, model.quality.projection)


def test_a_grown_model_answers_as_its_ancestors_did():
    clips = tiny_clips()
    view = moved(tiny_model("view")[1])
    negation = moved(grown("negation", view))
    quality = grown("quality", negation)
    assert (view.parts, negation.parts) == (("positive",), ("positive", "negative"))
    assert quality.parts == ("positive", "negative", "quality")
    answers, before = entries(quality(clips, quality.parts)), entries(negation(clips, negation.parts))
    assert set(answers) == set().union(*ENTRIES.values())
    for name, value in before.items():
        assert torch.equal(answers[name], value), name


def test_scores_by_distance_see_patches_and_no_prompts():
    prompts = {"PROMPT_MODEL": True, "N_CTX_VISION": 2, "PROMPT_DEPTH_VISION": 1}
    _, model = tiny_model("negation", **{f"TRAINER__ViFi_CLIP__{key}": value for key, value in prompts.items()})
    clips = tiny_clips(batch=2, frames=3)
    with torch.no_grad():
        output = model.eval()(clips, ("positive", "negative"))
        tokens = model.trunk(model.stem(clips.flatten(0, 1)))
        after = model.positive.blocks.blocks[0](tokens)
    assert tokens.shape[1] > 1 + 2 * 2 and after.shape[1] > 1 + 1  # prompts follow
    top_left, top_right, bottom_left, bottom_right = tokens.unflatten(0, (2, 3)).mean(dim=1)[:, 1:5].unbind(dim=1)
    quarters = torch.stack([top_left, top_right, bottom_left, bottom_right], dim=-1).flatten(1)
    torch.testing.assert_close(output.intermediates[2], quarters)
    torch.testing.assert_close(output.intermediates[3], after.unflatten(0, (2, 3)).mean(dim=1)[:, 1])


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_scores_by_distance_see_the_same_blocks_wherever_the_tower_is_split(shared):
    usual = tiny_model("negation")[1].eval()(tiny_clips(), ("positive",))
    answers = tiny_model("negation", MODEL__SHARED_BLOCKS=shared)[1].eval()(tiny_clips(), ("positive",))
    assert_same(answers.intermediates, usual.intermediates)


@pytest.mark.parametrize("depth, blocks", [(1, [1]), (2, [1, 2]), (4, [1, 2, 3]), (12, [1, 8, 9]), (24, [1, 16, 17])])
def test_scores_by_distance_see_the_first_block_and_those_at_two_thirds_of_the_depth(depth, blocks):
    model = tiny_model("view")[1].eval()
    model.trunk, rest = Blocks([nn.Identity()] * depth).split(depth // 2)
    model.positive.blocks = rest
    in_trunk, in_branch = model.intermediate_blocks
    assert [i + 1 for i in in_trunk] + [depth // 2 + i + 1 for i in in_branch] == blocks


def test_training_computes_no_intermediate_features():
    _, model = tiny_model("negation")
    answers = entries(model.train()(tiny_clips(), ("positive", "negative")))
    assert set(answers) == (ENTRIES["positive"] | ENTRIES["negative"]) - INTERMEDIATE


@pytest.mark.parametrize("part", ENTRIES)
def test_each_part_alone_gives_its_own_entries_and_their_shapes(part):
    _, model = tiny_model("quality")
    answers = entries(model.eval()(tiny_clips(batch=3, frames=5), (part,)))
    assert set(answers) == ENTRIES[part]
    branch = dict(zip(BRANCH, ([3, 128], [3, 5], [3, 4], [3, 4]), strict=True))
    shapes = {f"{side}.{name}": shape for side in ("positive", "negative") for name, shape in branch.items()}
    shapes |= {"texts.positive": [4, 128], "texts.negative": [4, 128]}
    shapes |= dict(zip(sorted(INTERMEDIATE), ([3, 4 * 64], [3, 4 * 128], [3, 256]), strict=True))
    shapes |= {"quality.logits": [3, 3], "quality.score": [3], "quality.attention": [3, 5]}
    assert {name: list(value.shape) for name, value in answers.items()} == {name: shapes[name] for name in answers}
    for name in answers:
        if "attention" in name:
            torch.testing.assert_close(answers[name].sum(dim=1), torch.ones(3))


def test_answers_under_autocast_are_float32_and_logits_keep_their_digits():
    _, model = tiny_model("quality")
    moved(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(tiny_clips(), model.parts)
    assert {value.dtype for value in entries(output).values()} == {torch.float32}
    positive, quality = output.positive, output.quality
    exact = positive.features.double() @ output.texts.positive.double().t()
    torch.testing.assert_close(positive.cosines.double(), exact, rtol=0, atol=1e-6)
    scale = model.logit_scale.exp()
    torch.testing.assert_close(positive.logits, scale * positive.cosines)
    exact = quality.logits.double().softmax(dim=-1) @ torch.tensor([0, 0.5, 1]).double()
    torch.testing.assert_close(quality.score.double(), exact, rtol=0, atol=1e-6)


def test_the_expected_score_stands_between_the_grades():
    probabilities = torch.tensor([[1.0, 1e-30, 1e-30], [0.25, 0.5, 0.25], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    torch.testing.assert_close(expected_score(probabilities.log()), torch.tensor([0, 0.5, 0.5, 0.75]))


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_wherever_the_tower_is_split_a_frame_has_open_clip_s_feature(shared):
    towers = load_towers("tiny", None, 32).eval()
    frames = tiny_clips()
    expected = towers.encode_image(frames.flatten(0, 1)).unflatten(0, (2, 2))
    config = configure("configs/phantom/view.yaml", tiny_options(Path(), Path(), MODEL__SHARED_BLOCKS=shared))
    model = build_model(config, VIEWS, towers).eval()
    assert len(model.trunk.blocks) == shared
    features = model.positive.frame_features(model.trunk(model.stem(frames.flatten(0, 1))), 2)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


def test_a_split_that_leaves_a_branch_nothing_is_refused():
    with pytest.raises(UserError) as caught:
        tiny_model("view", MODEL__SHARED_BLOCKS=4)
    assert str(caught.value) == (
        "MODEL.SHARED_BLOCKS 4: tiny has 4 blocks, of which each branch keeps at least one; set it to 0 … 3"
    )


TRAINED = {  # stage and USE: the parts of the model that train
    ("view", "both"): {"stem", "trunk", "positive", "positive_text", "logit_scale"},
    ("view", "image"): {"stem", "trunk", "positive"},
    ("view", "text"): {"positive_text"},
    ("negation", "no_text"): {"negative", "negative_text"},
    ("quality", "quality"): {"quality"},
}


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize(("stage", "use"), TRAINED)
def test_what_is_frozen_gets_no_gradient_and_rests_in_evaluation_mode(stage, use, variant):
    config, model = tiny_model(stage, MODEL__VARIANT=variant, TRAINER__ViFi_CLIP__USE=use)
    object_ = build_stage(config)
    object_.prepare(model)
    object_.train_mode(model)
    targets = object_.targets(torch.tensor([0, 1]), torch.tensor([0.0, 1.0]))
    sum(object_.loss(model(tiny_clips(), object_.parts), targets).values()).backward()
    with_gradient = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == TRAINED[stage, use]
    for name, module in model.named_modules():
        parameters = list(module.parameters())
        if parameters:
            rests = stage != "view" and isinstance(module, nn.BatchNorm2d)  # keeps the statistics of stage 1
            assert module.training == (any(p.requires_grad for p in parameters) and not rests), name


@pytest.mark.parametrize("stage", ["view", "negation"])
def test_fix_text_leaves_the_text_towers_alone(stage):
    config, model = tiny_model(stage, MODEL__FIX_TEXT=True)
    build_stage(config).prepare(model)
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == TRAINED[stage, "both" if stage == "view" else "no_text"] - {"positive_text", "negative_text"}


def test_the_published_negative_projection_and_tokens_stay_as_they_start():
    config, model = tiny_model("negation", MODEL__VARIANT="released")
    build_stage(config).prepare(model)
    frozen = {name for name, p in model.negative.named_parameters() if not p.requires_grad}
    assert frozen == {"class_embedding", "positional_embedding", "projection"}


def test_class_prompts_of_a_frozen_text_tower_are_encoded_once(monkeypatch):
    calls = []
    forward = TextTower.forward
    monkeypatch.setattr(TextTower, "forward", lambda self, *given: (calls.append(self), forward(self, *given))[1])
    config, model = tiny_model("negation")
    stage = build_stage(config)
    stage.prepare(model)
    stage.train_mode(model)
    frozen = model.encode_texts(stage.parts, frozen=True)
    assert frozen.negative is None  # it trains
    for _ in range(3):
        model(tiny_clips(), stage.parts, frozen)
    assert calls.count(model.positive_text.tower) == 1
    assert calls.count(model.negative_text.tower) == 3
    calls.clear()
    model.eval()
    with torch.no_grad():
        texts = model.encode_texts(model.parts)
        once, each = model(tiny_clips(), model.parts, texts), model(tiny_clips(), model.parts)
    assert_same(entries(once), entries(each))
    assert sorted(map(calls.count, {model.positive_text.tower, model.negative_text.tower})) == [2, 2]
