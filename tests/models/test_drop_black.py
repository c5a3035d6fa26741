"""MODEL.DROP_BLACK in the model: what is left out is as if it were not there, whoever else is in the batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.errors import UserError
from tests.tiny_data import VIEWS, assert_same, entries, tiny_clips, tiny_model

SIZE, SIDE = 64, 4  # pixels and patches along a side
VIT = {"MODEL__ARCH": "ViT-tiny/16", "DATA__INPUT_SIZE": SIZE}
PROMPTS = {"TRAINER__ViFi_CLIP__PROMPT_MODEL": True, "TRAINER__ViFi_CLIP__PROMPT_DEPTH_VISION": 3}


def masks() -> tuple[np.ndarray, np.ndarray]:
    """Pixels that are lit in four clips, bool [4, S, S], and the patches they lie in [4, P]: the last is all black."""
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(SIDE * SIDE), (4, 1)), axis=1)
    patches = (orders < np.array([[3], [7], [13], [0]])).reshape(4, SIDE, SIDE)
    lit = np.zeros((4, SIZE, SIZE), bool)
    lit[:, 5::16, 15::16] = patches  # a pixel of each
    patches[3, 0, 0] = True  # the one that is always kept
    return lit, patches.reshape(4, -1)


def by_hand(block, tokens: torch.Tensor) -> torch.Tensor:
    """A transformer block on the tokens [L, D] of one frame."""
    attention, heads = block.attn, block.attn.heads
    joint = block.ln_1(tokens) @ attention.in_proj_weight.t() + attention.in_proj_bias
    queries, keys, values = (part.unflatten(-1, (heads, -1)).transpose(0, 1) for part in joint.chunk(3, dim=-1))
    weights = (queries @ keys.mT / math.sqrt(queries.shape[-1])).softmax(dim=-1)
    joined = (weights @ values).transpose(0, 1).flatten(1)
    tokens = tokens + joined @ attention.out_proj.weight.t() + attention.out_proj.bias
    return tokens + block.mlp(block.ln_2(tokens))


@torch.no_grad()
def test_attention_sees_the_patches_that_are_lit_and_no_others():
    _, model = tiny_model("view", **VIT)
    model.eval()
    clips, (lit, patches) = tiny_clips(4, 2, SIZE), masks()
    features, found = model._encode(clips, ("positive",), model.stem.packing(lit, 2))
    blocks = [*model.trunk.blocks, *model.positive.blocks.blocks]
    for clip, kept in enumerate(np.insert(patches, 0, True, axis=1)):
        after = [torch.zeros(2, kept.sum(), 128) for _ in blocks]
        for frame in range(2):
            tokens = model.stem(clips[clip, frame][None])[0, kept]
            for depth, block in enumerate(blocks):
                tokens = after[depth][frame] = by_hand(block, tokens)
        expected = model.positive.ln_post(after[-1][:, 0]) @ model.positive.projection
        torch.testing.assert_close(features.positive[clip], expected, rtol=1e-5, atol=1e-5)
        for depth, part in found.items():
            grid = torch.zeros(2, SIDE * SIDE, 128)
            grid[:, kept[1:]] = after[depth - 1][:, 1:]
            grid, there = (x.view(2, 2, 2, 2, 2, -1) for x in (grid, torch.from_numpy(kept[1:]).expand(2, -1)))
            means = grid.sum((2, 4)) / there.sum((2, 4)).clamp(min=1)  # INTERMEDIATE_SIZE allows two places a side
            torch.testing.assert_close(part[clip], means.movedim(-1, 1).mean(0).flatten(), rtol=1e-5, atol=1e-5)
    assert len(found) == 3


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, PROMPTS])
def test_a_clip_alone_is_answered_as_in_a_batch(changes):
    _, model = tiny_model("quality", **VIT, **changes)
    model.eval()
    clips, (lit, _) = tiny_clips(4, 2, SIZE), masks()
    together = entries(model(clips, model.parts, lit=lit))
    all_tokens = entries(model(clips, model.parts))
    assert not torch.allclose(together["positive.features"], all_tokens["positive.features"], atol=1e-3)
    for clip in range(4):
        alone = entries(model(clips[clip : clip + 1], model.parts, lit=lit[clip : clip + 1]))
        for name in alone.keys() - {"texts.positive", "texts.negative"}:
            torch.testing.assert_close(alone[name][0], together[name][clip], rtol=1e-5, atol=1e-5, msg=name)


@torch.no_grad()
def test_without_a_black_patch_nothing_changes():
    _, model = tiny_model("quality", **VIT)
    model.eval()
    clips, lit = tiny_clips(2, 2, SIZE), np.zeros((2, SIZE, SIZE), bool)
    lit[:, ::16, ::16] = True
    assert_same(entries(model(clips, model.parts, lit=lit)), entries(model(clips, model.parts)))


@torch.no_grad()
def test_frames_one_by_one_are_seen_as_in_their_clip():
    _, model = tiny_model("quality", **VIT)
    model.eval()
    clips, (lit, _) = tiny_clips(4, 2, SIZE), masks()
    output = model(clips, model.parts, lit=lit)
    for clip in range(4):
        frames = model.encode_frames(clips[clip], model.parts, lit[[clip, clip]])
        alone = entries(model.answer_from_frames(frames, model.parts, output.texts))
        for name, value in entries(output).items():
            if not name.startswith("texts"):
                torch.testing.assert_close(alone[name][0], value[clip], rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("stage", ["view", "negation", "quality"])
@pytest.mark.parametrize("changes", [{}, PROMPTS, {"MODEL__DROP_PATH_RATE": 0.5}, {"TRAIN__USE_CHECKPOINT": True}])
def test_a_step_of_each_stage_depends_on_the_lit_patches_alone(stage, changes):
    config, model = tiny_model(stage, **VIT, **changes)
    made = build_stage(config)
    made.prepare(model)
    made.train_mode(model)
    clips, (lit, patches) = tiny_clips(4, 2, SIZE).requires_grad_(), masks()
    torch.manual_seed(3)  # of stochastic depth
    targets = made.targets(torch.arange(4) % 3, torch.zeros(4))
    sum(made.loss(model(clips, made.parts, lit=lit), targets).values()).backward()
    trained = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(grad is None or grad.isfinite().all() for grad in trained)
    assert any(grad is not None and grad.any() for grad in trained)
    size = clips.grad.abs().sum(dim=(1, 2)).view(4, SIDE, 16, SIDE, 16).sum((2, 4)).flatten(1)
    assert torch.equal(size > 0, torch.from_numpy(patches))


@torch.no_grad()
def test_stochastic_depth_leaves_the_same_clips_out_whether_they_are_packed_or_not():
    """Clips of the same mask have equally many tokens and need no padding."""
    _, model = tiny_model("view", **VIT, MODEL__DROP_PATH_RATE=0.9)
    model.train()
    clips, (lit, _) = tiny_clips(4, 2, SIZE), masks()
    torch.manual_seed(0)
    ragged = model(clips, ("positive",), lit=lit).positive.features
    torch.manual_seed(0)
    alike = model(clips[[0] * 4], ("positive",), lit=lit[[0] * 4]).positive.features
    torch.testing.assert_close(ragged[0], alike[0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(alike, alike[:1].expand_as(alike), atol=1e-4)  # some left blocks out, others did not


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MODEL__ARCH": "tiny"}, "MODEL.ARCH tiny is a pyramid of convolutions"),
        ({**VIT, "MODEL__VARIANT": "released"}, "MODEL.VARIANT released answers as the published code does"),
        ({**VIT, "DATA__RESIZE": "device"}, "with DATA.RESIZE device it is not known in main memory"),
    ],
)
def test_where_it_cannot_be_the_reason_is_said(changes, words):
    with pytest.raises(UserError, match=f"MODEL.DROP_BLACK True: {words}"):
        tiny_model("view", MODEL__DROP_BLACK=True, **changes)


def test_the_small_vit_is_one():
    _, model = tiny_model("view", **VIT)
    assert len(model.trunk.blocks) + len(model.positive.blocks.blocks) == 4
    assert model(tiny_clips(1, 2, SIZE), ("positive",)).positive.logits.shape == (1, len(VIEWS))
