"""A prediction of many videos: written part by part, resumed where it was killed, shared between jobs."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from echoviewclip.inference.parts import AnswerParts
from echoviewclip.predict import main
from echoviewclip.utils.errors import STOPPED, UserError
from echoviewclip.utils.progress import Progress
from tests.inference.predicted import read

OUTPUT = Path("output/predict")


@pytest.fixture
def videos(runs) -> list[str]:
    return sorted(map(str, (runs / "data" / "videos").iterdir()))[:7]


@pytest.fixture
def ask(runs, elsewhere, monkeypatch):
    """Runs predict.py in parts of two videos; gives the videos that it answered."""
    looked: list[str] = []
    write = AnswerParts.write

    def watched(parts, part, table):
        looked.extend(part.videos)
        write(parts, part, table)

    monkeypatch.setattr(AnswerParts, "write", watched)

    def run(*arguments: str) -> list[str]:
        looked.clear()
        options = ["--resume", str(runs / "quality" / "last.pth"), "--workers", "0", "--part-size", "2"]
        assert main([*options, *map(str, arguments)]) == 0
        return list(looked)

    return run


def test_parts_make_the_answers_of_a_whole_and_leave_nothing(ask, videos):
    assert ask(*videos) == videos
    in_parts = read()
    ask(*videos, "--part-size", "500")
    assert read() == in_parts and [row["file"] for row in in_parts] == videos
    assert sorted(path.name for path in OUTPUT.iterdir()) == ["predictions.csv", "predictions.jsonl"]


def test_a_killed_prediction_goes_on_where_it_was(ask, videos, monkeypatch):
    ask(*videos)
    whole = read()
    shutil.rmtree(OUTPUT)
    write, calls = AnswerParts.write, iter(range(2))

    def killed(*arguments):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(AnswerParts, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            ask(*videos)
    assert len(list((OUTPUT / "parts").glob("*.jsonl"))) == 2 and not (OUTPUT / "predictions.csv").exists()
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
    write = AnswerParts.write

    def and_touch(*arguments):
        write(*arguments)
        os.utime(changing, (1, 1))

    monkeypatch.setattr(AnswerParts, "write", and_touch)
    ask(changing, *videos)
    assert [row["file"] for row in read()] == ["changing.avi", *videos]


def test_shares_are_joined_by_the_command_without_a_share(ask, videos, capsys):
    ask(*videos)
    whole = read()
    shutil.rmtree(OUTPUT)
    assert ask(*videos, "--part", "2/3") == videos[2:4]
    assert ask(*videos, "--part", "1/3") == videos[:2] + videos[6:]
    said = "share 1 of 3 is in output/predict/parts; when all are: predict.py merge output/predict\n"
    assert said in capsys.readouterr().out
    assert ask(*videos, "--part", "3/3") == videos[4:6]
    assert ask(*videos) == [] and read() == whole


def test_merge_joins_shares_without_the_checkpoint_and_the_videos(ask, videos, capsys):
    ask(*videos)
    whole = read()
    shutil.rmtree(OUTPUT)
    with pytest.raises(UserError, match="no share of a prediction has ended there"):
        main(["merge", str(OUTPUT)])
    ask(*videos, "--part", "3/3")
    ask(*videos, "--part", "1/3")
    with pytest.raises(UserError, match=r"of 3 shares 2 have not ended; start .* --part 2/3"):
        main(["merge", str(OUTPUT)])
    ask(*videos[1:], "--part", "2/3")  # of other videos
    with pytest.raises(UserError, match="of 3 shares 2 have not ended"):
        main(["merge", str(OUTPUT)])
    ask(*videos, "--part", "2/3")
    capsys.readouterr()
    assert main(["merge", str(OUTPUT)]) == 0
    assert f"{len(videos)} videos, 0 without an answer" in capsys.readouterr().out
    assert read() == whole
    assert sorted(path.name for path in OUTPUT.iterdir()) == ["predictions.csv", "predictions.jsonl"]


def test_a_part_that_is_gone_is_not_joined(ask, videos):
    ask(*videos, "--part", "1/2")
    ask(*videos, "--part", "2/2")
    next((OUTPUT / "parts").glob("000002-*.jsonl")).unlink()
    with pytest.raises(UserError, match="the part is gone; start the shares again"):
        main(["merge", str(OUTPUT)])


def test_a_prediction_goes_on_in_parts_of_the_size_that_it_was_begun_with(ask, videos):
    assert ask(*videos, "--part", "1/2") == [*videos[:2], *videos[4:6]]
    assert ask(*videos, "--part-size", "3") == [*videos[2:4], *videos[6:]]
    ask(*videos, "--part", "1/1", "--part-size", "3")  # a new one
    assert [row["file"] for row in read()] == videos


def test_a_part_has_at_least_a_video(runs, elsewhere):
    with pytest.raises(UserError, match="--part-size must be at least 1, found 0"):
        main(["a.avi", "--part-size", "0", "--resume", str(runs / "view" / "last.pth")])


def test_a_prediction_that_is_asked_to_stop_ends_between_batches_and_keeps_its_parts(ask, videos, monkeypatch, capsys):
    write, calls = AnswerParts.write, iter(range(1))

    def and_be_stopped(*arguments):
        write(*arguments)
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(AnswerParts, "write", and_be_stopped)
        with pytest.raises(SystemExit) as ended:
            ask(*videos)
    assert ended.value.code == STOPPED
    assert "stopped: the same command goes on from output/predict/parts" in capsys.readouterr().err
    assert ask(*videos) == videos[4:]


def test_progress_is_of_all_parts_of_the_share_and_its_speed_of_this_run(ask, videos, monkeypatch):
    ask(*videos, "--part", "1/2")
    shown: list[tuple[int, int | None, int]] = []  # done, of how many, done before this run
    move = Progress.move

    def and_note(self: Progress, done: int) -> None:
        move(self, done)
        shown.append((done, self.total, self._first))

    monkeypatch.setattr(Progress, "move", and_note)
    ask(*videos, "--part", "2/2")
    assert shown[-1] == (3, 3, 0)  # of the share's three videos
    next((OUTPUT / "parts").glob("000003-*.jsonl")).unlink()
    ask(*videos)
    assert shown[-1] == (7, 7, 6)


def test_a_list_is_its_videos(ask, videos):
    Path("list.txt").write_text("".join(f"{video} 1\n" for video in videos[:3]))
    Path("list.csv").write_text("path,label\n" + "".join(f"{video},\n" for video in videos[2:4]))
    assert ask("list.txt", "list.csv") == videos[:4]


@pytest.mark.parametrize("share", ["0/3", "4/3", "a/b", "3", "1/", "-1/2", "¹/2"])
def test_a_share_that_is_none_is_refused(runs, elsewhere, share):
    with pytest.raises(UserError, match="--part takes I/N with 1 ≤ I ≤ N"):
        main(["a.avi", f"--part={share}", "--resume", str(runs / "view" / "last.pth")])
