"""Stage quality knows the true views of lists that name them, and groups its figures by these."""

from __future__ import annotations

import json

import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.evaluation.prediction_files import read_predictions
from tests.tiny_data import VIEWS, metrics, tiny, train

GRADED = {"clip 9.avi": "Short Axis", "clip 10.avi": "2", "clip 11.avi": "", "clip 12.avi": "no such view"}


def write_list(folder, kind, column):
    file = folder / f"graded.{kind}"
    if kind == "csv":
        rows = [f"{name},{view},1" if column == "quality" else f"{name},{view},0.5" for name, view in GRADED.items()]
        file.write_text("\n".join([f"path,label,{column}", *rows]) + "\n")
    else:
        value = 1 if column == "quality" else 0.5
        file.write_text(json.dumps([{"filename": n, "label": v, column: value} for n, v in GRADED.items()]))
    return file


@pytest.mark.parametrize("kind", ["csv", "json"])
@pytest.mark.parametrize("column", ["quality", "score"])
def test_lists_of_grades_and_scores_name_views(tmp_path, kind, column):
    file = write_list(tmp_path, kind, column)
    found = read_annotations(file, label_names=["bad", "fair", "good"], view_names=VIEWS, target=column)
    assert found.views.tolist() == [2, 2, -1, -1]
    assert found.labels.tolist() == ([1] * 4 if column == "quality" else [-1] * 4)
    assert (read_annotations(file, target=column).views == -1).all()


@pytest.mark.parametrize("column", ["quality", "score"])
def test_quality_is_grouped_by_the_views_that_the_list_names(tiny_folder, tiny_runs, tmp_path, column):
    test = {"MODEL__RESUME": str(tiny_runs["quality"] / "last.pth"), "TEST__ONLY_TEST": True}
    test["DATA__QUALITY_TARGET"] = "grade" if column == "quality" else "score"
    test["DATA__VAL_FILE"] = str(write_list(tmp_path, "csv", column))
    run = train(tiny(tiny_folder, tmp_path / "run", "quality", **test))
    found = read_predictions(run / "predictions.csv")
    assert found.label.tolist() == [2, 2, -1, -1] and found.set.tolist() == ["in"] * 4
    expected = [2, 2, *found.prediction[2:].tolist()]
    support = {row["view"]: row["support"] for row in metrics(run)["per_view"]}
    assert support == {view: expected.count(view) for view in set(expected)}
    assert metrics(run)["metrics"]["top1"] == (found.prediction[:2] == 2).mean()
