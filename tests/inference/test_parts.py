"""A prediction of many videos: written part by part, resumed where it was killed, shared between jobs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from echoviewclip.inference import echo_model
from echoviewclip.inference import parts as parts_of
from echoviewclip.predict import main
from echoviewclip.utils.errors import UserError
from tests.inference.predicted import read

OUTPUT = Path("output/predict")


@pytest.fixture
def videos(runs) -> list[str]:
    return sorted(map(str, (runs / "data" / "videos").iterdir()))[:7]


@pytest.fixture
def ask(runs, elsewhere, monkeypatch):
    """Runs predict.py in parts of two videos; gives the videos that it looked at."""
    monkeypatch.setattr(parts_of.AnswerParts.__init__, "__defaults__", (2,))
    looked: list[str] = []
    predict = echo_model.predict

    def watched(predictor, names, *arguments, **options):
        looked.extend(names)
        return predict(predictor, names, *arguments, **options)

    monkeypatch.setattr(echo_model, "predict", watched)

    def run(*arguments: str) -> list[str]:
        looked.clear()
        assert main([*map(str, arguments), "--resume", str(runs / "quality" / "last.pth"), "--workers", "0"]) == 0
        return list(looked)

    return run


def test_parts_make_the_answers_of_a_whole_and_leave_nothing(ask, videos, monkeypatch):
    assert ask(*videos) == videos
    in_parts = read()
    monkeypatch.setattr(parts_of.AnswerParts.__init__, "__defaults__", (500,))
    ask(*videos)
    assert read() == in_parts and [row["file"] for row in in_parts] == videos
    assert sorted(path.name for path in OUTPUT.iterdir()) == ["predictions.csv", "predictions.jsonl"]


def test_a_killed_prediction_goes_on_where_it_was(ask, videos, monkeypatch):
    ask(*videos)
    whole = read()
    shutil.rmtree(OUTPUT)
    predict, calls = echo_model.predict, iter(range(2))

    def killed(*arguments, **options):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return predict(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(echo_model, "predict", killed)
        with pytest.raises(KeyboardInterrupt):
            ask(*videos)
    assert len(list((OUTPUT / "parts").iterdir())) == 2 and not (OUTPUT / "predictions.csv").exists()
    assert ask(*videos) == videos[4:]
    assert read() == whole


def test_a_part_of_another_question_is_not_taken(ask, videos):
    ask(*videos, "--part", "1/4")
    assert ask(*videos, "--part", "1/4") == []
    assert ask(*videos, "--part", "1/4", "--opts", "TEST.NUM_CLIP", "2") == videos[:2]
    assert ask(*videos, "--part", "1/4", "--as-is") == videos[:2]
    assert ask(*videos, "--part", "1/4", "--batch-size", "3") == []  # which changes no answer
    os.utime(videos[1])  # another file of the same name
    assert ask(*videos, "--part", "1/4") == videos[:2]


def test_a_video_that_changes_meanwhile_is_another_question_to_the_next_run_only(ask, videos, monkeypatch):
    changing = Path("changing.avi")
    shutil.copy(videos[0], changing)
    predict = echo_model.predict

    def and_touch(*arguments, **options):
        table = predict(*arguments, **options)
        os.utime(changing, (1, 1))
        return table

    monkeypatch.setattr(echo_model, "predict", and_touch)
    ask(changing, *videos)
    assert [row["file"] for row in read()] == ["changing.avi", *videos]


def test_shares_are_joined_by_the_command_without_a_share(ask, videos, capsys):
    ask(*videos)
    whole = read()
    shutil.rmtree(OUTPUT)
    assert ask(*videos, "--part", "2/3") == videos[2:4]
    assert ask(*videos, "--part", "1/3") == videos[:2] + videos[6:]
    assert (
        "share 1 of 3 is in output/predict/parts; the same without --part joins all shares" in capsys.readouterr().out
    )
    assert ask(*videos, "--part", "3/3") == videos[4:6]
    assert ask(*videos) == [] and read() == whole


def test_a_list_is_its_videos(ask, videos):
    Path("list.txt").write_text("".join(f"{video} 1\n" for video in videos[:3]))
    Path("list.csv").write_text("path,label\n" + "".join(f"{video},\n" for video in videos[2:4]))
    assert ask("list.txt", "list.csv") == videos[:4]


@pytest.mark.parametrize("share", ["0/3", "4/3", "a/b", "3", "1/", "-1/2", "¹/2"])
def test_a_share_that_is_none_is_refused(runs, elsewhere, share):
    with pytest.raises(UserError, match="--part takes I/N with 1 ≤ I ≤ N"):
        main(["a.avi", f"--part={share}", "--resume", str(runs / "view" / "last.pth")])
