"""Who is an outsider: a video without a label, wherever it is listed; which kind of outsiders a list's name says."""

from __future__ import annotations

import pytest

from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.trainers.data import evaluation_sets, kind_of_outsiders
from echoviewclip.utils.checkpoint import load_checkpoint
from tests.tiny_data import VALIDATION, metrics, tiny, train


@pytest.fixture
def listed(tiny_folder, tmp_path):
    """Writes a list of the tiny folder's videos from another list and further lines; returns its path."""

    def write(start: str, *lines: str) -> str:
        file = tmp_path / f"with {start}"
        file.write_text((tiny_folder / start).read_text() + "".join(f"{line}\n" for line in lines))
        return str(file)

    return write


def test_videos_without_a_label_in_the_validation_list_are_outsiders(tiny_folder, tiny_runs, tmp_path, listed):
    outsiders = listed("val.txt", "near 0.avi", "near 1.avi -1")
    trained = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth"), "DATA__OOD_FILE": ""}
    together = train(tiny(tiny_folder, tmp_path / "together", "negation", **trained, DATA__VAL_FILE=outsiders))
    alone = train(tiny(tiny_folder, tmp_path / "alone", "negation", **trained))
    found = read_predictions(together / "predictions.csv")
    assert found.set.tolist() == ["in"] * VALIDATION + ["ood"] * 2
    counts = metrics(together)["counts"]
    assert (counts["in"], counts["ood"]) == (VALIDATION, 2)
    ours, theirs = (load_checkpoint(run / "last.pth")["calibration"] for run in (together, alone))
    assert (ours["temperature"], ours["tau"]) == pytest.approx((theirs["temperature"], theirs["tau"]))
    assert ours["list"] == theirs["list"]
    figures = metrics(together)["metrics"]
    assert figures["top1"] == metrics(alone)["metrics"]["top1"]
    assert "ood/negation/auroc" in figures and "near/negation/auroc" not in figures


@pytest.mark.parametrize("target", ["quality", "score"])
def test_a_graded_video_without_a_view_is_no_outsider(tiny_folder, tiny_runs, tmp_path, listed, target):
    test = {"MODEL__RESUME": str(tiny_runs["quality"] / "last.pth"), "TEST__ONLY_TEST": True}
    if target == "score":
        test["DATA__QUALITY_TARGET"] = "score"
    file = listed(f"{target}_val.txt", "near 0.avi")
    run = train(tiny(tiny_folder, tmp_path / "run", "quality", **test, DATA__VAL_FILE=file))
    assert read_predictions(run / "predictions.csv").set.tolist() == ["in"] * VALIDATION + ["ood"]
    assert metrics(run)["counts"]["ood"] == 1


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        *(("ood_near.txt", "near"), ("a/far.csv", "far"), ("Near-2.json", "near"), ("my far list.txt", "far")),
        *(("ood_linear.csv", "ood"), ("farm.txt", "ood"), ("near/other.txt", "ood"), ("nearby_far.txt", "far")),
    ],
)
def test_near_and_far_are_words_of_the_list_s_name(file, kind):
    assert kind_of_outsiders(file) == kind


def test_an_evaluation_takes_the_kind_from_the_name(tiny_folder, tmp_path):
    for name in ("ood_linear.csv", "ood-far.csv"):
        (tmp_path / name).write_text("path\nnear 0.avi\n")
    lists = f"{tmp_path}/ood_linear.csv,{tmp_path}/ood-far.csv"
    sets = evaluation_sets(tiny(tiny_folder, tmp_path / "run", DATA__OOD_FILE=lists))
    assert [part.kind for part in sets] == ["in", "ood", "far"]
