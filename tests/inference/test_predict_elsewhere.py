"""predict.py on patterns and URLs: the answers of the same files, while the rest is still being looked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from echoviewclip.datasets.intake import globs
from echoviewclip.datasets.remote import store
from echoviewclip.inference import echo_model
from echoviewclip.inference.parts import AnswerParts
from echoviewclip.predict import main
from tests.inference.predicted import assert_same, read
from tests.served import served


@pytest.fixture
def archive(runs, elsewhere) -> list[str]:
    """Videos below `archive/`, in the order of a search; a file that is none beside them."""
    names = ["archive/1.avi", "archive/a/2.avi", "archive/a/3.avi", "archive/b/deep/4.avi"]
    for name, video in zip(names, sorted((runs / "data" / "videos").iterdir()), strict=False):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, name)
    Path("archive/a/notes.avi.part").write_text("no video")
    return names


@pytest.fixture
def ask(runs):
    def run(*arguments: str) -> int:
        return main([*arguments, "--resume", str(runs / "view" / "last.pth"), "--workers", "0", "--part-size", "2"])

    return run


def test_a_pattern_is_answered_while_it_is_searched(ask, archive, monkeypatch, capsys):
    happened: list[str] = []
    write, lister = AnswerParts.write, globs._list
    monkeypatch.setattr(AnswerParts, "write", lambda *a: happened.append("answer") or write(*a))
    monkeypatch.setattr(globs, "_list", lambda folder: happened.append(folder) or lister(folder))
    assert ask("archive/**/*") == 0
    assert [row["file"] for row in read()] == archive
    assert happened.index("answer") < happened.index("archive/b") and happened.count("answer") == 2
    assert capsys.readouterr().out.endswith("left out: 1 not of a kind that is read\n")
    pattern = read()
    ask(*archive, "--output", "named")
    assert pattern == read("named")


def test_shares_of_a_pattern_are_joined(ask, archive, monkeypatch):
    ask("archive/**/*.avi", "--part", "2/2")
    ask("archive/**/*.avi", "--part", "1/2")
    monkeypatch.setattr(echo_model, "predict_groups", None)  # nothing is missing
    assert ask("archive/**/*.avi") == 0
    assert [row["file"] for row in read()] == archive


def test_videos_at_urls_get_the_answers_of_their_files_and_no_file_holds_credentials(
    ask, archive, elsewhere, monkeypatch, capsys, caplog
):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(store, "PAUSES", (0.0, 0.0))
    with served(elsewhere / "archive") as server:
        signed = [f"{server.url}/{name}?X-Amz-Signature=deadbeef\n" for name in ("1.avi", "none.avi")]
        Path("signed.csv").write_text("path\n" + "".join(signed))
        copies = ["--opts", "DATA.DOWNLOAD_FOLDER", str(elsewhere / "copies")]
        assert ask("signed.csv", f"{server.url}/a/", *copies) == 1
    found, _ = read(), ask(*archive[:3], "--output", "disk")
    first, missing, *others = found
    for one, other in zip([first, *others], read("disk"), strict=True):
        assert_same({**one, "file": ""}, {**other, "file": ""})
    assert first["file"] == f"{server.url}/1.avi"
    assert missing["error"] == "cannot be read: there is no such file at its source"
    for file in Path("output").rglob("*.*"):
        assert "deadbeef" not in file.read_text()
    said = capsys.readouterr()
    assert "deadbeef" not in said.out + said.err + caplog.text
