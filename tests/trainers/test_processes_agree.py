"""Two processes evaluate the model that is saved, to the bit, and leave the same steps out."""

from __future__ import annotations

import pytest
import torch

from echoviewclip.utils.checkpoint import load_checkpoint
from tests.tiny_data import assert_same, tiny_options
from tests.trainers.test_distributed import two_processes


def trained(tiny_folder, output, **changes):
    """A run of stage view, whose batch norms learn their statistics from each process' own videos."""
    changes |= {"TRAIN__OPT_LEVEL": "O0", "TRAIN__EMA_DECAY": 0.9, "TRAIN__EPOCHS": 2, "SAVE_FREQ": 1}
    words = [word for pair in tiny_options(tiny_folder, output, **changes) for word in pair]
    two_processes("-cfg", "configs/phantom/view.yaml", "--opts", *words, program=("-m", "tests.watched"))
    return output


def evaluated(output, epoch: int) -> list[dict]:
    """The state that each process evaluated after an epoch."""
    return [torch.load(output / f"evaluated_{epoch}_{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
def test_processes_evaluate_the_model_that_is_saved_and_leave_out_the_same_steps(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("BAD_STEPS", "1,2")  # the last two of epoch 0
    whole = trained(tiny_folder, tmp_path / "whole")
    for epoch in (0, 1):
        content = load_checkpoint(whole / f"ckpt_epoch_{epoch}.pth")
        assert all(value.isfinite().all() for value in content["model"].values())
        for state in evaluated(whole, epoch):
            assert_same(state, content["model"])
    assert content["training"]["bad_steps"] == (2, 0)
    assert (content["training"]["step"], content["training"]["average_steps"]) == (6, 4)
    resumed = trained(tiny_folder, tmp_path / "resumed", MODEL__RESUME=str(whole / "ckpt_epoch_0.pth"))
    for state in evaluated(resumed, 1):
        assert_same(state, content["model"])
