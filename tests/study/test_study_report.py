"""`predict.py --report`: its files, exit codes, and what is refused before the work."""

from __future__ import annotations

import csv
import json
import re
import shutil

import pytest

from echoviewclip.predict import main
from echoviewclip.utils.errors import UserError
from tests.datasets.intake.test_no_names import TEXTS, dicoms, with_text
from tests.tiny_data import VIEWS
from tests.trainers.test_distributed import two_processes

PROTOCOL = f"""
name: Tiny
guideline: none
views: [{VIEWS[0]}, {VIEWS[1]}]
measurements: [{{name: EF, views: [{VIEWS[0]}], beats: 1, seconds: 0.1}}]
"""
NUMBERS = (
    "probability",
    "second_probability",
    "score",
    "tau",
    "quality_probability",
    "quality_score",
    "seconds",
    "beats",
)


@pytest.fixture
def archive(tiny_folder, tmp_path, monkeypatch):
    """Two studies of three videos each, one of which cannot be read, in the current folder."""
    for number in range(6):
        folder = tmp_path / ("one/series", "two")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_folder / "videos" / f"clip {number}.avi", folder / f"{number}.avi")
    (tmp_path / "two" / "bad.avi").write_bytes(b"RIFF")
    (tmp_path / "tiny.yaml").write_text(PROTOCOL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(checkpoint, *words):
    return main([*words, "--resume", str(checkpoint), "--device", "cpu", "--workers", "0"])


def test_a_study_is_one_page_with_its_tables(tiny_runs, archive, capsys):
    page = "out/study.html"
    assert answer(tiny_runs["quality"] / "last.pth", "one", "--report", page, "--protocol", "tiny.yaml") == 0
    assert sorted(path.name for path in (archive / "out").iterdir()) == ["study.csv", "study.html", "study.json"]
    assert page in capsys.readouterr().out
    text = (archive / page).read_text(encoding="utf-8")
    assert text.count('class="clip') >= 3 and "series/0.avi" in text and str(archive) not in text

    with open("out/study.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    content = json.loads((archive / "out/study.json").read_text(encoding="utf-8"))
    assert content["format"] == 1 and content["protocol"] == {"name": "Tiny", "guideline": "none"}
    (study,) = content["studies"]
    assert study["study"] == "one" and [clip["file"] for clip in study["clips"]] == [row["file"] for row in rows]
    for row, clip in zip(rows, study["clips"], strict=True):
        assert {"study": "one"} | {name: "" if value is None else str(value) for name, value in clip.items()} == row
        assert all(isinstance(clip[name], float | None) for name in NUMBERS)
        assert (clip["frames"], clip["fps"], clip["seconds"], clip["beats"]) == (6, 30.0, 0.2, None)
        assert (clip["rank"] is None) == (clip["decision"] == "rejected")
    assert [item["view"] for item in study["views"]] == list(VIEWS[:2])
    assert [one["view"] for one in study["measurements"][0]["clips"]] == [VIEWS[0]]


def test_several_studies_are_a_page_each_and_one_over_all(tiny_runs, archive):
    page = archive / "all.html"
    assert answer(tiny_runs["view"] / "last.pth", "one", "two", "--report", str(page)) == 1  # one cannot be read
    assert sorted(path.name for path in (archive / "all-pages").iterdir()) == [
        "001.html",
        "002.html",
    ]  # no folder's name
    text = page.read_text(encoding="utf-8")
    assert 'href="all-pages/001.html"' in text and 'href="all-pages/002.html"' in text
    second = (archive / "all-pages/002.html").read_text(encoding="utf-8")
    assert 'href="../all.html"' in second and "bad.avi" in second
    content = json.loads((archive / "all.json").read_text(encoding="utf-8"))
    assert [study["study"] for study in content["studies"]] == ["one", "two"]
    (bad,) = (clip for clip in content["studies"][1]["clips"] if clip["error"])
    assert bad["file"] == "two/bad.avi" and bad["frames"] is None and "decision" not in bad


def test_a_report_changes_no_answer(tiny_runs, archive):
    checkpoint = tiny_runs["quality"] / "last.pth"
    answer(checkpoint, "one", "--output", "plain")
    answer(checkpoint, "one", "--output", "with", "--report", "x.html")
    for name in ("predictions.csv", "predictions.jsonl"):
        assert (archive / "plain" / name).read_bytes() == (archive / "with" / name).read_bytes()


@pytest.mark.slow
def test_two_processes_make_the_page_that_one_makes(tiny_runs, tiny_folder, tmp_path):
    """Each has the films of its own videos, and the first one writes."""
    words = [tiny_folder / "videos", "--resume", tiny_runs["quality"] / "last.pth", "--device", "cpu", "--workers", 0]
    assert main([*map(str, words), "--output", str(tmp_path), "--report", str(tmp_path / "one.html")]) == 0
    two_processes(*words, "--output", tmp_path, "--report", tmp_path / "two.html", program=["predict.py"])
    one, two = (path.read_bytes() for path in (tmp_path / "one.html", tmp_path / "two.html"))
    assert one == two and one.count(b'id="film-') == len(list((tiny_folder / "videos").iterdir()))


def test_nothing_that_stands_in_a_file_is_on_the_page(tiny_runs, archive):
    """A name planted in each text of a header: some of these videos are answered, some are not."""
    whole = dicoms(archive / "object.dcm")[0]
    (archive / "named").mkdir()
    for number, (tag, representation) in enumerate(TEXTS):
        (archive / "named" / f"{number:02d}.dcm").write_bytes(with_text(whole, tag, representation))
    files = [str(path) for path in sorted((archive / "named").iterdir())]
    assert answer(tiny_runs["quality"] / "last.pth", *files, "--report", "x.html") == 1
    clips = json.loads((archive / "x.json").read_text(encoding="utf-8"))["studies"][0]["clips"]
    assert len(clips) == len(TEXTS) and 0 < sum(bool(clip["error"]) for clip in clips) < len(TEXTS)
    for name in ("x.html", "x.csv", "x.json"):
        text = (archive / name).read_text(encoding="utf-8")
        assert "DOE" not in re.sub("[A-Za-z0-9+/=]{200,}", "", text) and "JANE" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--protocol", "contrast"], "--protocol says what a report expects; add --report study.html"),
        (["--report", "study"], "--report study: expected the name of a page to write, such as study.html"),
        (["--report", "x.html", "--protocol", "contrast"], "'A4C LVO' is none of the checkpoint's 4 views"),
        (["--report", "one/series/0.avi/x.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(tiny_runs, archive, words, said):
    with pytest.raises(UserError, match=said):
        answer(tiny_runs["view"] / "last.pth", "one", *words)
    assert not (archive / "output" / "predict" / "predictions.csv").exists()
