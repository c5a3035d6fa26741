"""A short form of `tools/soak_inputs.py`: every kind of input, damaged, is read or refused in one short line."""

from __future__ import annotations

import itertools
import os
import random
import sys
from pathlib import Path

import pytest

from echoviewclip.tools import soak_inputs as command
from echoviewclip.utils.errors import exit_code
from tests import reading_child
from tests.fuzzing import Failure, Reader


def test_inputs_are_a_function_of_seed_and_number(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    both = (command.damaged_inputs(tmp_path / folder, seed=3) for folder in ("a", "b"))
    kinds = []
    for (kind, way, path), (_, _, again) in itertools.islice(zip(*both, strict=True), 36):
        kinds.append(kind)
        assert way in reading_child.WAYS
        if path.is_file():
            assert path.read_bytes() == again.read_bytes()
    assert len(set(kinds)) > 30


def test_undamaged_inputs_are_read(tmp_path, monkeypatch):
    """Else nothing that follows would mean anything."""
    monkeypatch.setattr(command, "damage", lambda content, draw, tokens: content)
    kinds = len({kind for kind, _, _ in itertools.islice(command.damaged_inputs(tmp_path, 0), 60)})
    monkeypatch.chdir(Path(__file__).parents[2])
    for kind, way, path in itertools.islice(command.damaged_inputs(tmp_path, 0), kinds):
        assert reading_child.read(str(path), way) is None, kind


def test_a_hundred_damaged_inputs_of_every_kind_are_read_or_refused():
    found = command.soak(count=100, seed=random.Random(4).randrange(100))
    assert found.failures == []
    assert found.read.total() + found.refused.total() == 100 and found.read.total() > 10 < found.refused.total()
    assert 0 < found.peak < 2048


@pytest.mark.parametrize("way", ["crash", "hang", "gigabytes", "traceback", "a page"])
def test_what_must_not_be_is_a_failure(tmp_path, monkeypatch, way):
    """The reading process is replaced by one that does what no reader may do."""
    script = tmp_path / "child.py"
    answers = {
        "crash": "import os; os.abort()",
        "hang": "import time; time.sleep(60)",
        "gigabytes": 'print(json.dumps({"error": None, "peak": 3000}), flush=True)',
        "traceback": "raise KeyError('x')",
        "a page": 'print(json.dumps({"error": path + ": no\\\\n" + "x" * 9000, "peak": 1}), flush=True)',
    }
    script.write_text(
        "import json, sys\n"
        "for number, line in enumerate(sys.stdin):\n"
        "    path = json.loads(line)['path']\n"
        '    if not number: print(json.dumps({"error": None, "peak": 1}), flush=True)\n'
        f"    else: {answers[way]}\n".replace("\\\\n", "\\n")
    )
    monkeypatch.setattr("tests.fuzzing.CHILD", [str(script)])
    monkeypatch.setattr("tests.fuzzing.MOST_SECONDS", 1)
    with Reader(tmp_path) as reader, pytest.raises(Failure, match=r"reading .*x\.avi"):
        reader(tmp_path / "x.avi")


def test_inputs_that_fail_are_kept_and_end_the_command_with_1(tmp_path, monkeypatch, capsys):
    def fails(self, path, way="video"):
        self.peak = 1
        if path.suffix == ".png":
            raise Failure("ended with -11")

    monkeypatch.setattr(Reader, "__call__", fails)
    monkeypatch.setattr(sys, "argv", ["soak_inputs.py", "--count", "30", "--keep", str(tmp_path / "kept")])
    assert exit_code(command.main) == 1
    assert "png: ended with -11" in capsys.readouterr().out
    assert [name.endswith("png.png") for name in os.listdir(tmp_path / "kept")] == [True]
