"""Why a model decided: the rollout by hand, what the maps are of, and that nobody's answer changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from echoviewclip.clip.attention import AttentionBlock
from echoviewclip.clip.text import causal_mask
from echoviewclip.inference.explain import chosen_view, explain_clip, explainable, log_odds, scaled
from echoviewclip.inference.rollout import KeptAttention, roll_out
from echoviewclip.models.outputs import ClassTexts
from echoviewclip.predict import main, parse
from echoviewclip.utils.errors import UserError
from tests.inference.predicted import read
from tests.tiny_data import tiny_clips, tiny_model

PARTS = ("positive", "negative")


def test_two_blocks_roll_out_as_by_hand():
    """(∇A ⊙ A)⁺ of the first block [[.5, 0], [.5, 0]], of the second, the mean of two heads, [[0, 1], [.1, 0]]."""
    first = torch.tensor([[[[0.5, 0.5], [0.25, 0.75]]]])
    in_first = torch.tensor([[[[1.0, -1.0], [2.0, 0.0]]]])
    second = torch.tensor([[[[0.8, 0.2], [0.1, 0.9]], [[0.5, 0.5], [0.4, 0.6]]]])
    in_second = torch.tensor([[[[0.0, 5.0], [2.0, -1.0]], [[-1.0, 2.0], [0.0, 0.0]]]])
    # R = 1 + [[.5, 0], [.5, 0]]; then R + [[0, 1], [.1, 0]]·R = [[2, 1], [.65, 1]].
    expected = torch.tensor([[[1.0, 1.0], [0.65, 0.0]]])
    torch.testing.assert_close(roll_out([first, second], [in_first, in_second]), expected)


def test_tokens_that_were_replaced_hold_nothing_of_those_before():
    full = torch.full((1, 1, 3, 3), 1.0)
    rolled = roll_out([full, full], [full, full], [slice(0, 0), slice(-1, None)])
    # After the first block R = 1 + ones; its last row is forgotten; then R + ones·R, columns (3, 3, 3) summed.
    assert rolled.tolist() == [[[1 + 3, 1 + 3, 1 + 3], [1 + 3, 1 + 3, 1 + 3], [3.0, 3.0, 3.0]]]


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_kept_as_torch_s_own_gives_it(masked):
    torch.manual_seed(0)
    theirs = ResidualAttentionBlock(64, 4)
    nn.init.normal_(theirs.attn.in_proj_bias, std=0.1)
    ours, tokens = AttentionBlock(theirs), torch.randn(3, 7, 64)
    mask = causal_mask(7, tokens) if masked else None
    with torch.no_grad():
        plain, normed = ours(tokens, mask), theirs.ln_1(tokens)
        with KeptAttention() as attention:
            kept = ours(tokens, mask)
        _, expected = theirs.attn(normed, normed, normed, attn_mask=mask, average_attn_weights=False)
    torch.testing.assert_close(kept, plain, rtol=0, atol=2e-6)
    torch.testing.assert_close(attention.weights[0].detach(), expected, rtol=0, atol=2e-6)
    assert torch.equal(ours(tokens, mask).detach(), plain)  # afterwards as before


class Nudged(KeptAttention):
    """Attention whose first weights have a number added in one place."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def _attend(self, queries, keys, values, attn_mask=None):
        if self.weights:
            return super()._attend(queries, keys, values, attn_mask)
        super()._attend(queries, keys, values, attn_mask)
        weights = self.weights[0].detach().clone()
        weights[0, 1, 2, 3] += self.by
        return weights @ values


def test_gradients_are_those_of_the_weights_of_frozen_blocks():
    """Against the difference that a nudge of one weight of the first block makes after the second."""
    torch.manual_seed(0)
    blocks = nn.Sequential(*(AttentionBlock(ResidualAttentionBlock(16, 2)) for _ in range(2))).double()
    blocks.requires_grad_(False)
    tokens, wanted = torch.randn(1, 5, 16).double(), torch.randn(16).double()

    def answer(attention):
        with attention:
            return blocks(tokens)[0, 0] @ wanted

    attention = KeptAttention()
    found = torch.autograd.grad(answer(attention), attention.weights)[0][0, 1, 2, 3]
    assert found.item() == pytest.approx((answer(Nudged(1e-4)) - answer(Nudged(-1e-4))).item() / 2e-4, rel=1e-5)


def explained_model(arch="tiny", size=64, **changes):
    """A model of both branches whose attention counts, its class texts, and a clip of three frames."""
    _, model = tiny_model("negation", MODEL__ARCH=arch, DATA__INPUT_SIZE=size, **changes)
    for name, parameter in model.named_parameters():
        if "out_proj" in name or "c_proj" in name:
            nn.init.normal_(parameter, std=0.1)
    model.eval().requires_grad_(False)
    with torch.no_grad():
        return model, model.encode_texts(PARTS), tiny_clips(1, 3, size)[0]


def answers_of(model, texts, view):
    """What is explained of each branch, by its video feature."""
    return (
        (model.positive, lambda video: log_odds(model.logit_scale.exp() * texts.positive @ video, view)),
        (model.negative, lambda video: texts.negative[view] @ video),
    )


def in_one_graph(model, clip, branch, answer):
    """Attention weights of all blocks for all frames of a clip, and the gradients of the answer in them."""
    with torch.enable_grad(), KeptAttention() as attention:
        frames = branch.frame_features(model.trunk(model.stem(clip)), 1)
        value = answer(nn.functional.normalize(branch.pooling(frames)[0], dim=-1)[0])
    return [weights.detach() for weights in attention.weights], torch.autograd.grad(value, attention.weights)


def test_maps_of_the_small_tower_are_its_rollout_and_stand_where_its_tokens_do():
    """At 64 pixels a frame has 16×16 patches, and 2×2 tokens 8 patches apart."""
    model, texts, clip = explained_model()
    maps = explain_clip(model, clip, 2, texts)
    for found, (branch, answer) in zip(maps, answers_of(model, texts, 2), strict=True):
        (weights,), (gradient,) = in_one_graph(model, clip, branch, answer)
        tokens = (weights * gradient).clamp(min=0).mean(dim=1)[:, 1:].mean(dim=1)[:, 1:]
        assert found.shape == (3, 16, 16) and found.dtype == np.float32
        np.testing.assert_allclose(found[:, ::8, ::8], scaled(tokens.unflatten(1, (2, 2))).numpy(), atol=2e-3)
        np.testing.assert_allclose(found[:, 4, 0], found[:, [0, 8], 0].mean(axis=1), atol=1e-6)  # halfway
        assert (found[:, 8:, 8:] == found[:, 8:9, 8:9]).all()  # beyond the last token
        assert found.min() == 0 and found.max() == 1


def test_maps_of_a_vision_transformer_are_of_its_class_token():
    """Twelve blocks, four of them in the trunk, learnable tokens before the first three, 2×2 patches."""
    prompts = {"PROMPT_MODEL": True, "N_CTX_VISION": 2, "PROMPT_DEPTH_VISION": 3}
    prompts = {f"TRAINER__ViFi_CLIP__{name}": value for name, value in prompts.items()}
    model, texts, clip = explained_model("ViT-B/32", MODEL__SHARED_BLOCKS=4, **prompts)
    maps = explain_clip(model, clip, 1, texts)
    for found, (branch, answer) in zip(maps, answers_of(model, texts, 1), strict=True):
        weights, gradients = in_one_graph(model, clip, branch, answer)
        relevance = torch.eye(7).repeat(3, 1, 1)  # a class token, four patches, two learnable ones
        for block, (one, gradient) in enumerate(zip(weights, gradients, strict=True)):
            if block in (1, 2):
                relevance[:, 5:] = torch.eye(7)[5:]
            relevance = relevance + (one * gradient).clamp(min=0).mean(dim=1) @ relevance
        assert len(weights) == 12 and found.shape == (3, 2, 2)
        np.testing.assert_allclose(found, scaled(relevance[:, 0, 1:5].unflatten(1, (2, 2))).numpy(), atol=1e-3)


@pytest.mark.parametrize("way", ["recomputed", "compiled"])
def test_blocks_that_are_recomputed_or_compiled_are_explained_alike(way):
    model, texts, clip = explained_model()
    expected = explain_clip(model, clip, 0, texts)
    again, _, _ = explained_model(TRAIN__USE_CHECKPOINT=way == "recomputed")
    again.load_state_dict(model.state_dict())
    if way == "compiled":
        for block in (one for one in again.modules() if isinstance(one, AttentionBlock)):
            block.compile(backend="eager")
    for one, other in zip(explain_clip(again, clip, 0, texts), expected, strict=True):
        assert np.array_equal(one, other)
    assert [blocks.recompute for blocks in (again.trunk, again.positive.blocks)] == [way == "recomputed"] * 2


def test_half_precision_gives_nearly_the_same_maps():
    model, texts, clip = explained_model()
    expected = explain_clip(model, clip, 0, texts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = explain_clip(model, clip, 0, texts)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32 and np.abs(one - other).mean() < 0.1


def test_patches_that_were_left_out_of_the_answer_are_left_out_of_its_map():
    _, model = tiny_model("negation", MODEL__ARCH="ViT-tiny/16", DATA__INPUT_SIZE=64)
    model.eval()
    clip, lit = tiny_clips(1, 2, 64)[0], np.zeros((64, 64), bool)
    lit[20:50, 35:60] = True
    with torch.no_grad():
        texts = model.encode_texts(PARTS)
    kept = np.zeros((4, 4), bool)
    kept[1:, 2:] = True
    maps = explain_clip(model, clip, 1, texts, lit)
    changed = torch.where(torch.from_numpy(np.kron(kept, np.ones((16, 16), bool))), clip, 0)
    for one, other, whole in zip(
        maps, explain_clip(model, changed, 1, texts, lit), explain_clip(model, clip, 1, texts), strict=True
    ):
        assert not one[:, ~kept].any() and one[:, kept].any()
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
        assert not np.allclose(whole, one, atol=1e-2)
    everything = explain_clip(model, clip, 1, texts, np.ones_like(lit))
    assert all(map(np.array_equal, everything, explain_clip(model, clip, 1, texts)))


def test_where_nothing_counts_the_map_is_zero():
    """An attention block that adds nothing, as the small tower's begins; texts that say nothing."""
    _, model = tiny_model("negation", DATA__INPUT_SIZE=64)
    model.eval().requires_grad_(False)
    maps = explain_clip(model, tiny_clips(1, 3, 64)[0], 0, model.encode_texts(PARTS))
    assert all((one == 0).all() for one in maps)
    model, texts, clip = explained_model()
    maps = explain_clip(model, clip, 0, ClassTexts(*(torch.zeros_like(text) for text in texts)))
    assert all((one == 0).all() for one in maps)


def test_each_map_is_scaled_by_itself_and_never_nan():
    maps = torch.tensor([[[0.0, 2.0]], [[5.0, 9.0]], [[3.0, 3.0]], [[torch.nan, 1.0]], [[torch.inf, 0.0]]])
    assert scaled(maps).tolist() == [[[0, 1]], [[0, 1]], [[0, 0]], [[0, 0]], [[0, 0]]]


def test_log_odds_do_not_vanish_where_the_model_is_sure():
    logits = torch.tensor([200.0, 0.0, -5.0], requires_grad=True)
    assert logits.softmax(dim=0)[0] == 1
    (gradient,) = torch.autograd.grad(log_odds(logits, 0), logits)
    torch.testing.assert_close(gradient, torch.tensor([1.0, -0.9933, -0.0067]), atol=1e-4, rtol=0)
    assert log_odds(torch.tensor([3.0]), 0) == 3


def test_the_clip_of_the_most_attended_frame_is_explained_in_its_middle_crop():
    # Two clips of three crops and two frames; frame 7 is in both and has the most together, more of it in the second.
    frames = np.repeat([[3, 7], [7, 9]], 3, axis=0)
    weights = np.array([[0.1, 0.05]] * 3 + [[0.1, 0.08]] * 3)
    assert chosen_view(weights, frames, crops=3) == 4
    assert chosen_view(weights[::3], frames[::3], crops=1) == 1


@pytest.mark.parametrize("stage", ["view", "quality"])
def test_answers_are_the_same_with_and_without_an_explanation(runs, elsewhere, stage):
    words = [str(runs / "data" / "videos"), "--resume", str(runs / stage / "last.pth"), "--workers", "0"]
    words += ["--opts", "TEST.NUM_CLIP", "2", "TEST.NUM_CROP", "3"]
    tables = ("predictions.csv", "predictions.jsonl", "x.csv", "x.json")
    for way, more in (("plain", []), ("explained", ["--explain"])):
        assert main([*more, "--output", way, "--report", f"{way}/x.html", *words]) == 0
    for name in tables:
        assert (elsewhere / "plain" / name).read_bytes() == (elsewhere / "explained" / name).read_bytes()
    plain, explained = ((elsewhere / way / "x.html").read_text(encoding="utf-8") for way in ("plain", "explained"))
    videos = len(read("plain"))
    assert "spoke" not in plain and explained.count('id="for-') == videos
    assert explained.count('id="against-') == (videos if stage == "quality" else 0)


def test_what_cannot_be_explained_is_refused():
    with pytest.raises(UserError, match=r"--explain draws on the pictures of a report; add --report study.html"):
        parse(["study", "--resume", "x.pth", "--explain"])
    _, released = tiny_model("negation", MODEL__VARIANT="released")
    with pytest.raises(UserError, match=r"MODEL\.VARIANT released"):
        explainable(released)
    _, grades = tiny_model("quality", MODEL__VARIANT="released")
    with pytest.raises(UserError, match="this checkpoint names none"):
        explainable(grades)
