"""What the benchmark measures in processes of their own: memory, and how long one waits for a command."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from echoviewclip.tools.benchmarks import memory, rows, start
from echoviewclip.tools.benchmarks.cases import PLAIN, STAGES
from echoviewclip.utils.errors import UserError
from tests.tools.test_benchmark import CPU, SMALL


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own():
    held = memory.held(CPU)
    row = memory.in_process(SMALL, ("training step", "view", "O0"))
    assert (row.work, row.form, row.precision) == ("training step, view", "O0", "float32")
    assert 1e7 < row.loaded < row.peak and row.peak != held


def test_every_case_of_memory_differs_from_the_others(no_bfloat16):
    found = list(memory.cases(CPU))
    assert found == [
        *[("forward", "quality", form) for form in (PLAIN, "O0")],
        *[("training step", stage, form) for stage in STAGES for form in (PLAIN, "O0")],
    ]


@pytest.mark.slow
def test_a_process_that_fails_is_the_user_s_to_know():
    with pytest.raises(UserError, match="memory of forward, nothing, O0: the process failed"):
        memory.in_process(SMALL, ("forward", "nothing", "O0"))


@pytest.mark.slow
def test_lists_of_other_lengths_are_read_in_turns(capsys):
    found = rows.benchmark_rows((20, 60), clips=200)
    assert [one.rows for one in found] == [20, 60] and found[0].ratio == 1
    for one in found:
        assert 0 < one.low <= one.rate <= one.high and one.list_seconds > 0
        assert min(*one.first_bytes, *one.last_bytes) > 1e7
    rows.show(found, 200, "a processor")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]] == ["20", "60"]


def test_start_waits_for_a_sign_and_ends_what_gave_it(monkeypatch):
    script = "import time; print('epoch 1  batch 1/1', flush=True); time.sleep(600)"
    seconds, cpu = start.clock([sys.executable, "-c", script], start.FIRST_STEP)
    assert 0 < seconds < 600 and cpu > 0
    with pytest.raises(UserError, match="ended with code 3: too bad"):
        start.clock([sys.executable, "-c", "print('too bad'); raise SystemExit(3)"], "")
    with pytest.raises(UserError, match="ended with code 0"):
        start.clock([sys.executable, "-c", ""], start.FIRST_STEP)


@pytest.mark.slow
def test_start_runs_commands_that_work(tmp_path):
    start.write_data(tmp_path)
    for command, sign in (
        (start.training(tmp_path), ""),
        (start.prediction(tmp_path), ""),
        (start.training(tmp_path, "again"), start.FIRST_STEP),
    ):
        assert min(start.clock(command, sign)) > 0
    assert (tmp_path / "predict/predictions.csv").is_file()


def test_start_tells_median_least_and_most():
    row = start.summary("x", np.array([[3.0, 1.0], [1.0, 2.0], [8.0, 6.0]]))
    assert row == start.Started("x", 3, 1, 8, 2)
