"""The report: what the page says and holds, what it must not hold, and how a real browser takes it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import yaml

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.evaluation import figures
from echoviewclip.evaluation.prediction_files import write_predictions
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.report import learning_curves, write_report
from echoviewclip.evaluation.summary import Summary, summarise, write_metrics
from echoviewclip.evaluation.worst import shown_name, worst_videos
from echoviewclip.tools.report import frames_from, main
from echoviewclip.utils.errors import UserError
from tests.media import write_video
from tests.page_tags import Tags
from tests.synthetic_run import make_predictions, make_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def noise(path, indices):
    """Frames as a caller's reader gives them; one video is no longer there."""
    if path.endswith("0193.mp4"):
        return None
    return np.random.default_rng(0).integers(0, 256, (len(indices), 120, 160, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(run):
    return write_report(run, noise).read_text(encoding="utf-8")


def test_every_section_and_the_figures_with_their_intervals_are_there(page, run):
    for heading in ("Learning", "Views", "Every view", "In or out of distribution", "Quality", "Worst videos"):
        assert f"<h2>{heading}</h2>" in page
    summary = json.loads((run / "metrics.json").read_text())
    low, high = summary["intervals"]["top1"]
    assert f"<strong>{summary['metrics']['top1']:.3f}</strong><small>{low:.3f} to {high:.3f}</small>" in page
    assert f"τ = {summary['tau']:.6g}" in page
    assert "after 30 epochs · 360 videos of 72 patients" in page
    assert "at least 95 % of the in-distribution videos" in page  # the definition beside FPR95
    assert "LR: 2.2e-05" in page


def test_the_page_is_well_formed_small_and_asks_for_nothing(page):
    assert len(page.encode()) < 10 * 2**20
    for tag, attributes in Tags(page).found:
        assert tag not in ("link", "iframe", "img")
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith(("#", "data:"))
    assert "http" not in page.replace("http-equiv", "").lower()


def test_names_are_escaped_and_patients_and_folders_stay_out(page):
    assert "<i>X" not in page
    assert "&lt;i&gt;X&lt;/i&gt;" in page
    assert not re.search(r"patient\d", page)
    assert "Jane Doe" not in page
    assert "hospital" not in page
    config = html.unescape(re.search(r"<pre>(.*?)</pre>", page, re.S)[1])
    assert yaml.safe_load(config)["DATA"] == {
        "ROOT": "…",
        "TRAIN_FILE": "datasets_splits/train.txt",
        "VAL_FILE": "datasets_splits/val.txt",
        "OOD_FILE": "near.txt,…/far.txt",
        "NUM_FRAMES": 16,
    }


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("a/b.mp4", "a/b.mp4"),
        ("/data/Jane Doe/b.mp4", "b.mp4"),
        (r"C:\Jane Doe\b.mp4", "b.mp4"),
        (r"\\server\Jane Doe\b.mp4", "b.mp4"),
        ("~/b.mp4", "b.mp4"),
    ],
)
def test_a_video_is_shown_as_in_the_list_without_absolute_folders(path, shown):
    assert shown_name(path) == shown


def test_failed_videos_are_listed_and_in_no_figure(page):
    assert re.search(r"<li>videos/0358.mp4</li><li>videos/0359.mp4</li>", page)
    assert page.count("videos/0359.mp4") == 1


def test_the_worst_videos_are_the_worst():
    p = Predictions(
        path=["right", "slip", "blunder", "guest", "shy"],
        set=["in", "in", "in", "far", "in"],
        label=[0, 0, 0, -1, 1],
        probabilities=[[0.9, 0.1], [0.4, 0.6], [0.01, 0.99], [0.5, 0.5], [0.2, 0.8]],
        scores={"negation": [0.9, 0.8, 0.7, 0.95, 0.1]},
        grade=[0, 1, 2, -1, 0],
        grade_probabilities=[[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]],
        score_prediction=[0.0, 0.1, 0.05, 0, 0],
    )
    found = worst_videos(p, Summary("negation", tau=0.5, classes=["A", "B"], grades=["bad", "fair", "good"]))
    assert {title: [(v.name, v.fact) for v in videos] for title, videos in found.items()} == {
        "Misclassified views": [
            ("blunder", "A (0.01) predicted as B (0.99)"),
            ("slip", "A (0.40) predicted as B (0.60)"),
        ],
        "Accepted outsiders": [("guest", "far outsider accepted as A, score 0.95")],
        "Rejected known views": [("shy", "B, score 0.1")],
        "Quality furthest off": [
            ("blunder", "good graded bad, score 0.05 for 1.00"),
            ("slip", "fair graded bad, score 0.10 for 0.50"),
        ],
    }


def test_frames_stand_for_their_share_of_the_clip_and_the_peak_is_marked():
    asked = []
    p = Predictions(
        path=["a"],
        label=[0],
        probabilities=[[0.1, 0.9]],
        attention=[[0.1, 0.2, 0.4, 0.3]],
        frames=[[5, 7, 9, 11]],
    )

    def frames(path, indices):
        asked.append((path, indices.tolist()))
        return np.zeros((len(indices), 8, 8, 3), np.uint8)

    films = worst_videos(p, Summary("view"), frames)["Misclassified views"][0].films
    assert asked == [("a", [5, 7, 9, 11])]
    assert [drawing.count('class="fill c0"') for drawing in films] == [2, 1]
    assert [drawing.count('class="fill c1"') for drawing in films] == [0, 1]
    assert [drawing.count("data:image/jpeg;base64") for drawing in films] == [1, 1]


def test_a_video_that_is_gone_is_listed_without_pictures(page, run):
    pictures = page.count("data:image/jpeg")
    assert pictures > 10
    assert write_report(run).read_text().count("data:image/jpeg") == 0
    assert "videos/0193.mp4" in page


def test_sections_without_data_are_left_out(tmp_path):
    write_metrics(tmp_path / "metrics.json", summarise(Predictions(path=["a"], failed=[True]), stage="view"))
    text = write_report(tmp_path).read_text()
    Tags(text)
    assert "<h2>How it was made</h2>" in text
    for heading in ("Learning", "Views", "Every view", "Quality", "Worst videos"):
        assert f"<h2>{heading}</h2>" not in text


@pytest.mark.parametrize("keep", ["view", "quality", "one patient", "one video"])
def test_any_part_of_a_run_makes_a_page(keep, tmp_path):
    p = make_predictions(inside=20, outside=10)
    if keep == "view":
        p = Predictions(path=p.path, patient=p.patient, label=p.label, probabilities=p.probabilities, failed=p.failed)
        p = p.where((p.label >= 0) & ~p.failed)
    elif keep == "quality":
        names = ("path", "grade", "grade_probabilities", "score_prediction", "attention", "frames", "failed")
        p = Predictions(**{name: getattr(p, name) for name in names})
    elif keep == "one patient":
        p.patient[:] = "P"
    else:
        p = p.where(slice(0, 1))
    write_metrics(tmp_path / "metrics.json", summarise(p, stage="view", tau=0.5, draws=20))
    write_predictions(tmp_path / "predictions.csv", p)
    Tags(write_report(tmp_path, noise).read_text())


def testlearning_curves_show_a_single_evaluation_and_no_first_spike(tmp_path):
    losses = [130.0, *np.linspace(2, 1, 29)]
    lines = [{"epoch": 0, "step": 10 * (i + 1), "train": {"loss": loss, "lr": 1e-3}} for i, loss in enumerate(losses)]
    lines += [{"epoch": 0, "step": 300, "val": {"top1": figure}} for figure in (0.5, np.nan)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    charts = dict(learning_curves(tmp_path / "metrics.jsonl", "negation"))
    assert ">50<" not in charts["Loss"] and ">1.5<" in charts["Loss"]
    assert charts["Validation"].count("<circle") == 1
    assert "nan" not in "".join(charts.values())
    # All over the same steps, from 0 on.
    assert all(">0</text>" in chart and ">300</text>" in chart for chart in charts.values())


def test_an_unevaluated_run_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"metrics.json: no such file; evaluate the run first \(main.py --only_test\)"):
        write_report(tmp_path)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(UserError, match="not readable as JSON"):
        write_report(tmp_path)


def test_ticks_are_round_numbers_within_their_bounds():
    np.testing.assert_allclose(figures.ticks(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_allclose(figures.ticks(-0.65, 0.61), [-0.5, 0, 0.5])
    np.testing.assert_allclose(figures.ticks(0, 300), [0, 100, 200, 300])
    np.testing.assert_allclose(figures.ticks(0, 2e-5), [0, 5e-6, 1e-5, 1.5e-5, 2e-5])


def test_a_curve_is_drawn_where_its_numbers_are():
    line = figures.Line("a", np.array([0.0, 0.5, np.nan, 1.0]), np.array([0.0, 1.0, 0.3, 0.5]))
    drawing = figures.line_chart([line], "x", "y", x_range=(0, 1), y_range=(0, 1))
    assert 'd="M50 230L218 26L386 128"' in drawing


def test_the_command_reads_frames_by_the_names_of_the_lists(tmp_path):
    pixels = np.repeat(np.arange(6, dtype=np.uint8) * 40, 64 * 64 * 3).reshape(6, 64, 64, 3)
    write_video(tmp_path / "a.avi", pixels)
    (tmp_path / "broken.avi").write_bytes(b"RIFF")
    (tmp_path / "list.txt").write_text("a.avi 0\nbroken.avi 1\n")
    frames = frames_from([read_annotations(tmp_path / "list.txt")])
    shown = frames("a.avi", np.array([4, 1]))
    assert shown.shape == (2, 64, 64, 3)
    assert shown.mean(axis=(1, 2, 3)) == pytest.approx([160, 40], abs=3)
    assert (
        frames("a.avi", np.array([6])) is frames("broken.avi", np.array([0])) is frames("b.avi", np.array([0])) is None
    )


def test_the_command_writes_the_page_without_pictures_where_the_data_are_gone(run, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["report.py", str(run)])
    assert main() == 0
    said = capsys.readouterr()
    assert said.out == f"{run / 'report.html'}\n"
    assert "without pictures: no such list of videos" in said.err


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_sorts_the_table_fits_the_page_and_meets_no_error(run, page, width, tmp_path):
    probe = """<script>
      const table = document.querySelector("table.sorts"), heads = [...table.tHead.rows[0].cells];
      const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent).join("|");
      const found = {wide: document.documentElement.scrollWidth > innerWidth, width: innerWidth};
      found.requests = performance.getEntriesByType("resource").length;
      heads[1].querySelector("button").click(); found.down = names();
      heads[1].querySelector("button").click(); found.up = names();
      heads[0].querySelector("button").click(); found.byName = names();
      parent.postMessage(JSON.stringify(found), "*");
    </script></body>"""
    (tmp_path / "report.html").write_text(page.replace("</body>", probe), encoding="utf-8")
    # In a frame, since a window cannot be made as narrow as a phone.
    frame = f"""<script>onmessage = (event) => document.title = event.data</script>
      <iframe src="report.html" style="width:{width}px;height:800px;border:0"></iframe>"""
    (tmp_path / "frame.html").write_text(frame, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [
        "--virtual-time-budget=5000",
        "--enable-logging=stderr",
        "--dump-dom",
        (tmp_path / "frame.html").as_uri(),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in answer.stderr  # neither an error nor a blocked request
    title = re.search(r"<title>(.*?)</title>", answer.stdout)[1]
    found = json.loads(html.unescape(title))
    rows = [row for row in json.loads((run / "metrics.json").read_text())["per_class"] if row["support"]]
    by_f1 = [row["name"] for row in sorted(rows, key=lambda row: row["f1"])]
    assert found["down"].split("|") == [*reversed(by_f1), "<i>X</i>"]  # unknown figures stay last …
    assert found["up"].split("|") == [*by_f1, "<i>X</i>"]  # … both ways
    assert found["byName"].split("|")[1:] == sorted(by_f1)
    assert found["width"] == width
    assert not found["wide"]
    assert found["requests"] == 0
