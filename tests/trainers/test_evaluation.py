"""Evaluation of whole runs: the figures of each stage, every video once, and the same to the digit when repeated."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from echoviewclip.evaluation import bootstrap
from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.utils.checkpoint import load_checkpoint, save_checkpoint
from echoviewclip.utils.config.choices import FITTED_SCORES
from echoviewclip.utils.errors import UserError
from tests.tiny_data import STAGES, TRAINING, VALIDATION, assert_same, configure, history, metrics, tiny, train

EXPECTED_FIGURES = {
    "view": ["top1", "top5", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1"],
    "negation": ["top1", "negative/top1", "negative/balanced_accuracy", "negative/macro_f1"]
    + [f"{kind}/negation/{figure}" for kind in ("near", "far", "ood") for figure in ("auroc", "fpr95")],
    "quality": [
        f"quality/{figure}" for figure in ("accuracy", "top2", "macro_f1", "quadratic_kappa", "mae", "spearman")
    ],
}


@pytest.mark.parametrize("stage", STAGES)
def test_the_evaluation_gives_the_figures_of_its_stage(tiny_runs, stage):
    summary = metrics(tiny_runs[stage])
    assert [name for name in EXPECTED_FIGURES[stage] if name not in summary["metrics"]] == []
    assert (summary["counts"]["in"], summary["counts"]["near"], summary["counts"]["far"]) == (VALIDATION, 3, 3)
    assert summary["environment"]["data set"] == "phantom"


@pytest.mark.parametrize("stage", STAGES)
def test_predictions_hold_every_video_once_with_its_answers(tiny_runs, tiny_folder, stage):
    with (tiny_runs[stage] / "predictions.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    start = "quality_" if stage == "quality" else ""
    listed = [line.rsplit(" ", 1) for line in (tiny_folder / f"{start}val.txt").read_text().splitlines()]
    inside = [row for row in rows if row["set"] == "in"]
    assert [[row["path"], row["grade" if stage == "quality" else "label"]] for row in inside] == listed
    assert sorted(row["path"] for row in rows if row["set"] != "in") == sorted(
        f"{kind} {number}.avi" for kind in ("near", "far") for number in range(3)
    )
    columns = (
        [f"p_{k}" for k in range(4)]
        + ["s_negation"] * (stage != "view")
        + [f"g_{k}" for k in range(3)] * (stage == "quality")
    )
    for row in rows:
        assert all(0 <= float(row[column]) <= 1 for column in columns)
        assert sum(float(row[f"p_{k}"]) for k in range(4)) == pytest.approx(1, abs=1e-5)
        assert sum(map(float, row["attention"].split())) == pytest.approx(1, abs=1e-5)
        assert len(row["attention"].split()) == len(row["frames"].split()) == 2


@pytest.mark.parametrize("stage", STAGES)
def test_only_test_repeats_the_training_s_last_figures_to_the_digit(tiny_runs, tmp_path, stage):
    run = tiny_runs[stage]
    again = [("OUTPUT", str(tmp_path)), ("TEST.ONLY_TEST", True), ("MODEL.RESUME", str(run / "last.pth"))]
    test = train(configure(str(run / "config.yaml"), again))
    assert metrics(test) == metrics(run)
    assert (test / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    last = history(run)[-1]
    assert last["val"] == {name: value for name, value in metrics(test)["metrics"].items() if value is not None}


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize(("level", "decay"), [("O0", 0.9), ("O1", 0.9), ("O2", 0.0), ("O2", 0.9)])
def test_only_test_repeats_figures_at_every_precision(tiny_folder, tmp_path, level, decay):
    settings = {"TRAIN__OPT_LEVEL": level, "TRAIN__EMA_DECAY": decay}
    run = train(tiny(tiny_folder, tmp_path / "run", **settings))
    resume = {"MODEL__RESUME": str(run / "last.pth"), "TEST__ONLY_TEST": True}
    again = train(tiny(tiny_folder, tmp_path / "again", **settings, **resume))
    assert metrics(again) == metrics(run)
    assert (again / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()


@pytest.mark.parametrize(
    "stage, learned_since", [("view", {f"s_{name}" for name in FITTED_SCORES}), ("negation", set())]
)
def test_the_last_stage_s_checkpoint_answers_the_earlier_questions_as_before(tiny_runs, tmp_path, stage, learned_since):
    run, last = tiny_runs[stage], tiny_runs["quality"] / "last.pth"
    again = [("OUTPUT", str(tmp_path)), ("TEST.ONLY_TEST", True), ("MODEL.RESUME", str(last))]
    test = train(configure(str(run / "config.yaml"), again))
    now, before = (
        list(csv.DictReader((folder / "predictions.csv").read_text(encoding="utf-8").splitlines()))
        for folder in (test, run)
    )
    assert [{name: row[name] for name in row if name not in learned_since} for row in now] == before
    assert now[0].keys() - before[0].keys() == learned_since
    assert metrics(test)["metrics"]["top1"] == metrics(run)["metrics"]["top1"]


def test_zero_shot_needs_no_checkpoint(tiny_folder, tmp_path):
    run = train(tiny(tiny_folder, tmp_path, TEST__ONLY_TEST=True, TRAINER__ViFi_CLIP__ZS_EVAL=True))
    assert metrics(run)["counts"]["in"] == VALIDATION and 0 <= metrics(run)["metrics"]["top1"] <= 1
    assert metrics(run)["epoch"] is None and " epoch" not in (run / "report.html").read_text().split("<main>")[0]


def test_a_video_that_cannot_be_read_is_a_failed_row_and_counts_for_nothing(tiny_folder, tmp_path):
    (tmp_path / "val.txt").write_text((tiny_folder / "val.txt").read_text() + "lost.avi 0\n")
    options = {"DATA__VAL_FILE": str(tmp_path / "val.txt")}
    with_lost = train(tiny(tiny_folder, tmp_path / "a", **options))
    without = train(tiny(tiny_folder, tmp_path / "b"))
    rows = list(csv.DictReader((with_lost / "predictions.csv").read_text().splitlines()))
    assert [row["failed"] for row in rows] == ["0"] * VALIDATION + ["1"]
    assert (rows[-1]["path"], rows[-1]["p_0"], rows[-1]["prediction"]) == ("lost.avi", "", "")
    assert metrics(with_lost)["metrics"] == pytest.approx(metrics(without)["metrics"], nan_ok=True)
    assert metrics(with_lost)["counts"]["failed"] == 1
    assert (with_lost / "log.txt").read_text().count(
        "lost.avi cannot be read and counts for nothing: cannot be read"
    ) == 1


def test_multi_view_inference_averages_the_views_of_each_video(tiny_runs, tiny_folder, tmp_path):
    run = tiny_runs["quality"]
    again = {"OUTPUT": str(tmp_path), "TEST.ONLY_TEST": True, "MODEL.RESUME": str(run / "last.pth")}
    again |= {"TEST.MULTI_VIEW_INFERENCE": True, "DATA.OOD_FILE": ""}
    test = train(configure(str(run / "config.yaml"), list(again.items())))
    with (test / "predictions.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == VALIDATION
    for row in rows:
        assert len(row["attention"].split()) == 4 * 3 * 2
        assert sum(map(float, row["attention"].split())) == pytest.approx(1, abs=1e-5)
        assert sum(float(row[f"p_{k}"]) for k in range(4)) == pytest.approx(1, abs=1e-5)


def test_above_so_many_videos_predictions_are_parquet_and_the_rest_is_the_same(tiny_runs, tmp_path):
    pytest.importorskip("pyarrow")
    run = tiny_runs["negation"]
    again = {"OUTPUT": str(tmp_path), "TEST.ONLY_TEST": True, "MODEL.RESUME": str(run / "last.pth")}
    again["TEST.PARQUET_ABOVE"] = VALIDATION + 2 * 3 - 1
    test = train(configure(str(run / "config.yaml"), list(again.items())))
    assert not (test / "predictions.csv").exists()
    one, other = read_predictions(test), read_predictions(run)
    assert one.path.tolist() == other.path.tolist() and (one.probabilities == other.probabilities).all()
    assert metrics(test) == metrics(run) and (test / "report.html").is_file()


@pytest.mark.parametrize("stage", STAGES)
def test_crops_on_the_device_change_nothing(tiny_folder, tiny_runs, tmp_path, stage):
    run = tiny_runs[stage]
    again = [("OUTPUT", str(tmp_path)), ("TEST.ONLY_TEST", True), ("MODEL.RESUME", str(run / "last.pth"))]
    test = train(configure(str(run / "config.yaml"), [*again, ("DATA.RESIZE", "device")]))
    assert (test / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()


def test_training_with_crops_on_the_device_ends_with_the_same_weights(tiny_folder, tmp_path):
    options = {"AUG__SCALES": [1.0, 0.7], "AUG__BACKGROUND_SWAP": 0.5}
    worker = train(tiny(tiny_folder, tmp_path / "worker", **options))
    device = train(tiny(tiny_folder, tmp_path / "device", **options, DATA__RESIZE="device"))
    assert_same(load_checkpoint(device / "last.pth")["model"], load_checkpoint(worker / "last.pth")["model"])


def test_scores_by_distance_come_from_training_features_and_stay_in_the_checkpoint(tiny_folder, tiny_runs, tmp_path):
    options = {"TEST__FIT_FEATURES": True, "MODEL__RESUME": str(tiny_runs["view"] / "last.pth")}
    run = train(tiny(tiny_folder, tmp_path / "run", "negation", **options))
    figures = metrics(run)["metrics"]
    for score in FITTED_SCORES:
        assert 0 <= figures[f"near/{score}/auroc"] <= 1 and 0 <= figures[f"far/{score}/auroc"] <= 1
    content = load_checkpoint(run / "last.pth")
    # k-nearest neighbours keep every one
    assert content["statistics"]["bank"].shape == (TRAINING, 4 * 64 + 4 * 128 + 256)

    lists = [("DATA.TRAIN_FILE", ""), ("TEST.ONLY_TEST", True), ("MODEL.RESUME", str(run / "last.pth"))]
    again = train(configure(str(run / "config.yaml"), [("OUTPUT", str(tmp_path / "again")), *lists]))
    assert (again / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    assert metrics(again) == metrics(run)


def test_where_training_features_lie_is_found_anew_only_while_they_move(tiny_folder, tiny_runs, tmp_path):
    def go_on(stage, before, name, **changes):
        options = {"TEST__FIT_FEATURES": True, "MODEL__RESUME": str(before / "last.pth"), **changes}
        run = train(tiny(tiny_folder, tmp_path / name, stage, **options))
        return run, load_checkpoint(run / "last.pth")["statistics"]

    view, first = go_on("view", tiny_runs["view"], "third epoch", TRAIN__EPOCHS=3)
    _, moved = go_on("view", view, "fourth epoch", TRAIN__EPOCHS=4)
    assert not torch.equal(moved["means"], first["means"])
    # Stage negation trains nothing that the scores by distance look at.
    _, kept = go_on("negation", view, "negation")
    assert_same(kept, first)
    _, found = go_on("negation", tiny_runs["view"], "another negation", TRAIN__LR=1e-2)
    assert_same(found, load_checkpoint(tiny_runs["negation"] / "last.pth")["statistics"])


def test_statistics_of_other_features_are_refused_before_anything_is_trained(tiny_folder, tiny_runs, tmp_path):
    content = load_checkpoint(tiny_runs["negation"] / "last.pth")
    cut = {"neighbour": ..., "background_mean": slice(7), "whitening": (slice(7), slice(7))}
    cut |= {"background_whitening": cut["whitening"], "means": (slice(None), slice(7)), "bank": (slice(None), slice(7))}
    content["statistics"] = {name: value[cut[name]] for name, value in content["statistics"].items()}
    save_checkpoint(tmp_path / "earlier.pth", content)
    with pytest.raises(
        UserError, match="look at 7 numbers a video, this version's at 1024: train stage negation again"
    ):
        train(tiny(tiny_folder, tmp_path / "run", "quality", MODEL__RESUME=str(tmp_path / "earlier.pth")))
    assert not list((tmp_path / "run").glob("*.pth"))


def test_a_score_by_distance_decides_where_the_configuration_names_it(tiny_folder, tiny_runs, tmp_path):
    options = {"TEST__SCORE": "knn", "MODEL__RESUME": str(tiny_runs["view"] / "last.pth")}
    run = train(tiny(tiny_folder, tmp_path / "run", "negation", **options))
    calibration = load_checkpoint(run / "last.pth")["calibration"]
    assert calibration["score"] == "knn" and np.isfinite(calibration["tau"])
    with (run / "predictions.csv").open(newline="") as lines:
        inside = [float(row["s_knn"]) for row in csv.DictReader(lines) if row["set"] == "in"]
    assert np.mean(np.array(inside) >= calibration["tau"]) >= 0.95


def test_intervals_are_of_as_many_draws_as_asked_for(tiny_runs, tmp_path, monkeypatch):
    drawn = []
    multinomial = np.random.Generator.multinomial

    class Counted:
        def __init__(self, *key: int) -> None:
            self.random = generator(*key)

        def multinomial(self, *arguments, size: int):
            drawn.append(size)
            return multinomial(self.random, *arguments, size=size)

    generator = bootstrap.generator
    monkeypatch.setattr(bootstrap, "generator", Counted)
    monkeypatch.setattr(bootstrap, "LEAST_PATIENTS", 2)
    run = tiny_runs["view"]
    for draws in (0, 7):
        again = [("OUTPUT", str(tmp_path / str(draws))), ("TEST.ONLY_TEST", True), ("TEST.BOOTSTRAP_DRAWS", draws)]
        train(configure(str(run / "config.yaml"), [*again, ("MODEL.RESUME", str(run / "last.pth"))]))
        assert set(drawn) == ({draws} if draws else set())
