"""Every clip of an epoch weighs the same, in whatever batch or group it comes: gradients against sums by hand."""

from __future__ import annotations

import pytest
import torch

from echoviewclip.inference.precision import Precision
from tests.tiny_data import PLAIN, TRAINING, history, tiny, train


@pytest.fixture
def gradients(tiny_folder, tiny_runs, tmp_path, monkeypatch):
    """Trains an epoch at a rate of 0 in batches and groups of these sizes; returns each step's gradient, one vector."""
    step, found = Precision.step, []

    def noted(self, optimiser, clip):
        found.append(torch.cat([p.grad.flatten().double() for p in self.master.values()]))
        return step(self, optimiser, clip)

    monkeypatch.setattr(Precision, "step", noted)

    def run(batch: int, group: int) -> list[torch.Tensor]:
        found.clear()
        # In stage 2, where the small tower's batch norms, which look at the whole batch, rest.
        options = PLAIN | {"TRAIN__LR": 0.0, "TRAIN__OUTLIER_WEIGHT": 0.0, "TRAIN__WEIGHT_DECAY": 0.0}
        options |= {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth"), "DATA__OOD_FILE": ""}
        options |= {"TRAIN__BATCH_SIZE": batch, "TRAIN__ACCUMULATION_STEPS": group}
        train(tiny(tiny_folder, tmp_path / f"{batch} {group}", "negation", **options))
        return list(found)

    return run


def test_every_clip_of_an_epoch_weighs_the_same(gradients, tmp_path):
    each = gradients(1, 1)
    assert len(each) == TRAINING == 9

    def close(given, expected):
        assert (given - expected).norm() < 1e-4 * expected.norm()

    (whole,) = gradients(4, 3)  # batches of 4, 4 and 1 in one group
    close(whole, sum(each) / 9)
    first, second, last = gradients(4, 1)
    close(first, sum(each[:4]) / 4)
    close(second, sum(each[4:8]) / 4)
    close(last, each[8] / 4)  # not as if it were four clips
    first, last = gradients(2, 3)  # groups of 2 + 2 + 2 and 2 + 1
    close(first, sum(each[:6]) / 6)
    close(last, sum(each[6:]) / 6)
    (whole,) = gradients(4, 8)  # an epoch shorter than a group is a whole one
    close(whole, sum(each) / 9)


def test_losses_are_shown_as_means_over_clips(gradients, tmp_path):
    gradients(1, 1)
    each = [line["train"]["loss"] for line in history(tmp_path / "1 1") if "train" in line]
    gradients(4, 1)
    shown = [line["train"]["loss"] for line in history(tmp_path / "4 1") if "train" in line]
    assert shown == pytest.approx([sum(each[:4]) / 4, sum(each[4:8]) / 4, each[8]], rel=1e-4)
