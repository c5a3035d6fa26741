"""The comparison of ways to reject: the scores that are there as an evaluation has them, the others beside them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.configured import evaluation_batches
from echoviewclip.evaluation.rejection import ALL
from echoviewclip.tools.rejection import OTHERS, compare, main, other_names
from echoviewclip.tools.rejection_inputs import Asker, MadeOutliers, load, texts_of
from echoviewclip.utils.config.choices import FITTED_SCORES, SCORES
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.label_list import read_names
from tests.tiny_data import TRAINING, VALIDATION, VIEWS, metrics

# The tiny lists: what the run validated on judges, and what it trained on calibrates.
LISTS = {"test": "val.txt", "changes": [("DATA.VAL_FILE", "train.txt")]}


@pytest.fixture(scope="module")
def checkpoint(tiny_runs) -> str:
    return str(tiny_runs["negation"] / "last.pth")


@pytest.fixture
def data(tiny_folder, tmp_path) -> Path:
    """The tiny data with what the outsiders show, of one nothing, and one test list."""
    folder = tmp_path / "data"
    shutil.copytree(tiny_folder, folder)
    shutil.copy(folder / "val.txt", folder / "test.txt")
    rows = [("near 0.avi", "hepatic vein"), ("near 1.avi", "aorta"), ("near 2.avi", "aorta"), ("far 0.avi", "liver")]
    (folder / "annotations.csv").write_text("path,view\n" + "".join(f"{path},{view}\n" for path, view in rows))
    return folder


def test_the_scores_that_are_there_have_the_figures_of_an_evaluation(tiny_runs, checkpoint):
    found, _ = compare(checkpoint, **LISTS)
    evaluated = metrics(tiny_runs["negation"])["metrics"]
    for name in (*SCORES, *FITTED_SCORES):
        for against, of in (("near", "near"), ("far", "far"), (ALL, "ood")):
            (one,) = (one for one in found if (one.score, one.against) == (name, against))
            expected = [evaluated[f"{of}/{name}/{figure}"] for figure in ("auroc", "fpr95")]
            assert [one.auroc, one.fpr95] == pytest.approx(expected, abs=1e-6), (name, against)


def test_the_command_prints_and_writes_every_way_by_kind(checkpoint, data, monkeypatch, capsys):
    words = [checkpoint, "--root", str(data), "--output", str(data / "out"), "--opts", "DATA.VAL_FILE", "train.txt"]
    monkeypatch.setattr("sys.argv", ["rejection.py", *words])
    assert main() == 0
    told = capsys.readouterr().out
    counts = f"{TRAINING} training, {TRAINING} validation, 4 synthetic outliers, {VALIDATION} test, 6 outsiders"
    assert told.splitlines()[0] == f"{counts}, 77 other names"
    assert "1 aorta (2); 2 hepatic vein (1); 3 liver (1)." in told
    rows = list(csv.DictReader((data / "out/rejection.csv").open(newline="", encoding="utf-8")))
    assert {row["against"] for row in rows} == {"near", "far", ALL, "aorta", "hepatic vein", "liver"}
    for name in (
        "neglabel does not show, grouped",
        "mars",
        "relative_mahalanobis at block 1",
        "distance + neglabel shows",
    ):
        assert f"| {name} |" in told and name in {row["score"] for row in rows}
    assert {row["outsiders"] for row in rows if row["against"] == "aorta"} == {"2"}
    assert all(0 <= float(row[figure]) <= 1 for row in rows for figure in ("auroc", "fpr95"))
    kept = json.loads((data / "out/rejection.json").read_text())
    assert kept["videos"]["outsiders"] == 6 and len(kept["figures"]) == len(rows)
    of_distance = [row["added"] for row in rows if row["score"] == "relative_mahalanobis"]
    assert set(of_distance) == {"0.0"}


def test_kinds_are_left_out_where_no_file_tells_them(checkpoint, tiny_folder, monkeypatch, capsys):
    words = [checkpoint, "--test", "val.txt", "--most", "4", "--opts", "DATA.VAL_FILE", "train.txt"]
    monkeypatch.setattr("sys.argv", ["rejection.py", *words])
    assert main() == 0
    told = capsys.readouterr().out
    assert told.startswith("4 training, 9 validation") and "AUROC by what" not in told
    assert "| score | AUROC near | AUROC far | AUROC all |" in told


def test_names_are_read_as_the_views_are(checkpoint):
    """By the trained towers, with the words of the table that they were trained with."""
    opened, predictor = load(checkpoint, ())
    with torch.no_grad():
        expected = predictor.model.encode_texts(predictor.model.parts)
    found = texts_of(opened, predictor, VIEWS)
    torch.testing.assert_close(found.positive, expected.positive)
    torch.testing.assert_close(found.negative, expected.negative)


def test_outliers_are_made_of_labelled_videos_and_are_not_these(checkpoint):
    _, predictor = load(checkpoint, [("TRAIN.BATCH_SIZE", 8)])
    asker = Asker(predictor, torch.device("cpu"))
    made = MadeOutliers(asker)
    files = [str(Path(predictor.config.DATA.ROOT) / f"videos/clip {number}.avi") for number in range(8)]
    videos = Annotations.of_paths(files)
    asker.ask(videos, "without labels", made=made)
    with pytest.raises(UserError, match="too few labelled videos"):
        made.answers()
    videos.labels[:6] = np.arange(6) % len(VIEWS)
    known = asker.ask(videos, "videos", made=made)
    outliers = made.answers()
    assert len(outliers.place) == 3 and not outliers.failed.any()
    apart = np.abs(outliers.intermediates[:, None] - known.intermediates[None]).max(axis=2)
    assert (apart > 1e-3).all()


def test_a_list_is_read_at_the_places_that_are_asked_for(checkpoint, tiny_folder):
    _, predictor = load(checkpoint, ())
    videos = Annotations.of_paths([str(tiny_folder / f"videos/clip {number}.avi") for number in range(7)])
    batches = evaluation_batches(predictor.config, videos, places=[1, 4, 6])
    assert [place for batch in batches for place in batch.place.tolist()] == [1, 4, 6]


def test_the_other_names_are_none_of_the_38_views():
    views = read_names("labels/ultracls.csv")
    assert len(views) == 38 and len(other_names(OTHERS, views)) > len(views)


@pytest.mark.parametrize(
    ("stage", "options", "said"),
    [
        ("view", [], "last.pth: of stage view; give the checkpoint of a stage negation"),
        ("quality", [], "last.pth: of stage quality; give the checkpoint of a stage negation"),
        ("negation", [], "holds no test.csv or test.json or test.txt; name the list of test videos (--test)"),
        ("negation", ["--test", "val.txt"], "cannot calibrate and judge; name another list of test videos (--test)"),
        ("negation", ["--test", "ood_far.txt"], "ood_far.txt: judges by videos with a label, and has none"),
        ("negation", ["--opts", "DATA.OOD_FILE", ""], "--opts DATA.OOD_FILE near.csv,far.csv"),
        ("negation", ["--test", "train.txt", "--others", "labels.csv"], "is one of the views; take it out"),
        ("negation", ["--most", "1"], "--most must be at least 2, or 0 for all, found 1"),
        ("negation", ["--opts", "SEED"], "--opts takes pairs of KEY VALUE; 'SEED' stands alone"),
    ],
)
def test_mistakes_are_one_line(tiny_runs, tiny_folder, monkeypatch, capsys, stage, options, said):
    options = [str(tiny_folder / option) if option == "labels.csv" else option for option in options]
    if "OOD_FILE" in said:
        options = ["--test", "train.txt", *options]
    monkeypatch.setattr("sys.argv", ["rejection.py", str(tiny_runs[stage] / "last.pth"), *options])
    assert exit_code(main) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert said in told[-1]


def test_a_table_of_kinds_without_its_columns_is_refused(checkpoint, data, monkeypatch, capsys):
    (data / "annotations.csv").write_text("path,kind\na.avi,liver\n")
    monkeypatch.setattr("sys.argv", ["rejection.py", checkpoint, "--root", str(data)])
    assert exit_code(main) == 2
    assert "annotations.csv: cannot be read as a table with the columns path and view" in capsys.readouterr().err
