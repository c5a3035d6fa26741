"""The transformer block of our own against open_clip's with the same parameters."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from echoviewclip.clip.attention import AttentionBlock, own_block
from echoviewclip.clip.text import causal_mask


@pytest.fixture
def pair():
    """open_clip's block, and ours of the same parameters."""
    torch.manual_seed(0)
    theirs = ResidualAttentionBlock(64, 4)
    nn.init.normal_(theirs.attn.in_proj_bias, std=0.1)
    return theirs, AttentionBlock(theirs)


@pytest.mark.parametrize("masked", [False, True])
def test_it_answers_as_open_clip_s_block(pair, masked):
    theirs, ours = pair
    tokens = torch.randn(3, 7, 64)
    mask = causal_mask(7, tokens) if masked else None
    torch.testing.assert_close(ours(tokens, mask), theirs(tokens, attn_mask=mask), rtol=0, atol=2e-6)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens, mask), theirs(tokens, attn_mask=mask), rtol=0, atol=2e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_its_gradients_are_those_of_open_clip_s_block(pair, masked):
    theirs, ours = copy.deepcopy(pair[0]), AttentionBlock(pair[0])
    tokens = torch.randn(3, 7, 64)
    mask = causal_mask(7, tokens) if masked else None
    for block in (theirs, ours):
        block(tokens, attn_mask=mask).square().sum().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-4, msg=name)


def test_of_no_frames_every_gradient_is_zero(pair, monkeypatch):
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *_, **__: None)  # what a GPU's kernels give of none
    out = pair[1](torch.zeros(0, 7, 64))
    assert out.shape == (0, 7, 64)
    out.sum().backward()
    assert all(not parameter.grad.any() for parameter in pair[1].parameters())


def test_a_masked_token_sees_nothing_after_it(pair):
    tokens = torch.randn(1, 7, 64)
    changed = tokens.clone()
    changed[:, 4:] = 0
    mask = causal_mask(7, tokens)
    torch.testing.assert_close(pair[1](tokens, mask)[:, :4], pair[1](changed, mask)[:, :4], rtol=0, atol=1e-6)


def test_under_autocast_a_mask_of_float32_serves_half_precision(pair):
    theirs, ours = pair
    tokens = torch.randn(3, 7, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        half = ours(tokens, causal_mask(7, tokens))
    torch.testing.assert_close(half.float(), theirs(tokens, attn_mask=causal_mask(7, tokens)), rtol=0, atol=0.1)


def test_names_and_parameters_are_open_clip_s(pair):
    theirs, ours = pair
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(a is b for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_other_blocks_stay_as_they_are(pair):
    other = nn.Linear(2, 2)
    assert own_block(other) is other
    assert isinstance(own_block(pair[0]), AttentionBlock)
