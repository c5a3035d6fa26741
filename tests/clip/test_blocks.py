"""Runs of blocks: stochastic depth of whole clips, and recomputation that changes nothing but memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from echoviewclip.clip.architectures import build_towers
from echoviewclip.clip.blocks import Blocks
from echoviewclip.clip.image import image_blocks
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError
from tests.tiny_data import assert_same, tiny, tiny_clips, tiny_model, train

CLIPS, FRAMES = 64, 3


class Seen(nn.Module):
    """Doubles its tokens and remembers of how many frames."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.frames: list[int] = []

    def forward(self, tokens, attn_mask=None):
        self.frames.append(len(tokens))
        return tokens * self.weight


def test_stochastic_depth_rises_linearly_over_the_blocks_that_can_be_left_out():
    visual = SimpleNamespace(transformer=SimpleNamespace(resblocks=[ResidualAttentionBlock(8, 1) for _ in range(4)]))
    assert image_blocks(visual, drop_path_rate=0.3).drop_path == pytest.approx([0, 0.1, 0.2, 0.3])
    pyramid = build_towers("tiny", 32, quick_gelu=True).visual
    assert image_blocks(pyramid, drop_path_rate=0.3).drop_path == pytest.approx([0, 0, 0, 0.3])


def test_stochastic_depth_leaves_whole_clips_out_and_does_not_compute_them():
    block, tokens = Seen(), torch.randn(CLIPS * FRAMES, 5, 8)
    blocks = Blocks([block], drop_path=[0.25]).train()
    dropped = blocks(tokens, clips=CLIPS)
    left_out = (dropped == tokens).unflatten(0, (CLIPS, FRAMES)).flatten(2).all(dim=2)
    assert torch.equal(left_out.any(dim=1), left_out.all(dim=1))  # all frames of a clip alike
    left_out = left_out.all(dim=1)
    assert 0 < left_out.sum() < 40
    assert block.frames == [FRAMES * int((~left_out).sum())]
    kept = (tokens + tokens / 0.75).unflatten(0, (CLIPS, FRAMES))  # so that the expectation stays
    torch.testing.assert_close(dropped.unflatten(0, (CLIPS, FRAMES))[~left_out], kept[~left_out])
    assert torch.equal(blocks.eval()(tokens, clips=CLIPS), 2 * tokens)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_block_that_no_clip_keeps_has_a_gradient_of_zero(recompute):
    blocks = image_blocks(
        SimpleNamespace(
            transformer=SimpleNamespace(resblocks=[ResidualAttentionBlock(8, 2), ResidualAttentionBlock(8, 2)])
        ),
        drop_path_rate=1 - 1e-9,
        recompute=recompute,
    ).train()
    tokens = torch.randn(4, 5, 8, requires_grad=True)
    blocks(tokens, clips=2).sum().backward()
    # Processes exchange gradients, so that none may be missing on one of them.
    assert all(p.grad is not None and not p.grad.any() for p in blocks.blocks[1].parameters())
    assert all(p.grad is not None for p in blocks.blocks[0].parameters())


def test_a_rate_at_which_nothing_is_left_is_refused(tiny_folder, tmp_path):
    with pytest.raises(UserError, match=r"^MODEL.DROP_PATH_RATE must be below 1, where nothing"):
        tiny(tiny_folder, tmp_path, MODEL__DROP_PATH_RATE=1)


def test_recomputing_activations_gives_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        config, model = tiny_model("view", TRAIN__USE_CHECKPOINT=recompute, MODEL__DROP_PATH_RATE=0.5)
        stage = build_stage(config)
        stage.prepare(model)
        stage.train_mode(model)
        torch.manual_seed(3)
        sum(stage.loss(model(tiny_clips(), stage.parts), torch.eye(4)[:2]).values()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert set(gradients[0]) == set(gradients[1])
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_recomputing_activations_changes_no_bit_of_a_run(tiny_folder, tmp_path):
    runs = [train(tiny(tiny_folder, tmp_path / str(again), TRAIN__USE_CHECKPOINT=again)) for again in (False, True)]
    plain, again = (load_checkpoint(run / "last.pth") for run in runs)
    assert_same(again["model"], plain["model"])  # with the running statistics of the batch norms
    assert plain["model"]["trunk.blocks.0.norm1.num_batches_tracked"] == plain["training"]["step"]
