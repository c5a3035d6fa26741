"""A training whose disk is full or whose folder cannot be made ends in one line, and goes on once there is room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from echoviewclip.utils.checkpoint import load_checkpoint
from tests.tiny_data import assert_same_files, tiny, train
from tests.trainers.test_run_files import TWO_EPOCHS
from tests.utils.test_files import disk_with, refusal


def test_an_output_folder_below_a_file_is_one_line(tiny_folder, tmp_path):
    (tmp_path / "file").touch()
    said = refusal(lambda: train(tiny(tiny_folder, tmp_path / "file" / "run")))
    assert said == f"{tmp_path}/file/run: cannot be written: Not a directory"


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory) -> Path:
    """What an undisturbed run leaves; moved from where others run, since checkpoints name their folder."""
    folder = tmp_path_factory.mktemp("full") / "run"
    train(tiny(tiny_folder, folder, **TWO_EPOCHS))
    return folder.rename(folder.with_name("whole"))


@pytest.fixture
def run(whole) -> Iterator[Path]:
    """Where the undisturbed run was, empty."""
    yield whole.with_name("run")
    shutil.rmtree(whole.with_name("run"))


@pytest.mark.parametrize("room", [0, 100, 1_000_000])  # not even a log, no line of metrics.jsonl, no checkpoint
def test_a_training_on_a_full_disk_is_one_line_and_goes_on_when_there_is_room(tiny_folder, whole, run, room, capsys):
    with disk_with(room):
        said = refusal(lambda: train(tiny(tiny_folder, run, **TWO_EPOCHS)))
    assert said.startswith(f"{run}/") and said.endswith(": cannot be written: File too large")
    assert "Traceback" not in capsys.readouterr().err
    train(tiny(tiny_folder, run, **TWO_EPOCHS))
    assert_same_files(run, whole)


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(tiny_folder, whole, run):
    shutil.copytree(whole, run)
    before = (run / "last.pth").read_bytes()
    with disk_with(1_000_000):
        said = refusal(lambda: train(tiny(tiny_folder, run, **TWO_EPOCHS | {"TRAIN__EPOCHS": 3})))
    assert said == f"{run}/last.pth: cannot be written: File too large"
    assert (run / "last.pth").read_bytes() == before
    assert load_checkpoint(run / "last.pth")["training"]["epoch"] == 2
