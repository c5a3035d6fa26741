"""Predictions as CardioBench reads them: names, sums of probabilities by hand, and what is refused."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from echoviewclip.evaluation.prediction_files import write_predictions
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.summary import summarise, write_metrics
from echoviewclip.tools import cardiobench
from echoviewclip.utils.errors import exit_code
from echoviewclip.utils.label_list import read_names

CLASSES = ["Apical 4C 2D", "A4C MCE", "Apical 2C 2D", "Suprasternal Notch"]
LOGITS = np.array([[2.0, 1.0, 2.5, -1.0], [0.0, 0.0, 0.5, 3.0], [0.0, 0.0, 0.0, 0.0]])


@pytest.fixture
def run(tmp_path) -> Path:
    """Three videos, the last of which could not be read."""
    probabilities = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    probabilities[2] = np.nan
    paths = ["videos/patient0001_4CH.avi", "videos/b.c.avi", "videos/lost.avi"]
    p = Predictions(paths, label=[0, 3, 1], failed=[False, False, True], probabilities=probabilities)
    folder = tmp_path / "run"
    folder.mkdir()
    write_predictions(folder / "predictions.csv", p)
    write_metrics(folder / "metrics.json", summarise(p, stage="view", classes=CLASSES, temperature=2.0, draws=0))
    return folder


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs the tool: exit code and what it said."""

    def called(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["cardiobench.py", *map(str, words)])
        code = exit_code(cardiobench.main)
        return code, "".join(capsys.readouterr())

    return called


@pytest.mark.parametrize(
    ("dataset", "column", "names"),
    [("camus", "unique_id", ["patient0001_4CH", "b.c"]), ("tmed2", "query_key", ["patient0001_4CH.avi", "b.c.avi"])],
)
def test_probabilities_are_sums_at_the_temperature_of_the_run(run, tmp_path, call, dataset, column, names):
    code, said = call(run, dataset, tmp_path / "out.csv")
    assert (code, said) == (0, f"{tmp_path / 'out.csv'}: 2 videos, 1 without an answer left out\n")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        column,
        "view_pred",
        *(f"prob_{v}" for v in ("A2C", "A3C", "A4C", "PSAX", "PLAX", "Other")),
    ]
    assert [row[column] for row in rows] == names
    # Two apical four-chamber views together outweigh the likeliest single one.
    assert [row["view_pred"] for row in rows] == ["A4C", "Other"]
    for row, logits in zip(rows, LOGITS, strict=False):
        scaled = np.exp(logits / 2) / np.exp(logits / 2).sum()
        expected = {"A2C": scaled[2], "A3C": 0, "A4C": scaled[0] + scaled[1], "PSAX": 0, "PLAX": 0, "Other": scaled[3]}
        for view, value in expected.items():
            assert float(row[f"prob_{view}"]) == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("labels", ["ultracls", "tmed2", "ev9v"])
def test_the_map_knows_every_view_of_our_lists(labels):
    names = read_names(f"labels/{labels}.csv")
    assert len(cardiobench.read_map(Path("labels/cardiobench.csv"), names)) == len(names)


def test_what_the_map_does_not_say_is_refused(run, tmp_path, call):
    (tmp_path / "map.csv").write_text("name,cardiobench\nApical 4C 2D,A4C\n")
    code, said = call(run, "camus", tmp_path / "out.csv", "--map", tmp_path / "map.csv")
    assert code == 2 and "does not say what 'A4C MCE' is" in said
    (tmp_path / "map.csv").write_text("name,cardiobench\nApical 4C 2D,4CH\n")
    code, said = call(run, "camus", tmp_path / "out.csv", "--map", tmp_path / "map.csv")
    assert code == 2 and "line 2: '4CH' is none of A2C" in said
    (tmp_path / "map.csv").write_text("a,b\n")
    assert call(run, "camus", tmp_path / "out.csv", "--map", tmp_path / "map.csv")[0] == 2
    assert not (tmp_path / "out.csv").exists()
