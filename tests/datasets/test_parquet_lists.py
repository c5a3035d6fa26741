"""Lists of videos as Parquet: the columns of CSV."""

from __future__ import annotations

import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake.asked import find_videos
from echoviewclip.utils.errors import UserError

arrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def write(tmp_path):
    def write_list(**columns):
        arrow.parquet.write_table(arrow.table(columns), tmp_path / "list.parquet")
        return tmp_path / "list.parquet"

    return write_list


def test_columns_in_any_order_and_others_left_alone(write):
    listed = read_annotations(
        write(
            patient=["P7", None, "P1"],
            comment=[b"x", b"y", b"z"],
            label=[3, None, 0],
            Path=["a b.avi", " ü.avi", "c.avi"],
            score=[0.25, None, 1.0],
        )
    )
    assert [listed.name(i) for i in range(3)] == ["a b.avi", "ü.avi", "c.avi"]
    assert listed.labels.tolist() == [3, -1, 0] and listed.patients.tolist() == [0, -1, 1]
    assert listed.scores.tolist() == [0.25, pytest.approx(float("nan"), nan_ok=True), 1.0]
    assert listed.lines.tolist() == [1, 2, 3]


def test_labels_are_names_ids_ids_with_gaps_and_several(write):
    names = {"label_names": ["Apical 4C", "Short Axis"]}
    assert read_annotations(write(path=["a", "b"], label=["short axis", "0"]), **names).labels.tolist() == [1, 0]
    assert read_annotations(write(path=["a", "b"], label=[1.0, float("nan")])).labels.tolist() == [1, -1]
    several = read_annotations(write(path=["a", "b"], label=[[0, 2], []]), target="multilabel", num_classes=3)
    assert several.labels.tolist() == [[1, 0, 1], [0, 0, 0]]


def test_rows_are_read_some_at_a_time(write, monkeypatch):
    monkeypatch.setattr("echoviewclip.utils.parquet.ROWS", 2)
    listed = read_annotations(write(path=[f"{k}.avi" for k in range(5)], label=list(range(5))))
    assert listed.labels.tolist() == [0, 1, 2, 3, 4] and listed.lines.tolist() == [1, 2, 3, 4, 5]


def test_predictions_take_such_a_list(write, tmp_path):
    assert find_videos([write(path=["a.avi", "b.avi"])]) == [str(tmp_path / "a.avi"), str(tmp_path / "b.avi")]


@pytest.mark.parametrize(
    ("columns", "target", "message"),
    [
        ({"file": ["a"]}, "class", "list.parquet: the columns lack path; they are 'file'"),
        ({"path": ["a"], "label": [1]}, "quality", "list.parquet: the columns lack quality; they are 'path,label'"),
        ({"path": ["a", None]}, "class", "list.parquet:2: no path"),
        ({"path": ["a"], "label": [1.5]}, "class", "list.parquet:1: "),
        ({"path": ["a"], "label": [{"id": 3}]}, "class", "list.parquet:1: `path`, `label` are texts, numbers or lists"),
    ],
)
def test_faults_are_named_with_their_row(write, columns, target, message):
    with pytest.raises(UserError) as error:
        read_annotations(write(**columns), target=target)
    assert message in str(error.value)


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "list.parquet").write_text("path,label\na.avi,1\n")
    with pytest.raises(UserError, match=r"list\.parquet: cannot be read as Parquet: it is damaged or another kind"):
        read_annotations(tmp_path / "list.parquet")
