"""What charts of the report show where everything is good, and what stands there in place of an empty one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from echoviewclip.evaluation.prediction_files import write_predictions
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.report import upper_corner, write_report
from echoviewclip.evaluation.summary import summarise, write_metrics
from echoviewclip.evaluation.titles import SCORES as TITLES
from echoviewclip.evaluation.titles import figure_title, score_title
from echoviewclip.utils.config.choices import FITTED_SCORES, SCORES
from tests.browser import CHROMIUM, NO_CHROMIUM, browser


def report(folder: Path, p: Predictions, **more) -> str:
    write_predictions(folder / "predictions.csv", p)
    write_metrics(folder / "metrics.json", summarise(p, stage="view", classes=["a", "b"], draws=0, **more))
    return write_report(folder).read_text()


def good(count: int = 40, wrong: int = 0, outside: int = 0, apart: float = 5.0) -> Predictions:
    """Videos that are answered rightly but for the least sure `wrong`, and outsiders that score `apart` lower."""
    label = np.arange(count + outside) % 2
    confidence = np.linspace(0.99, 0.93, count + outside)
    likeliest = np.where(np.arange(count + outside) >= count - wrong, 1 - label, label)
    probabilities = np.where(np.eye(2)[likeliest] > 0, confidence[:, None], 1 - confidence[:, None])
    inside = np.arange(count + outside) < count
    scores = {"msp": np.where(inside, 0.0, -apart) + np.linspace(1, 0, count + outside)} if outside else {}
    return Predictions(
        [f"{i}.mp4" for i in range(count + outside)],
        label=np.where(inside, label, -1),
        set=np.where(inside, "in", "ood"),
        probabilities=probabilities,
        scores=scores,
    )


def drawing(page: str, title: str) -> str:
    return re.search(rf"<figcaption>{title}</figcaption>(.*?)</figure>", page, re.DOTALL)[1]


def test_without_errors_the_page_says_that_there_is_no_risk(tmp_path):
    text = drawing(report(tmp_path, good()), "Risk and coverage")
    assert "<svg" not in text and "No known view was answered wrongly" in text


def test_with_errors_the_risk_is_drawn_without_the_spike_of_the_first(tmp_path):
    text = drawing(report(tmp_path, good(wrong=2)), "Risk and coverage")
    assert ">0.05</text>" in text and "No known view" not in text


def test_lists_without_outsiders_say_so_where_scores_would_tell(tmp_path):
    p = good()
    p.scores = {"msp": p.probability.astype(np.float64)}
    assert "The evaluated lists hold no outsiders" in report(tmp_path, p, score="msp")


def test_axes_show_the_corner_where_everything_lies(tmp_path):
    page = report(tmp_path, good(outside=20), score="msp", tau=0.0)
    reliability = drawing(page, "Reliability")
    assert ">0.9</text>" in reliability and ">0</text>" not in reliability
    roc = drawing(page, "ROC")
    assert ">0.1</text>" in roc and ">1</text>" in roc and ">0.2</text>" not in roc
    # Scores that have it the wrong way round need the whole square.
    whole = drawing(report(tmp_path, good(outside=20, apart=-5.0), score="msp", tau=0.0), "ROC")
    assert ">0</text>" in whole and ">0.2</text>" in whole


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.93, 0.99], (0.9, 1.0)), ([0.62, np.nan], (0.6, 1.0)), ([0.2, 0.99], (0.0, 1.0)), ([1.0], (0.9, 1.0))],
)
def test_the_range_begins_at_the_tenth_below_all_values(values, expected):
    assert upper_corner([np.array(values)]) == pytest.approx(expected)


def test_figures_and_scores_have_names_for_people(tmp_path):
    assert set(TITLES) == {*SCORES, *FITTED_SCORES}
    assert (score_title("knn"), score_title("of_mine")) == ("Distance to nearest neighbours", "of mine")
    assert figure_title("near/knn/auroc", "knn") == "AUROC, near outsiders"
    assert figure_title("near/knn/auroc", "msp") == "near/knn/auroc"
    page = report(tmp_path, good(outside=20), score="msp", tau=0.0)
    assert '<b title="TEST.SCORE msp">Highest probability</b>' in page


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_on_a_phone_confusions_are_a_list_and_on_paper_the_summary_is_alone(tmp_path):
    rng = np.random.default_rng(0)
    label, probabilities = rng.integers(0, 9, 200), rng.dirichlet(np.ones(9), 200)
    p = Predictions([f"{i}.mp4" for i in range(200)], label=label, probabilities=probabilities)
    write_predictions(tmp_path / "predictions.csv", p)
    write_metrics(tmp_path / "metrics.json", summarise(p, stage="view", classes=list("abcdefghi"), draws=0))
    file = write_report(tmp_path)
    with browser() as page:
        shown = "[...document.querySelectorAll('figure.matrix, li.phone')].map((one) => one.checkVisibility())"
        page.open(file, width=390)
        matrix, *items = page.evaluate(shown)
        assert not matrix and len(items) == 4 and all(items)
        # Scrolled to the right, a row still begins with its view.
        begin = (
            "table = document.querySelector('.scroll'); table.scrollLeft = 500; row = table.querySelector('tbody tr')"
        )
        left = "row.cells[0].getBoundingClientRect().left - table.getBoundingClientRect().left"
        assert page.evaluate(f"{begin}; Math.abs({left}) < 2")
        assert page.evaluate("document.querySelector('thead').innerText.indexOf('F1')") < 10
        page.open(file, width=1200)
        matrix, *items = page.evaluate(shown)
        assert matrix and not any(items)
        page.call("Emulation.setEmulatedMedia", media="print")
        assert page.evaluate("getComputedStyle(document.querySelector('.tiles ~ section')).breakBefore") == "page"
        assert page.said == []
