"""What predict.py has written, and checkpoints that say something else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from echoviewclip.utils.checkpoint import load_checkpoint, save_checkpoint

GRADES = ("very bad", "not good", "good")


def read(folder="output/predict"):
    """Rows of both files, which say the same."""
    lines = Path(folder, "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line) for line in lines]
    with Path(folder, "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [list(answer) for answer in answers]
    for row, answer in zip(rows, answers, strict=True):
        assert list(row.values()) == ["" if value is None else str(value) for value in answer.values()]
    return answers


def changed(checkpoint, target, **changes):
    """The checkpoint with other entries."""
    content = load_checkpoint(checkpoint)
    save_checkpoint(target, {name: value for name, value in (content | changes).items() if name != "format"})
    return str(target)


def assert_same(one, other):
    """Equal, but for the last digits of numbers."""
    for name, value in other.items():
        assert one[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value), name
    assert list(one) == list(other)


def column(answers, name):
    return [answer[name] for answer in answers]
