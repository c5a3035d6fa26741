"""No more reading processes than cores, whatever DATA.NUM_WORKERS says."""

from __future__ import annotations

import os

import pytest

from echoviewclip.datasets import configured
from echoviewclip.datasets.configured import read_list, reading_processes, training_data
from echoviewclip.utils.cores import usable_cores
from tests.tiny_data import metrics, tiny, train


@pytest.mark.parametrize(
    ("wanted", "cores", "processes", "expected"),
    [(4, 8, 1, 4), (4, 2, 1, 2), (0, 2, 1, 0), (4, 8, 4, 2), (4, 2, 4, 1), (1, 1, 8, 1)],
)
def test_a_process_reads_with_its_share_of_the_cores(
    tiny_folder, tmp_path, monkeypatch, wanted, cores, processes, expected
):
    monkeypatch.setattr(configured, "usable_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    config = tiny(tiny_folder, tmp_path, DATA__NUM_WORKERS=wanted)
    assert reading_processes(config) == expected
    data = training_data(config, read_list(config, config.DATA.TRAIN_FILE))
    assert data.loader.num_workers == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to cores")
def test_cores_are_those_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert usable_cores() == len(before)


@pytest.mark.slow
def test_the_log_says_so_once_and_the_results_are_the_same(tiny_folder, tiny_runs, tmp_path, monkeypatch):
    monkeypatch.setattr(configured, "usable_cores", lambda: 1)
    resume = {"MODEL__RESUME": str(tiny_runs["view"] / "best.pth"), "TEST__ONLY_TEST": True}
    many, none = (train(tiny(tiny_folder, tmp_path / str(n), DATA__NUM_WORKERS=n, **resume)) for n in (64, 0))
    assert metrics(many)["metrics"] == metrics(none)["metrics"]
    line = "DATA.NUM_WORKERS 64 is above this process' share of the cores: 1 reading processes, same results"
    assert (many / "log.txt").read_text().count(line) == 1
    assert "NUM_WORKERS" not in (none / "log.txt").read_text()
