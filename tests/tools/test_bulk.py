"""A bulk prediction that is killed: what is checked of it, and the whole in small."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from echoviewclip.tools import bulk
from echoviewclip.tools.benchmarks.killed_prediction import Life, Run, draw_kills, find_faults
from echoviewclip.tools.benchmarks.memory_over_time import OTHER, PROGRAM, Sample, growth, held_by_role
from echoviewclip.utils.errors import UserError

FILES = ["a.avi", "b.avi", "c.avi"]
ROWS = [{"file": file, "view": "A4C", "probability": 0.1 * place} for place, file in enumerate(FILES)]


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        (ROWS, []),
        (ROWS[:2], ["1 rows missing: c.avi"]),
        ([*ROWS, ROWS[0]], ["1 rows there more than once: a.avi"]),
        ([*ROWS[:2], ROWS[1]], ["1 rows missing: c.avi", "1 rows there more than once: b.avi"]),
        ([*ROWS, {"file": "d.avi"}], ["1 rows of files that are not in the list: d.avi"]),
        ([*ROWS[:2], ROWS[2] | {"probability": 0.2000001}], ["1 rows not as undisturbed: c.avi"]),
        ([ROWS[1], ROWS[0], ROWS[2]], ["the rows are not in the order of the list"]),
    ],
)
def test_each_fault_of_the_rows_is_found(found, faults):
    assert find_faults(FILES, ROWS, found) == faults


def test_kills_are_those_of_the_seed_and_of_both_kinds():
    kills = draw_kills(10, seed=3)
    assert kills == draw_kills(10, seed=3) != draw_kills(10, seed=4)
    assert sorted(kills) == kills and {number for _, number in kills} == {signal.SIGKILL, signal.SIGTERM}
    assert draw_kills(0, seed=3) == []


def test_memory_is_summed_up_by_role_and_its_growth_is_of_the_second_half():
    seconds = np.arange(61.0)
    held = np.where(seconds < 30, 10 * seconds, 300 + 2 * (seconds - 30))
    assert growth(seconds, held) == pytest.approx(120)
    samples = [Sample(now, 1, PROGRAM, int(bytes_)) for now, bytes_ in zip(seconds, held, strict=True)]
    samples += [Sample(now, process, OTHER, 5 * process) for now in seconds for process in (2, 3)]
    program, other = held_by_role(samples)
    assert (program.role, program.processes, program.peak) == (PROGRAM, 1, 360)
    assert (other.role, other.processes, other.peak) == (OTHER, 2, 15) and other.growth == pytest.approx(0, abs=1e-9)


def test_starts_are_no_work():
    run = Run([Life(0, 4, 10, "SIGKILL"), Life(10, None, 12, "SIGTERM"), Life(12, 15, 20)])
    assert (run.seconds, run.worked) == (20, 11)


@pytest.mark.parametrize("arguments", [["--rows", "0"], ["--part-size", "0"], ["--kills", "-1"]])
def test_numbers_out_of_bounds_are_refused(arguments):
    with pytest.raises(UserError, match=f"{arguments[0]} must be at least"):
        bulk.parse(arguments)


@pytest.mark.slow
def test_a_killed_prediction_has_every_row_once(tmp_path, capsys):
    files = ["--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png")]
    assert bulk.main(["--rows", "120", "--part-size", "20", "--kills", "2", *files]) == 0
    assert "120 rows, each there once and as undisturbed" in capsys.readouterr().out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["faults"] == [] and len(found["runs"]["killed"]["kills"]) == 2
    assert found["runs"]["undisturbed"]["memory"][0]["peak"] > 10**8 and (tmp_path / "a.png").stat().st_size > 5000
