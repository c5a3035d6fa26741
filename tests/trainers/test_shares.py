"""TRAIN.GLOBAL_BATCH: the batches of a step follow from the number of processes, and the log says them."""

from __future__ import annotations

import pytest
import torch

from echoviewclip.trainers.shares import accumulation_steps
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError
from tests.tiny_data import tiny, train


@pytest.mark.parametrize(("processes", "steps"), [(1, 12), (2, 6), (3, 4), (4, 3), (12, 1)])
def test_processes_times_videos_times_batches_make_the_step(processes, steps, tmp_path):
    config = tiny(tmp_path, tmp_path, TRAIN__GLOBAL_BATCH=24, TRAIN__BATCH_SIZE=2)
    assert accumulation_steps(config, processes) == steps


def test_batches_are_as_published_where_the_step_s_videos_are_not_given(tmp_path):
    config = tiny(tmp_path, tmp_path, TRAIN__ACCUMULATION_STEPS=5)
    assert [accumulation_steps(config, processes) for processes in (1, 4)] == [5, 5]


@pytest.mark.parametrize("total", [8, 20])
def test_what_does_not_divide_is_a_mistake_that_names_the_three_numbers(total, tmp_path):
    config = tiny(tmp_path, tmp_path, TRAIN__GLOBAL_BATCH=total, TRAIN__BATCH_SIZE=3)
    with pytest.raises(UserError) as caught:
        accumulation_steps(config, 4)
    assert str(caught.value) == (
        f"TRAIN.GLOBAL_BATCH {total} is no multiple of 4 processes × TRAIN.BATCH_SIZE 3 = 12 videos; "
        "change one of the three"
    )


def test_a_run_takes_steps_of_so_many_videos_and_says_how(tiny_folder, tmp_path):
    total = train(tiny(tiny_folder, tmp_path / "total", TRAIN__GLOBAL_BATCH=4))
    batches = train(tiny(tiny_folder, tmp_path / "batches", TRAIN__ACCUMULATION_STEPS=2))
    assert (
        "TRAIN.GLOBAL_BATCH 4: a step is of 1 process × 2 videos (TRAIN.BATCH_SIZE) × 2 batches\n"
        in (total / "log.txt").read_text()
    )
    given, expected = (load_checkpoint(run / "last.pth") for run in (total, batches))
    assert given["training"]["step"] == expected["training"]["step"] == 3
    for name, value in expected["model"].items():
        assert torch.equal(given["model"][name], value), name


def test_a_run_whose_step_does_not_divide_does_not_begin(tiny_folder, tmp_path):
    with pytest.raises(UserError, match=r"TRAIN\.GLOBAL_BATCH 3 is no multiple of 1 processes"):
        train(tiny(tiny_folder, tmp_path / "run", TRAIN__GLOBAL_BATCH=3))
    assert not (tmp_path / "run").exists()
