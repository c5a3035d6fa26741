"""The folder of a run: never two runs at once, and none in the place of another unasked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from echoviewclip.datasets.dataset import frames_from
from echoviewclip.tools.report import configuration_of, lists_of_run
from echoviewclip.tools.results import lines
from echoviewclip.trainers.folder import check_folder, lock
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.files import HOST
from tests.tiny_data import configure, history, tiny, train
from tests.utils.test_files import refusal


def everything(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def run(tiny_folder, tmp_path) -> Path:
    return train(tiny(tiny_folder, tmp_path / "run"))


def test_an_evaluation_leaves_the_run_alone_and_has_a_folder_for_each_list(tiny_folder, run):
    before = everything(run)
    resume = {"MODEL__RESUME": str(run / "best.pth"), "TEST__ONLY_TEST": True}
    (tiny_folder / "other.txt").write_text((tiny_folder / "val.txt").read_text())
    for stem in ("val", "other"):
        test = train(tiny(tiny_folder, run, **resume, DATA__VAL_FILE=f"{stem}.txt"))
        assert test == run / "evaluation" / stem
        assert {"metrics.json", "predictions.csv", "report.html", "config.yaml", "log.txt"} <= set(os.listdir(test))
        assert lines(test)[0] == f"view: {test}/report.html"
        assert frames_from(lists_of_run(configuration_of(test)))("clip 9.avi", [0]).shape == (1, 64, 64, 3)
    (tiny_folder / "other.txt").unlink()
    after = everything(run)
    assert {name: after[name] for name in before} == before
    assert lines(run)[0] == f"view: {run}/report.html"
    # The configuration of the run still trains: it goes on with the run, or makes it once more elsewhere.
    again = [("TRAIN.AUTO_RESUME", True), ("TRAIN.EPOCHS", 2)]
    assert load_checkpoint(train(configure(str(run / "config.yaml"), again)) / "last.pth")["training"]["epoch"] == 2


def test_a_new_run_in_a_used_folder_is_refused_and_touches_nothing(tiny_folder, run):
    before = everything(run)
    assert refusal(lambda: train(tiny(tiny_folder, run))) == (
        f"{run} holds a run already (config.yaml, metrics.jsonl, last.pth, …); --opts TRAIN.AUTO_RESUME True goes on "
        "with it, --overwrite removes it, --output DIR names another folder"
    )
    assert refusal(lambda: train(tiny(tiny_folder, run, "negation", TRAIN__AUTO_RESUME=True))) == (
        f"{run} holds a run of stage view, and this is stage negation; --overwrite removes it, --output DIR names "
        "another folder"
    )
    assert everything(run) == before


def test_a_folder_with_checkpoints_but_no_last_one_is_not_begun_anew(tiny_folder, run):
    for name in ("last.pth", "last.prev.pth"):
        (run / name).unlink()
    config = tiny(tiny_folder, run, TRAIN__AUTO_RESUME=True)
    assert refusal(lambda: check_folder(config, overwrite=False)) == (
        f"{run} holds checkpoints, but no last.pth to go on from; --resume CKPT goes on from one of them, --overwrite "
        "removes it, --output DIR names another folder"
    )
    check_folder(tiny(tiny_folder, run, MODEL__RESUME=str(run / "best.pth")), overwrite=False)
    for file in run.glob("*.pth"):
        file.unlink()
    check_folder(config, overwrite=False)  # killed before its first checkpoint


@pytest.mark.parametrize("evaluates", [False, True])
def test_a_start_that_fails_leaves_no_folder(tiny_folder, tiny_runs, tmp_path, evaluates):
    resume = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth")} if evaluates else {}
    config = tiny(tiny_folder, tmp_path / "a" / "b", DATA__VAL_FILE="none.txt", TEST__ONLY_TEST=evaluates, **resume)
    assert refusal(lambda: train(config)).startswith("no such list of videos")
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_leaves_the_files_of_others(tiny_folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.md").touch()
    refusal(lambda: train(tiny(tiny_folder, tmp_path / "run", DATA__VAL_FILE="none.txt")))
    assert (tmp_path / "run" / "notes.md").is_file()


def test_a_folder_that_holds_no_run_may_be_used(tiny_folder, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("log.txt", "notes.md", ".lock"):  # what a mistake in the configuration leaves, and what is not ours
        (tmp_path / "run" / name).touch()
    check_folder(tiny(tiny_folder, tmp_path / "run"), overwrite=False)


def test_overwriting_removes_the_old_run_and_nothing_else(tiny_folder, run):
    train(tiny(tiny_folder, run, MODEL__RESUME=str(run / "last.pth"), TEST__ONLY_TEST=True))
    (run / "notes.md").touch()
    (run / "ckpt_epoch_7.pth").touch()
    train(tiny(tiny_folder, run, SEED=5), overwrite=True)
    assert not (run / "evaluation").exists() and not (run / "ckpt_epoch_7.pth").exists()
    assert (run / "notes.md").exists()
    assert yaml.safe_load((run / "config.yaml").read_text())["SEED"] == 5
    assert [line["step"] for line in history(run) if "train" in line] == [1, 2, 3, 4, 5]
    assert (run / "log.txt").read_text().count("results: ") == 1


def test_overwriting_is_refused_where_it_makes_no_sense(tiny_folder, run):
    def said(**changes) -> str:
        return refusal(lambda: train(tiny(tiny_folder, run, **changes), overwrite=True))

    before = everything(run)
    last = str(run / "last.pth")
    assert said(MODEL__RESUME=last).startswith(f"--overwrite would remove {last}, which --resume names;")
    assert said(TRAIN__AUTO_RESUME=True) == (
        "--overwrite removes the run that TRAIN.AUTO_RESUME goes on with; give one of them"
    )
    assert "--overwrite is for a training" in said(MODEL__RESUME=last, TEST__ONLY_TEST=True)
    assert said(DATA__TRAIN_FILE="none.txt").startswith("no such list of videos")
    after = everything(run)  # the last mistake is found with the log already open
    assert {name: after[name] for name in before} | {"log.txt": b""} == before | {"log.txt": b""}


HOLD = """
import sys
from pathlib import Path
from echoviewclip.trainers.folder import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_one_lives(tiny_folder, tmp_path):
    folder = tmp_path / "run"
    start = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        try:
            assert refusal(lambda: train(tiny(tiny_folder, folder))) == (
                f"{folder}: another run is writing there (process {first.pid} on {HOST}); wait for its end, stop it, "
                "or name another folder (--output DIR)"
            )
            assert os.listdir(folder) == [".lock"]
        finally:
            first.kill()
    with lock(folder):  # a lock vanishes with its process
        assert (folder / ".lock").read_text() == f"process {os.getpid()} on {HOST}"
    assert (folder / ".lock").read_text() == ""


def test_lines_of_the_log_have_the_day(tiny_runs):
    for line in (tiny_runs["view"] / "log.txt").read_text().splitlines():
        assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d [IWE] ", line), line
