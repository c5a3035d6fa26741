"""The benchmark of the feature cache measures steps of both kinds."""

from __future__ import annotations

import re
import sys

import pytest
import torch

from echoviewclip.tools import benchmark_cache
from echoviewclip.utils.errors import exit_code


@pytest.mark.parametrize("stage", ["negation", "quality"])
def test_the_command_shows_each_part_of_a_step(monkeypatch, capsys, stage):
    small = ["DATA.INPUT_SIZE", "32", "DATA.NUM_FRAMES", "2", "TRAIN.BATCH_SIZE", "2", "MODEL.PRETRAINED", ""]
    command = ["benchmark_cache.py", "-cfg", f"configs/phantom/{stage}.yaml", "--steps", "2", "--opts", *small]
    monkeypatch.setattr(sys, "argv", command)
    threads = torch.get_num_threads()
    assert exit_code(benchmark_cache.main) == 0
    torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert re.search(rf"^stage {stage}, tiny, O1, batch 2, 2 frames of 32×32, one thread on ", said)
    for name in ("batch", "gradients", "update", "together"):
        assert re.search(rf"^{name} +[\d.]+ \([\d.]+\) +[\d.]+ \([\d.]+\) +[\d.]+$", said, re.MULTILINE)


def test_what_does_not_come_in_pairs_is_a_mistake(monkeypatch, capsys):
    command = ["benchmark_cache.py", "-cfg", "configs/phantom/negation.yaml", "--opts", "SEED"]
    monkeypatch.setattr(sys, "argv", command)
    assert exit_code(benchmark_cache.main) == 2
    assert "--steps must be at least 1, and --opts takes pairs of KEY VALUE" in capsys.readouterr().err
