"""`--only_test --explain`: the report says why, and nothing else changes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.evaluation.summary import read_summary
from echoviewclip.evaluation.worst import telling_videos
from echoviewclip.tools.report import configuration_of, explain_run, lists_of_run, main
from echoviewclip.utils.config import without_effect
from echoviewclip.utils.errors import UserError
from tests.tiny_data import tiny, train, without_provenance

CAPTIONS = re.compile(r"<figcaption>What spoke (for|against) [^<]+</figcaption>")
OUTSIDERS = {"DATA__OOD_FILE": "near.txt,far.txt"}


@pytest.fixture(scope="module")
def evaluations(tiny_folder, tiny_runs, tmp_path_factory):
    """Of the checkpoint of stage negation, without and with --explain."""

    def evaluate(explain):
        output = tmp_path_factory.mktemp("explained")
        resume = {"MODEL__RESUME": str(tiny_runs["negation"] / "last.pth"), "TEST__ONLY_TEST": True}
        return train(tiny(tiny_folder, output, "negation", **resume, TEST__EXPLAIN=explain))

    return evaluate(False), evaluate(True)


def test_the_report_explains_its_telling_videos_and_the_figures_stay(evaluations):
    plain, explained = evaluations
    assert (plain / "predictions.csv").read_bytes() == (explained / "predictions.csv").read_bytes()
    assert without_provenance(plain / "metrics.json") == without_provenance(explained / "metrics.json")
    telling = telling_videos(read_predictions(plain / "predictions.csv"), read_summary(plain / "metrics.json"))
    assert telling and not CAPTIONS.search((plain / "report.html").read_text())
    sides = CAPTIONS.findall((explained / "report.html").read_text())
    assert sides.count("for") == sides.count("against") >= len(telling)


def test_maps_lie_over_what_the_model_saw(evaluations):
    _, run = evaluations
    config = configuration_of(run)
    p, summary = read_predictions(run / "predictions.csv"), read_summary(run / "metrics.json")
    found = explain_run(run, config, lists_of_run(config))
    assert sorted(found) == sorted(telling_videos(p, summary))
    for name, why in found.items():
        row = p.path.tolist().index(name)
        assert why.frames.tolist() == sorted(set(p.frames[row].tolist()))
        size = config.DATA.INPUT_SIZE
        assert why.pictures.shape == (len(why.frames), size, size, 3) and why.pictures.dtype == np.uint8
        assert why.pictures.any() and why.spoke_for.shape == (len(why.frames), size // 4, size // 4)


@pytest.mark.slow
def test_the_page_is_written_again_with_its_maps(evaluations, capsys, monkeypatch):
    plain, explained = evaluations
    before = (explained / "report.html").read_text()
    monkeypatch.setattr("sys.argv", ["report.py", str(explained)])
    assert main() == 0
    assert (explained / "report.html").read_text() == before
    monkeypatch.setattr("sys.argv", ["report.py", str(plain), "--explain"])
    assert main() == 0
    sides = CAPTIONS.findall((plain / "report.html").read_text())
    assert sides == CAPTIONS.findall(before)


def test_what_cannot_be_explained_is_said_before_the_work(tiny_folder, tiny_runs, tmp_path):
    run = tiny_runs["negation"]
    config = configuration_of(run)
    with pytest.raises(UserError, match=r"is of a training, which explains nothing; evaluate: main\.py"):
        explain_run(run, config, lists_of_run(config))
    training = tiny(tiny_folder, tmp_path / "run", TEST__EXPLAIN=True)
    assert without_effect(training) == [
        "TEST.EXPLAIN True has no effect: a training explains nothing: evaluate its checkpoint with --only_test "
        "--explain"
    ]
