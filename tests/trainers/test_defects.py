"""MODEL.DEFECTS: learned beside the grade, measured, answered by name; what they need, and models without them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from echoviewclip.datasets.annotations import Annotations, read_annotations
from echoviewclip.datasets.cropping import clips_on
from echoviewclip.deploy.graph import Graph
from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.inference.predictor import load_predictor, open_videos, predict
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError
from tests.tiny_data import TRAINING, VALIDATION, VIEWS, history, metrics, tiny, tiny_model, train

DEFECTS = {"MODEL__DEFECTS": ["grain", "dark"]}


def write_lists(folder):
    """Lists of grades that say how coarse the grain is, as the grade is, and of every other video if it is dark."""
    for kind, numbers in {"train": range(TRAINING), "val": range(TRAINING, TRAINING + VALIDATION)}.items():
        rows = [[f"clip {i}.avi", i % 3, i % 3 / 2, int(i % len(VIEWS) == 0) if i % 2 == 0 else ""] for i in numbers]
        with (folder / f"{kind}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["path", "quality", "Grain", "dark"], *rows])
    return {"DATA__TRAIN_FILE": str(folder / "train.csv"), "DATA__VAL_FILE": str(folder / "val.csv")}


@pytest.fixture(scope="module")
def run(tiny_folder, tiny_runs, tmp_path_factory):
    """Stage quality with defects, for some epochs."""
    folder = tmp_path_factory.mktemp("defects")
    how = {
        "MODEL__RESUME": str(tiny_runs["negation"] / "last.pth"),
        "TRAIN__EPOCHS": 8,
        "EVAL_FREQ": 8,
        "TRAIN__LR": 3e-3,
    }
    return train(tiny(tiny_folder, folder / "run", "quality", **write_lists(folder) | DEFECTS | how))


def test_training_lowers_the_loss_of_defects_too(run):
    losses = [line["train"]["defects"] for line in history(run) if "defects" in line.get("train", {})]
    assert len(losses) > 20
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_an_evaluation_measures_what_is_known_of_each_defect(run):
    found, figures = read_predictions(run), metrics(run)["metrics"]
    assert list(found.defects) == list(found.defect_targets) == ["grain", "dark"]
    assert np.isfinite(found.defect_targets["dark"]).sum() == len([i for i in range(9, 16) if i % 2 == 0])
    assert all(((p >= 0) & (p <= 1)).all() for p in found.defects.values())
    known = np.isfinite(found.defect_targets["grain"])
    there = found.defect_targets["grain"][known] > 0.5
    pairs = found.defects["grain"][known][there][:, None] - found.defects["grain"][known][~there]
    assert figures["defect/grain/auroc"] == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())
    assert {"defect/grain/spearman", "defect/dark/auroc"} <= set(figures)
    page = (run / "report.html").read_text()
    assert "<h2>Defects of quality</h2>" in page and ">grain</td>" in page


def test_predictions_name_the_likeliest_defect_above_a_half(run, tiny_folder):
    predictor = load_predictor(run / "last.pth", changes=[("DATA.NUM_WORKERS", 0), ("TRAIN.OPT_LEVEL", "O0")])
    videos = sorted(map(str, (tiny_folder / "videos").glob("clip*.avi")))
    rows = predict(predictor, videos, torch.device("cpu"))
    clips = [clips_on(torch.device("cpu"), batch, 32) for batch in open_videos(predictor, Annotations.of_paths(videos))]
    graph = Graph(predictor)
    answers = dict(zip(graph.outputs, graph(torch.cat(clips)), strict=True))["defect_probabilities"].numpy()
    assert {"defect", "defect_probability"} <= set(rows.columns)
    for row, probabilities in zip(rows, answers, strict=True):
        if row.defect is None:
            assert row.defect_probability is None and probabilities.max() < 0.5 + 1e-3
        else:
            assert row.defect == ["grain", "dark"][probabilities.argmax()]
            assert row.defect_probability == pytest.approx(probabilities.max(), abs=1e-4)


def test_a_checkpoint_answers_with_the_defects_that_it_learned_and_no_others(run, tiny_folder, tiny_runs, tmp_path):
    assert load_checkpoint(run / "last.pth")["model"]["quality.defects.weight"].shape[0] == 2
    without = tiny_runs["quality"] / "last.pth"
    assert not any("defects" in name for name in load_checkpoint(without)["model"])
    for checkpoint, asked, says in ((without, DEFECTS, r"\(0, not 2\)"), (run / "last.pth", {}, r"\(2, not 0\)")):
        test = {"MODEL__RESUME": str(checkpoint), "TEST__ONLY_TEST": True}
        with pytest.raises(UserError, match=rf"was trained on other defects than MODEL\.DEFECTS names {says}"):
            train(tiny(tiny_folder, tmp_path / "other", "quality", **test | asked))


def test_a_list_without_the_columns_is_evaluated_for_its_grades(run, tiny_folder, tmp_path):
    test = {"MODEL__RESUME": str(run / "last.pth"), "TEST__ONLY_TEST": True}
    found = metrics(train(tiny(tiny_folder, tmp_path / "run", "quality", **test | DEFECTS)))["metrics"]
    assert "quality/accuracy" in found and not any(name.startswith("defect/") for name in found)


def test_a_defect_that_no_training_video_has_a_value_of_ends_the_run(tiny_folder, tiny_runs, tmp_path):
    how = {"MODEL__RESUME": str(tiny_runs["negation"] / "last.pth"), "MODEL__DEFECTS": ["grain", "blur"]}
    with pytest.raises(UserError, match=r"train\.csv: no video has a value in a column 'blur' \(MODEL\.DEFECTS\)"):
        train(tiny(tiny_folder, tmp_path / "run", "quality", **write_lists(tmp_path) | how))


def test_what_is_no_number_from_0_to_1_is_a_fault_of_its_line(tmp_path):
    (tmp_path / "l.csv").write_text("path,quality,dark\na.avi,0,0.5\nb.avi,1,2\nc.avi,1,yes\n")
    faults: list[str] = []
    found = read_annotations(tmp_path / "l.csv", target="quality", defects=["dark", "blur"], faults=faults)
    np.testing.assert_array_equal(found.defects, np.array([[0.5, np.nan]], np.float32))
    assert [fault.rpartition(": ")[2] for fault in faults] == [
        "the dark 2 is not in [0, 1]",
        "the dark 'yes' is not a number",
    ]


@pytest.mark.parametrize("names", [["dark", "Dark"], ["quality"]])
def test_names_of_other_columns_are_refused(tmp_path, names):
    with pytest.raises(UserError, match=r"MODEL\.DEFECTS must name each column once"):
        tiny_model("quality", MODEL__DEFECTS=names)


def test_the_released_variant_knows_no_defects():
    with pytest.raises(UserError, match=r"MODEL\.DEFECTS .* needs MODEL\.VARIANT paper"):
        tiny_model("quality", MODEL__VARIANT="released", **DEFECTS)
