"""Class prompts, fixed and learnable, and the learnable tokens of both towers' layers."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch

from echoviewclip.clip.image import ImageStem, image_blocks
from echoviewclip.clip.text import ClassPrompts, TextTower, fill, learnable_prompts, tokenize
from echoviewclip.inference.resume import load_weights
from echoviewclip.models.build import class_prompts
from echoviewclip.models.released import translate
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.errors import UserError
from tests.tiny_data import VIEWS, configure, tiny_clips, tiny_model, tiny_options

NAMES = ["Apical 4C 2D", "Subcostal", "A view with a very much longer name than the others have, for its end of text"]
PROMPTED = {
    "TRAINER__ViFi_CLIP__PROMPT_MODEL": True,
    "TRAINER__ViFi_CLIP__N_CTX_TEXT": 3,
    "TRAINER__ViFi_CLIP__PROMPT_DEPTH_TEXT": 2,
    "TRAINER__ViFi_CLIP__N_CTX_VISION": 5,
    "TRAINER__ViFi_CLIP__PROMPT_DEPTH_VISION": 4,
}


@pytest.fixture(scope="module")
def towers() -> open_clip.CLIP:
    """Small towers of the usual shape, with ln_pre."""
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 4, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3}
    return open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text).eval().requires_grad_(False)


def fixed_prompts(names: list[str], template: str, table: torch.nn.Embedding) -> ClassPrompts:
    return ClassPrompts(tokenize(fill(template, names)), table)


def at_length(prompts: ClassPrompts, towers, length: int) -> ClassPrompts:
    context = None if prompts.context is None else prompts.context.data
    return ClassPrompts(prompts.token_ids, towers.token_embedding, context, length)


@pytest.mark.parametrize("tokens", [0, 3, 8])
def test_prompts_up_to_the_longest_end_of_text_give_the_features_of_77_tokens(towers, tokens):
    table = towers.token_embedding
    prompts = learnable_prompts(NAMES, "", tokens, table) if tokens else fixed_prompts(NAMES, "a {view}", table)
    tower = TextTower(towers, prompts=tokens, prompt_depth=3).requires_grad_(False)
    whole = at_length(prompts, towers, 77)
    assert prompts().shape[1] < 40 and whole().shape[1] == 77
    features, expected = tower(prompts(), prompts.end), tower(whole(), whole.end)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


def test_features_of_fixed_prompts_are_open_clip_s(towers):
    prompts = fixed_prompts(NAMES, "This ultrasound video is an {view} view.", towers.token_embedding)
    features = TextTower(towers)(prompts(), prompts.end)
    torch.testing.assert_close(features, towers.encode_text(prompts.token_ids), rtol=0, atol=1e-5)


def test_templates_hold_the_name_or_precede_it():
    assert fill("an {view} view, {view}", ["X"]) == ["an X view, X"]
    assert fill("a photo of a", ["X"]) == ["a photo of a X."]


def test_up_to_four_tokens_start_from_the_words(towers):
    prompts = learnable_prompts(NAMES, "a photo of a", 4, towers.token_embedding)
    fixed = fixed_prompts(NAMES, "a photo of a", towers.token_embedding)
    assert torch.equal(prompts.token_ids, fixed.token_ids)
    assert torch.equal(prompts(), fixed())
    assert isinstance(prompts.context, torch.nn.Parameter) and prompts.context.shape == (4, 64)


def test_fewer_tokens_than_words_learn_the_first_of_them(towers):
    prompts = learnable_prompts(NAMES, "a photo of a", 2, towers.token_embedding)
    assert torch.equal(prompts(), fixed_prompts(NAMES, "a photo of a", towers.token_embedding)())
    assert prompts.context.shape == (2, 64)


def test_more_tokens_than_words_would_overwrite_the_names_and_are_refused(towers):
    with pytest.raises(UserError) as caught:
        learnable_prompts(NAMES, "a photo", 4, towers.token_embedding)
    assert str(caught.value) == (
        "TRAINER.ViFi_CLIP.N_CTX_TEXT is 4, but the words that it starts from ('a photo', CTX_INIT or CTX_INIT_NO) "
        "are 2 tokens; make them agree"
    )


def test_more_than_four_tokens_start_at_random_in_the_place_of_x(towers):
    torch.manual_seed(0)
    prompts = learnable_prompts(NAMES, "a photo of a", 16, towers.token_embedding)
    assert torch.equal(prompts.token_ids, tokenize([" ".join(["X"] * 16) + f" {name}." for name in NAMES]))
    assert prompts.context.std().item() == pytest.approx(0.02, rel=0.1)
    embeddings, plain = prompts(), at_length(prompts, towers, prompts().shape[1]).embeddings
    assert torch.equal(embeddings[:, 1:17], prompts.context.expand(3, -1, -1))
    assert torch.equal(embeddings[:, :1], plain[:, :1]) and torch.equal(embeddings[:, 17:], plain[:, 17:])


def test_underscores_become_spaces(towers):
    table = towers.token_embedding
    assert torch.equal(
        learnable_prompts(["Apical_4C"], "a_photo_of_a", 4, table).token_ids,
        learnable_prompts(["Apical 4C"], "a photo of a", 4, table).token_ids,
    )


def test_a_prompt_that_does_not_fit_is_named():
    with pytest.raises(UserError) as caught:
        tokenize(["short", "word " * 76])
    assert str(caught.value).startswith("label list: a prompt has more than 75 tokens; shorten: 'word word")


def through(blocks, run) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What each block of a tower is given, and what leaves it, while `run` runs."""
    given, left = [], []

    def keep(_, arguments, output):
        given.append(arguments[0].detach())
        left.append(output.detach())

    hooks = [block.register_forward_hook(keep) for block in blocks.blocks]
    run()
    for hook in hooks:
        hook.remove()
    return given, left


def test_text_tokens_are_replaced_anew_at_each_of_the_first_layers(towers):
    prompts = learnable_prompts(NAMES, "", 6, towers.token_embedding)
    tower = TextTower(towers, prompts=6, prompt_depth=2)
    assert list(tower.blocks.prompts) == ["1"]  # the first layer's are the prompts' own
    given, left = through(tower.blocks, lambda: tower(prompts(), prompts.end))
    assert torch.equal(given[1][:, 1:7], tower.blocks.prompts["1"].expand(3, -1, -1))
    assert torch.equal(given[1][:, 7:], left[0][:, 7:]) and torch.equal(given[1][:, :1], left[0][:, :1])
    assert torch.equal(given[2], left[1])  # beyond the depth nothing is replaced


def test_image_tokens_follow_the_patches_and_are_replaced_anew_at_each_of_the_first_layers(towers):
    stem = ImageStem(towers.visual, prompts=5)
    blocks = image_blocks(towers.visual, prompts=5, prompt_depth=3)
    assert list(blocks.prompts) == ["1", "2"]
    frames = tiny_clips()[0]
    tokens = stem(frames)
    plain = ImageStem(towers.visual)(frames)
    assert torch.equal(tokens[:, :-5], plain)
    torch.testing.assert_close(tokens[:, -5:], stem.ln_pre(stem.prompts).expand(2, -1, -1))  # and carry no position

    given, left = through(blocks, lambda: blocks(tokens))
    for layer in (1, 2):
        assert torch.equal(given[layer][:, -5:], blocks.prompts[str(layer)].expand(2, -1, -1))
        assert torch.equal(given[layer][:, :-5], left[layer - 1][:, :-5])
    assert torch.equal(given[3], left[2])


def test_prompts_of_layers_stay_with_their_layers_when_the_tower_is_split(towers):
    stem, blocks = ImageStem(towers.visual, prompts=5), image_blocks(towers.visual, prompts=5, prompt_depth=4)
    tokens = stem(tiny_clips()[0])
    first, second = blocks.split(2)
    assert (list(first.prompts), list(second.prompts)) == (["1"], ["0", "1"])
    assert torch.equal(second(first(tokens)), blocks(tokens))


@pytest.mark.parametrize("stage", ["view", "negation"])
def test_with_prompt_model_only_prompts_train(stage):
    config, model = tiny_model(stage, **PROMPTED)
    build_stage(config).prepare(model)
    side = "positive" if stage == "view" else "negative"
    text = {f"{side}_text.prompts.context", f"{side}_text.tower.blocks.prompts.1"}
    image = {"positive.blocks.prompts.0", "positive.blocks.prompts.1", "trunk.prompts.1", "stem.prompts"}
    expected = text | (image if stage == "view" else {"negative.blocks.prompts.0", "negative.blocks.prompts.1"})
    assert {name for name, p in model.named_parameters() if p.requires_grad} == expected


def test_published_names_of_prompts_load():
    config, model = tiny_model("view", MODEL__VARIANT="released", **PROMPTED)
    published = {
        "prompt_learner.ctx": "positive_text.prompts.context",
        "image_encoder.VPT": "stem.prompts",
        "image_encoder.transformer.resblocks.1.VPT_shallow": "trunk.prompts.1",
        "image_encoder.transformer.resblocks.2.VPT_shallow": "positive.blocks.prompts.0",
        "image_encoder.transformer.resblocks.3.VPT_shallow": "positive.blocks.prompts.1",
        "text_encoder.transformer.resblocks.1.VPT_shallow": "positive_text.tower.blocks.prompts.1",
    }
    state = model.state_dict()
    given = {key: torch.full_like(state[name], i) for i, (key, name) in enumerate(published.items())}
    given |= {"prompt_learner.token_prefix": torch.zeros(4, 1, 64)}  # rebuilt from the names
    given |= {name: value for name, value in state.items() if name not in published.values()}
    load_weights(model, translate(given, config.MODEL.SHARED_BLOCKS), "published.pth")
    for i, name in enumerate(published.values()):
        assert torch.equal(model.state_dict()[name], torch.full_like(state[name], i)), name


def ids(negative: bool = False, **changes):
    named = {f"TRAINER__ViFi_CLIP__{key}": value for key, value in changes.items()}
    config = configure("configs/phantom/view.yaml", tiny_options(Path(), Path(), **named))
    return class_prompts(config, VIEWS, torch.nn.Embedding(49408, 4), negative).token_ids


def test_the_paper_s_prompts():
    names = ["Apical 4C 2D", *VIEWS[1:]]  # the first name has an underscore
    assert torch.equal(ids(), tokenize([f"This ultrasound video is an {name} view." for name in names]))
    expected = tokenize([f"This ultrasound video does not show an {name} view." for name in names])
    assert torch.equal(ids(negative=True), expected)


def test_other_words_for_the_prompts():
    assert torch.equal(ids(CTX_INIT="an echo of")[1], tokenize([f"an echo of {VIEWS[1]}."])[0])
    assert torch.equal(ids(negative=True, CTX_INIT_NO="no {view} here")[1], tokenize([f"no {VIEWS[1]} here"])[0])


def test_zero_shot_reads_the_bare_names():
    assert torch.equal(ids(ZS_EVAL=True, PROMPT_MODEL=True), tokenize(VIEWS))
