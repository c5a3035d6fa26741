"""predictions.parquet: the same as predictions.csv, for everything that reads either."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from echoviewclip.evaluation.compare import read_runs
from echoviewclip.evaluation.prediction_files import (
    check_can_be_saved,
    find_predictions,
    read_predictions,
    save_predictions,
    write_predictions,
)
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.report import write_report
from echoviewclip.tools import cardiobench
from echoviewclip.utils import parquet
from echoviewclip.utils.errors import UserError
from tests.synthetic_run import make_predictions, make_run

arrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")


def assert_equal(one: Predictions, other: Predictions) -> None:
    ours, theirs = arrays_of(one), arrays_of(other)
    assert list(ours) == list(theirs)
    for name, values in ours.items():
        np.testing.assert_array_equal(theirs[name], values, err_msg=name)
        assert theirs[name].dtype == values.dtype or values.dtype.kind == "U"


def arrays_of(p: Predictions) -> dict[str, np.ndarray]:
    """Every array, those of a dict by both names."""
    found = {}
    for name, values in vars(p).items():
        found |= (
            {f"{name} {key}": array for key, array in values.items()} if isinstance(values, dict) else {name: values}
        )
    return found


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_has_a_name_of_its_own_survives_the_file(tmp_path, kind):
    named = {"groups": {"site": ["North, <b>", ""]}, "defects": {"low_gain": [0.1, np.nan]}}
    p = Predictions(path=["a", "b"], **named, defect_targets={"low_gain": [np.nan, 0.25]})
    write_predictions(tmp_path / f"p.{kind}", p)
    assert_equal(p, read_predictions(tmp_path / f"p.{kind}"))


def test_every_number_survives_the_file(tmp_path):
    p = make_predictions()
    write_predictions(tmp_path / "p.parquet", p)
    assert_equal(p, read_predictions(tmp_path / "p.parquet"))


def test_many_videos_are_written_some_at_a_time(tmp_path, monkeypatch):
    p = make_predictions()
    monkeypatch.setattr("echoviewclip.evaluation.prediction_files.ROWS", 100)
    write_predictions(tmp_path / "p.parquet", p)
    assert arrow.parquet.ParquetFile(tmp_path / "p.parquet").num_row_groups == 4  # of 360 videos
    assert_equal(p, read_predictions(tmp_path / "p.parquet"))


def test_an_evaluation_of_nothing_survives_the_file(tmp_path):
    write_predictions(tmp_path / "p.parquet", make_predictions().where(np.zeros(360, bool)))
    assert len(read_predictions(tmp_path / "p.parquet")) == 0


def test_other_programs_find_numbers_and_nulls(tmp_path):
    p = Predictions(path=["a", "b"], label=[3, -1], probabilities=[[0.25, 0.75], [np.nan, np.nan]], frames=[[4, 9]] * 2)
    write_predictions(tmp_path / "p.parquet", p)
    assert arrow.parquet.read_table(tmp_path / "p.parquet").to_pylist() == [
        {"path": "a", "patient": None, "set": "in", "label": 3, "prediction": 1, "probability": 0.75, "failed": False}
        | {"p_0": 0.25, "p_1": 0.75, "frames": [4, 9]},
        {"path": "b", "patient": None, "set": "in", "label": None, "prediction": None, "probability": None}
        | {"failed": False, "p_0": None, "p_1": None, "frames": [4, 9]},
    ]


@pytest.mark.parametrize(("above", "name"), [(360, "predictions.csv"), (359, "predictions.parquet")])
def test_the_number_of_videos_decides_and_one_file_is_there(tmp_path, above, name):
    p = make_predictions()
    for earlier in ("predictions.csv", "predictions.parquet"):
        (tmp_path / earlier).write_text("of an earlier evaluation")
    save_predictions(tmp_path, p, above)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert find_predictions(tmp_path) == tmp_path / name
    assert_equal(p, read_predictions(tmp_path))


def test_reports_comparisons_and_exports_are_those_of_the_csv_file(tmp_path):
    text, binary = (make_run(tmp_path / name / "run") for name in ("csv", "parquet"))
    save_predictions(binary, read_predictions(text), 0)
    assert not (binary / "predictions.csv").exists()
    assert write_report(binary).read_text() == write_report(text).read_text()
    (map_file := tmp_path / "map.csv").write_text(
        "name,cardiobench\n" + "".join(f"{view},Other\n" for view in read_runs([text, binary])[0].summary.classes)
    )
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for run, file in zip((text, binary), files, strict=True):
        cardiobench.export(run, "camus", file, map_file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_report_is_made_of_what_is_in_memory(tmp_path):
    run = make_run(tmp_path / "run")
    page, p = write_report(run).read_text(), read_predictions(run)
    (run / "predictions.csv").write_text("damaged")
    assert write_report(run, predictions=p).read_text() == page


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"label": [3]}, "p.parquet: has no column 'path'; evaluate again (main.py --only_test)"),
        ({"path": ["a"], "label": ["one"]}, "p.parquet: column label: holds string; evaluate again"),
        ({"path": ["a"], "set": ["outer"]}, "set must be one of in, near, far, ood, got outer; evaluate again"),
        ({"path": ["a", "b"], "attention": [[0.5], [0.5, 0.5, 1.0]]}, "evaluate again"),
        ({"path": ["a"], "attention": [0.5]}, "p.parquet: column attention: rows of unequal length, or none"),
    ],
)
def test_a_file_of_something_else_is_named_with_its_column(tmp_path, table, message):
    arrow.parquet.write_table(arrow.table(table), tmp_path / "p.parquet")
    with pytest.raises(UserError) as error:
        read_predictions(tmp_path / "p.parquet")
    assert message in str(error.value)


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-20], lambda content: b"path\na\n"])
def test_a_damaged_file_is_named(tmp_path, damage):
    write_predictions(tmp_path / "p.parquet", make_predictions())
    (tmp_path / "p.parquet").write_bytes(damage((tmp_path / "p.parquet").read_bytes()))
    with pytest.raises(UserError, match=r"p\.parquet: cannot be read as Parquet: it is damaged or another kind of"):
        read_predictions(tmp_path / "p.parquet")


def test_without_pyarrow_the_message_says_what_to_install_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError) as error:
        check_can_be_saved("run", videos=101, parquet_above=100)
    assert str(error.value) == (
        "run/predictions.parquet: Parquet needs pyarrow, which is not installed: pip install pyarrow; or set "
        "TEST.PARQUET_ABOVE to 101 for a CSV file"
    )
    check_can_be_saved("run", videos=100, parquet_above=100)
    with pytest.raises(UserError, match="pip install pyarrow"):
        parquet.import_arrow(tmp_path / "list.parquet")
