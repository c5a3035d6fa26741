"""The table that predict.py prints."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from echoviewclip.inference.answers import DRAWN, WIDTH, AnswerFiles, Counts, draw_table, write_answers
from echoviewclip.inference.prediction import Prediction, PredictionTable

ALL = tuple(field.name for field in fields(Prediction))
WITHOUT_DEFECTS = tuple(name for name in ALL if not name.startswith("defect"))  # of a model that names none


def written(rows: list[Prediction], *files: Path, columns: tuple[str, ...] = WITHOUT_DEFECTS) -> AnswerFiles:
    counts = Counts()
    for row in rows:
        counts.add(row)
    return AnswerFiles(list(files), counts, PredictionTable(columns, rows))


def test_table_is_word_for_word_this():
    answer = Prediction(
        file="a.avi",
        view="Apical 4C 2D",
        probability=0.987,
        second_view="Apical 2C 2D",
        second_probability=0.01,
        decision="accepted",
        score=0.98765,
        tau=0.9,
        score_name="negation",
        quality="good",
        quality_probability=0.7,
        quality_score=0.8,
        frame=12,
        warnings="the frame rate is not known",
        error=None,
    )
    broken = Prediction("longer name.avi", error="is empty")
    assert draw_table(written([answer, broken], Path("out/predictions.csv"))) == (
        "file             view          prob  decision   score  quality  value  frame\n"
        "a.avi            Apical 4C 2D  0.99  accepted  0.9877  good      0.80     12\n"
        "longer name.avi  is empty\n"
        "\n"
        "accepted where the score (negation) is at least τ = 0.9\n"
        "1 with a warning; what it is stands in the column `warnings`\n"
        "2 videos, 1 without an answer: out/predictions.csv"
    )


def test_the_table_of_a_model_that_knows_defects_names_them():
    low = Prediction(
        "a.avi", quality="not good", quality_score=0.25, defect="quality_gain", defect_probability=0.9, frame=3
    )
    fine = Prediction("b.avi", quality="good", quality_score=0.75, frame=10)
    columns = ("file", "quality", "quality_score", "defect", "defect_probability", "frame", "error")
    assert draw_table(written([low, fine], columns=columns)).splitlines()[:3] == [
        "file   quality   value  defect        frame",
        "a.avi  not good   0.25  quality_gain      3",
        "b.avi  good       0.75                   10",
    ]


def test_table_fits_its_width_with_the_longest_names():
    answer = Prediction(
        file=f"/archive/{'study/' * 40}0001.dcm",
        view="Parasternal Right Ventricular Outflow Tract RVOT PW",
        probability=0.5,
        decision="rejected",
        score=-123456.789,
        tau=1.0,
        score_name="mahalanobis",
        quality="not good",
        quality_score=0.5,
        frame=99999,
        warnings=None,
        error=None,
    )
    broken = Prediction(answer.file, error="cannot be read: " + "x" * 200)
    head, row, error = draw_table(written([answer, broken])).splitlines()[:3]
    assert len(row) == len(error) == WIDTH >= len(head)
    assert row.startswith("/archive/") and "…" in row and "0001.dcm  Parasternal" in row and "RVOT PW" in row


def test_of_many_videos_the_first_are_shown_and_all_are_written(tmp_path):
    rows = (Prediction(f"{k}.avi", view="Apical 4C 2D", error="is empty" if k == 250 else None) for k in range(300))
    done = write_answers(tmp_path, ("file", "view", "error"), rows)
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 301
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 300
    lines = draw_table(done).splitlines()
    assert lines[DRAWN].startswith("199.avi") and lines[DRAWN + 2] == "… and 100 more in the files below"
    assert lines[-1].startswith("300 videos, 1 without an answer: ")


def test_answers_as_parquet_are_those_of_the_other_files(tmp_path, monkeypatch):
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("echoviewclip.inference.answers.ROWS", 2)
    rows = [
        Prediction("a.avi", view="Apical 4C 2D", probability=0.1, frame=3, tau=None),
        Prediction("b\udcff.avi", error="is empty"),
        Prediction("c.avi", view="Short Axis", probability=1 / 3, frame=0),
    ]
    columns = ("file", "view", "probability", "frame", "error")
    write_answers(tmp_path, columns, rows)
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    done = write_answers(tmp_path, columns, iter(rows), parquet=True)
    assert done.files == list(tmp_path.iterdir()) == [tmp_path / "predictions.parquet"]
    lines[1]["file"] = r"b\udcff.avi"  # which JSON has as an escape sequence of its own
    assert arrow.parquet.read_table(done.files[0]).to_pylist() == lines
    assert (done.counts.videos, done.counts.unanswered, len(done.first)) == (3, 1, 3)
    write_answers(tmp_path, columns, rows)
    assert {file.name for file in tmp_path.iterdir()} == {"predictions.csv", "predictions.jsonl"}
