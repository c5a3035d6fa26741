"""Runs side by side: differences worked out by hand, intervals by a bootstrap written out, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from echoviewclip.evaluation.compare import changed_settings, differences, read_runs
from echoviewclip.evaluation.prediction_files import write_predictions
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.summary import summarise, write_metrics
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.seeding import generator
from tests.synthetic_run import make_predictions, make_run

PATIENTS, EACH = 10, 4


def answered(right: np.ndarray, **changes) -> Predictions:
    """Four videos of each of ten patients, of two views in turn; `right`, bool [40], says which are right."""
    count = PATIENTS * EACH
    label = np.arange(count) % 2
    likeliest = np.where(right, label, 1 - label)
    given = {
        "path": [f"{i:02d}.mp4" for i in range(count)],
        "patient": [f"p{i // EACH}" for i in range(count)],
        "label": label,
        "probabilities": np.where(np.eye(2)[likeliest] > 0, 0.9, 0.1),
    }
    return Predictions(**given | changes)


def written(folder: Path, p: Predictions) -> Path:
    """The folder of an evaluation of view."""
    folder.mkdir()
    write_predictions(folder / "predictions.csv", p)
    write_metrics(folder / "metrics.json", summarise(p, stage="view", classes=["a", "b"], draws=20))
    return folder


@pytest.fixture
def right() -> tuple[np.ndarray, np.ndarray]:
    """What two models get right: the second also half of what the first gets wrong, but not two others."""
    first = np.arange(PATIENTS * EACH) % 5 != 0
    second = first | (np.arange(PATIENTS * EACH) % 10 == 0)
    second[[1, 7]] = False
    return first, second


def test_a_difference_and_its_interval_are_those_of_a_bootstrap_by_hand(tmp_path, right):
    first, second = right
    shuffled = np.random.default_rng(0).permutation(len(first))
    folders = [written(tmp_path / "a", answered(first)), written(tmp_path / "b", answered(second).where(shuffled))]
    found = differences(*read_runs(folders))["Top-1 accuracy"]
    assert found.value == pytest.approx(2 / 40)  # 4 more right, 2 less, of 40

    drawn = generator(0).multinomial(PATIENTS, np.full(PATIENTS, 1 / PATIENTS), size=1000)
    values = []
    for times in drawn:
        patients = np.repeat(np.arange(PATIENTS), times)
        videos = (EACH * patients[:, None] + np.arange(EACH)).ravel()
        values.append(second[videos].mean() - first[videos].mean())
    tail = stats.norm.cdf(stats.t.ppf(0.025, PATIENTS - 1) * np.sqrt(PATIENTS / (PATIENTS - 1)))
    assert found.interval == pytest.approx(tuple(np.quantile(values, [tail, 1 - tail])))
    assert not found.clear


def test_a_model_that_is_better_everywhere_is_clearly_so(tmp_path, right):
    both = np.arange(PATIENTS * EACH) % 3 != 0, np.ones(PATIENTS * EACH, bool)
    found = differences(*read_runs([written(tmp_path / str(i), answered(one)) for i, one in enumerate(both)]))
    assert found["Top-1 accuracy"].clear and found["Top-1 accuracy"].interval[0] > 0
    assert found["Calibration error"].interval is None


def test_a_run_and_itself_do_not_differ(tmp_path):
    runs = read_runs([make_run(tmp_path / name) for name in ("a", "b")])
    found = differences(*runs)
    assert set(found) == set(runs[0].titles) and len(found) > 10
    assert all(one.value == 0 and one.interval is None and not one.clear for one in found.values())


def test_each_run_counts_the_videos_that_it_answered(tmp_path, right):
    first, second = right
    failed = np.arange(len(second)) < 8
    probabilities = np.where(failed[:, None], np.nan, answered(second).probabilities)
    without = answered(second, failed=failed, probabilities=probabilities)
    found = differences(*read_runs([written(tmp_path / "a", answered(first)), written(tmp_path / "b", without)]))
    assert found["Top-1 accuracy"].value == pytest.approx(second[8:].mean() - first.mean())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"path": [f"{i + 1:02d}.mp4" for i in range(40)]}, r"other videos \(2 are in one alone\)"),
        ({"label": np.zeros(40)}, "20 videos have another label in each"),
        ({"patient": ["p0"] * 40}, "36 videos have another patient in each"),
    ],
)
def test_runs_of_other_videos_or_targets_are_refused(tmp_path, right, changes, said):
    folders = [written(tmp_path / "a", answered(right[0])), written(tmp_path / "b", answered(right[1], **changes))]
    with pytest.raises(UserError, match=said):
        read_runs(folders)


def test_the_settings_that_differ_are_named(tmp_path):
    folders = [make_run(tmp_path / name) for name in ("a", "b")]
    file = folders[1] / "config.yaml"
    file.write_text(f"OUTPUT: elsewhere\n{file.read_text().replace('EPOCHS: 30', 'EPOCHS: 60')}AUG: {{FLIP: 0.5}}\n")
    assert changed_settings(read_runs(folders)) == {"TRAIN.EPOCHS": ["30", "60"], "AUG.FLIP": ["–", "0.5"]}


def compare(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "tools/compare.py", *map(str, words)], capture_output=True, text=True)


def test_the_tool_prints_tables_and_writes_a_page_without_folders(tmp_path):
    p = make_predictions()
    first = make_run(tmp_path / "first", p)
    wrong = np.flatnonzero(p.labelled & (p.prediction != p.label))[:14]
    p.probabilities[wrong] = 0.9 * np.eye(p.probabilities.shape[1])[p.label[wrong]] + 0.01
    second = make_run(tmp_path / "second", p)
    (second / "config.yaml").write_text((second / "config.yaml").read_text().replace("Jane Doe/\n", "John Doe/\n"))
    done = compare(first, second, "--page", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    known = int(p.labelled.sum())
    line = next(line for line in done.stdout.splitlines() if line.startswith("Top-1 accuracy  ") and "+" in line)
    assert f"+{14 / known:.3f} [+0.0" in line and line.endswith("*")
    assert "DATA.ROOT" in done.stdout and "Jane Doe" in done.stdout  # the user's own terminal
    page = (tmp_path / "page.html").read_text()
    assert "Doe" not in page and "DATA.ROOT" in page and f"+{14 / known:.3f}" in page and "<svg" in page

    alone = compare(first)
    assert alone.returncode == 2
    assert alone.stderr == "error: one run has nothing to be compared with: name at least two\n"
