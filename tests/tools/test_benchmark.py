"""The benchmark measures what it says."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from echoviewclip.tools import benchmark
from echoviewclip.utils.errors import exit_code


def test_the_video_is_a_sector_of_speckle_that_moves_and_is_always_the_same():
    video = benchmark.speckle(12, 96)
    assert video.shape == (12, 96, 96, 3) and video.dtype == np.uint8
    assert (video == benchmark.speckle(12, 96)).all()
    assert video[:, :3].max() == 0 and video[:, 60, 48].min() > 0
    changes = np.abs(np.diff(video[..., 0].astype(int), axis=0))[:, 40:80, 40:56].mean((1, 2))
    assert changes.min() > 1


def test_times_are_the_least_of_the_repeats_for_one_clip(monkeypatch):
    clock = iter([0, 0, 0.8, 1, 1.4, 2, 2.6, 3])  # three repeats of 800, 400 and 600 ms
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(benchmark.time, "process_time", lambda: 0.0)
    epochs = []
    assert benchmark.best(epochs.append, 3) == pytest.approx((400 / benchmark.CLIPS, 0))
    assert epochs == [0, *list(range(benchmark.CLIPS)) * 3]


def test_the_command_shows_every_step_of_both_forms(monkeypatch, capsys):
    measure = benchmark.benchmark_data
    monkeypatch.setattr(benchmark, "benchmark_data", lambda seconds: measure(seconds, side=64, length=20))
    monkeypatch.setattr(benchmark, "CLIPS", 1)
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "data", "--seconds", "0"])
    threads = torch.get_num_threads()
    assert exit_code(benchmark.main) == 0
    torch.set_num_threads(threads)
    steps = [line.rsplit(maxsplit=5) for line in capsys.readouterr().out.splitlines()[3:6]]
    assert [step[0] for step in steps] == ["codec alone", "frames as RGB", "whole worker path"]
    for _, *numbers, ratio in steps:
        wall, cpu, wall_prepared, cpu_prepared = (float(number.strip("()")) for number in numbers)
        assert min(wall, cpu, wall_prepared, cpu_prepared) > 0
        assert float(ratio) == pytest.approx(cpu / cpu_prepared, abs=0.3)


def test_mistakes_of_the_user(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "data", "--seconds", "-1"])
    assert exit_code(benchmark.main) == 2
    assert "--seconds must be at least 0, found -1.0" in capsys.readouterr().err


@pytest.mark.slow
def test_prepared_videos_are_at_least_eight_times_as_fast():
    recorded, prepared = benchmark.benchmark_data(3)
    assert recorded["whole worker path"][1] > 8 * prepared["whole worker path"][1]
