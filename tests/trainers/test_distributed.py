"""Two processes (gloo, on the CPU) give what one gives: every video once, the same figures, the same training."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch

from echoviewclip.datasets.epoch_order import EpochSampler
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.distributed import barrier, from_main, gather, processes, rank, world
from echoviewclip.utils.errors import UserError
from tests.tiny_data import PLAIN, TRAINING, VALIDATION, configure, tiny_options, train, without_provenance


def two_processes(*arguments: object, program: Sequence[str] = ("main.py",)) -> subprocess.CompletedProcess:
    """A program under torchrun."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *program]
    # As many threads as this process has: sums come out alike, and metrics.json names the number.
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run([*start, *map(str, arguments)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_two_processes_evaluate_an_odd_list_as_one_does(tiny_runs, tmp_path):
    assert VALIDATION % 2 == 1
    run = tiny_runs["quality"]  # answers all three questions, and has two lists of outsiders, odd as well
    options = ["-cfg", run / "config.yaml", "--only_test", "--resume", run / "last.pth", "--output", tmp_path]
    two_processes(*options)
    test = tmp_path / "evaluation" / "quality_val"
    assert without_provenance(test / "metrics.json") == without_provenance(run / "metrics.json")
    with (test / "predictions.csv").open() as ours, (run / "predictions.csv").open() as theirs:
        rows, expected = list(csv.DictReader(ours)), list(csv.DictReader(theirs))
    assert [row["path"] for row in rows] == [row["path"] for row in expected]
    assert len({row["path"] for row in rows}) == len(rows) == VALIDATION + 6


def test_two_processes_train_as_one_does_on_twice_the_batch(tiny_runs, tiny_folder, tmp_path):
    # 8 videos: two processes' batches of 1 are one's batch of 2; groups of 3 batches and a last one of 1. In stage 2,
    # since the small tower's batch norms, which look at the whole batch, rest there.
    lines = (tiny_folder / "train.txt").read_text().splitlines()[:8]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    plain = PLAIN | {"DEVICE": "cpu", "TRAIN__ACCUMULATION_STEPS": 3, "TRAIN__EMA_DECAY": 0.9}
    plain |= {"DATA__TRAIN_FILE": str(tmp_path / "train.txt"), "TRAIN__OUTLIER_WEIGHT": 0.0}
    plain |= {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth")}
    one = configure("configs/phantom/negation.yaml", tiny_options(tiny_folder, tmp_path / "one", "negation", **plain))
    one = load_checkpoint(train(one, device="cpu") / "last.pth")
    options = tiny_options(tiny_folder, tmp_path / "two", "negation", **plain, TRAIN__BATCH_SIZE=1)
    two_processes("-cfg", "configs/phantom/negation.yaml", "--opts", *(word for pair in options for word in pair))
    two = load_checkpoint(tmp_path / "two" / "last.pth")
    assert one["training"]["step"] == two["training"]["step"] == 2
    for name, value in one["training"]["weights"].items():
        torch.testing.assert_close(two["training"]["weights"][name], value, rtol=0, atol=1e-5, msg=name)
        torch.testing.assert_close(two["model"][name], one["model"][name], rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("processes_", [1, 2, 4])
def test_the_shares_of_an_epoch_are_equally_long_and_leave_no_video_out(processes_):
    samplers = [EpochSampler(TRAINING, seed=1, rank=k, world=processes_) for k in range(processes_)]
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(samplers[0])} == {-(-TRAINING // processes_)}
    assert set().union(*shares) == set(range(TRAINING))
    assert sum(map(len, shares)) < TRAINING + processes_
    for sampler in samplers:
        sampler.epoch = 1
    assert [list(sampler) for sampler in samplers] != shares
    samplers[0].skip = 2
    rest = list(samplers[0])
    samplers[0].skip = 0
    assert rest == list(samplers[0])[2:]


def test_alone_there_is_one_process_and_nothing_to_wait_for():
    with processes("cpu", 60) as device:
        assert (device, rank(), world()) == (torch.device("cpu"), 0, 1)
        assert (gather("a"), from_main("a"), barrier()) == (["a"], "a", None)


def test_a_gpu_that_is_not_there_is_a_mistake(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError) as caught, processes("cuda", 60):
        pass
    assert str(caught.value) == "DEVICE is cuda, but no CUDA device is visible; set it to cpu or auto"
    with processes("auto", 60) as device:
        assert device == torch.device("cpu")


def test_more_processes_than_gpus_are_a_mistake(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UserError) as caught, processes("auto", 60):
        pass
    assert str(caught.value) == (
        "4 processes are asked for (GPUS), one a device, but 1 CUDA devices are visible; "
        "ask for fewer, or set DEVICE cpu"
    )
