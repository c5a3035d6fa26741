"""Where a run is followed: whatever is killed and goes on, a tracker holds one run with every line of metrics.jsonl."""

from __future__ import annotations

import getpass
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from yacs.config import CfgNode

from echoviewclip.trainers import history as metrics
from echoviewclip.trainers.folder import remove_run
from echoviewclip.trainers.history import MetricsLog
from echoviewclip.trainers.trackers import follow
from echoviewclip.trainers.trackers.tracker import Line, Run, shareable
from echoviewclip.utils.config import default_config
from echoviewclip.utils.errors import UserError
from tests.tiny_data import history, tiny, tiny_options, train
from tests.wandb_file import history_of

ROOT = Path(__file__).parents[2]
STEPS = [0, 2, 2, 4, 6]  # of five lines; an evaluation has the step of the line before it


def config_of(folder: Path, *backends: str, **changes: str) -> CfgNode:
    config = default_config()
    config.OUTPUT, config.LOG.BACKENDS, config.STAGE = str(folder), list(backends), "view"
    for key, value in changes.items():
        config.DATA[key] = value
    return config


def write(log: MetricsLog, lines: Sequence[int]) -> None:
    """Lines by their numbers; line 2 is of an evaluation."""
    for number in lines:
        log.write(STEPS[number], epoch=0, **{"val" if number == 2 else "train": {"loss": 1 / (number + 1)}})


class Lost(Exception):
    """The process ends here."""


def lose_after(folder: Path, lines: Sequence[int], backends: Sequence[str], log: MetricsLog | None = None) -> None:
    """Writes lines, and does not come to its end."""
    log = log or MetricsLog(folder)
    with pytest.raises(Lost), log.followed(config_of(folder, *backends)):
        write(log, lines)
        raise Lost


def go_on(folder: Path, kept: int, backends: Sequence[str], *, source: Path | None = None, same: bool = True) -> None:
    """Goes on from a checkpoint that counts so many lines, and comes to its end."""
    log = MetricsLog(folder)
    log.go_on(source or folder, kept, STEPS[kept - 1], same)
    with log.followed(config_of(folder, *backends)):
        write(log, range(kept, len(STEPS)))


class Recorded:
    """A tracker in memory, of which a killed process loses nothing but what `lost` says."""

    place = ""
    told: list[Line]
    runs: list[Run]
    lost = 0

    def __init__(self, run: Run) -> None:
        self.runs.append(run)
        self.lines = len(self.told) - self.lost

    def tell(self, line: Line) -> None:
        self.told.append(line)

    def close(self, finished: bool) -> None:
        pass


@pytest.fixture
def recorded(monkeypatch) -> type[Recorded]:
    monkeypatch.setattr(Recorded, "told", [], raising=False)
    monkeypatch.setattr(Recorded, "runs", [], raising=False)
    monkeypatch.setattr(follow, "_opener", lambda name: Recorded)
    return Recorded


def test_a_tracker_is_told_each_line_once_also_where_a_run_repeats_some(tmp_path, recorded):
    lose_after(tmp_path, range(4), ["wandb"])
    go_on(tmp_path, 2, ["wandb"])  # which writes lines 2 and 3 again
    assert [line.number for line in recorded.told] == [0, 1, 2, 3, 4]
    assert recorded.told[2] == Line(2, 2, {"val/loss": 1 / 3})
    assert [run.same for run in recorded.runs] == [True, True]


def test_what_a_killed_process_did_not_send_is_sent_after_the_resume(tmp_path, recorded):
    recorded.lost = 3
    lose_after(tmp_path, range(4), ["wandb"])
    go_on(tmp_path, 4, ["wandb"])
    assert [line.number for line in recorded.told] == [0, 1, 2, 3, *(1, 2, 3), 4]


def test_a_new_run_begins_with_its_past(tmp_path, recorded):
    lose_after(tmp_path / "old", range(4), ["wandb"])
    recorded.told.clear()
    go_on(tmp_path / "new", 4, ["wandb"], source=tmp_path / "old", same=False)
    assert [line.number for line in recorded.told] == [0, 1, 2, 3, 4]
    run = recorded.runs[-1]
    assert (run.name, run.known_as("wandb")) == ("new", None)


def test_a_damaged_line_is_passed_over(tmp_path, recorded):
    lose_after(tmp_path, range(3), ["wandb"])
    recorded.told.clear()
    lines = (tmp_path / "metrics.jsonl").read_bytes().split(b"\n")
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([lines[0], b"damaged", *lines[2:]]))
    go_on(tmp_path, 3, ["wandb"])
    assert [line.number for line in recorded.told] == [0, 2, 3, 4]


def test_only_the_main_process_is_followed(tmp_path, recorded, monkeypatch):
    monkeypatch.setattr(metrics, "is_main", lambda: False)
    with MetricsLog(tmp_path).followed(config_of(tmp_path, "wandb")):
        pass
    assert recorded.runs == []


@pytest.mark.parametrize("moment", ["__init__", "tell", "close"])
def test_a_tracker_that_fails_is_one_warning_and_ends_nothing(tmp_path, recorded, monkeypatch, caplog, moment):
    def fail(*_: object) -> None:
        raise OSError("no route to https://joe:secret@host/api\nand more")

    monkeypatch.setattr(recorded, moment, fail)
    log = MetricsLog(tmp_path)
    with caplog.at_level(logging.WARNING), log.followed(config_of(tmp_path, "mlflow")):
        write(log, range(5))
    assert caplog.messages == ["mlflow does not follow the training from here on: no route to https://host/api"]
    assert [line["step"] for line in history(tmp_path)] == STEPS


def test_a_tracker_that_does_not_answer_ends_nothing(tmp_path, recorded, monkeypatch, caplog):
    monkeypatch.setattr(follow, "PATIENCE", 0.01)
    hanging = threading.Event()
    monkeypatch.setattr(recorded, "tell", lambda *_: hanging.wait())
    log = MetricsLog(tmp_path)
    with caplog.at_level(logging.WARNING), log.followed(config_of(tmp_path, "wandb")):
        write(log, range(2))
    assert caplog.messages == ["wandb does not answer; it may lack the last lines of metrics.jsonl"]
    hanging.set()


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("mlflow", "mlflow"), ("mlflow", "sqlalchemy")])
def test_a_tracker_that_is_not_installed_is_refused_with_the_command(tiny_folder, tmp_path, monkeypatch, name, module):
    find = follow.importlib.util.find_spec
    monkeypatch.setattr(follow.importlib.util, "find_spec", lambda asked: find(asked) if asked != module else None)
    with pytest.raises(UserError) as refused:
        train(tiny(tiny_folder, tmp_path / "run", LOG__BACKENDS=["tensorboard", name]))
    assert str(refused.value) == f"LOG.BACKENDS {name}: not installed; pip install {name}, or leave {name} out"
    assert not (tmp_path / "run").exists()


def test_settings_are_told_without_the_folders_around_them():
    config = config_of(Path("/home/joe/output/view"), "wandb", OOD_FILE="near.txt,/data/mercy hospital/far.txt")
    config.MODEL.RESUME, config.DATA.ROOT, config.DATA.TRAIN_FILE = "~/best.pth", "data/mine/", "../a/train.txt"
    told = shareable(config)
    assert (told["OUTPUT"], told["MODEL.RESUME"], told["DATA.ROOT"]) == ("view", "best.pth", "data/mine/")
    assert (told["DATA.OOD_FILE"], told["DATA.TRAIN_FILE"]) == ("near.txt,far.txt", "train.txt")
    assert (told["LOG.BACKENDS"], told["TRAIN.LR"]) == ("wandb", config.TRAIN.LR)


def events(folder: Path) -> list[tuple[int, float]]:
    """Steps and losses in TensorBoard's files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return [(event.step, round(event.value, 4)) for event in found.Scalars("train/loss")]


def test_tensorboard_shows_each_step_once(tmp_path):
    lose_after(tmp_path, range(5), ["tensorboard"])
    go_on(tmp_path, 2, ["tensorboard"])
    go_on(tmp_path / "new", 3, ["tensorboard"], source=tmp_path, same=False)
    for folder in (tmp_path, tmp_path / "new"):
        assert events(folder) == [(0, 1.0), (2, 0.5), (4, 0.25), (6, 0.2)]


def test_nothing_is_left_of_a_tracker_that_is_not_asked_for(tmp_path):
    log = MetricsLog(tmp_path)
    with log.followed(config_of(tmp_path)):
        write(log, range(5))
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def lines_of_mlflow(folder: Path) -> tuple[list[dict], list[tuple[int, float]]]:
    """The runs in a run's own database, as dicts, and steps and losses of the first."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("echoviewclip").experiment_id])
    points = client.get_metric_history(runs[0].info.run_id, "train/loss")
    return [run.to_dictionary() for run in runs], [(point.step, round(point.value, 4)) for point in points]


@pytest.fixture
def patient(monkeypatch) -> None:
    """A busy machine is no fault of a tracker."""
    monkeypatch.setattr(follow, "PATIENCE", 500.0)


@pytest.mark.slow
def test_mlflow_holds_one_run_with_all_lines(tmp_path, patient):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    lose_after(tmp_path, range(4), ["mlflow"])
    go_on(tmp_path, 2, ["mlflow"])
    runs, points = lines_of_mlflow(tmp_path)
    assert points == [(0, 1.0), (2, 0.5), (4, 0.25), (6, 0.2)]
    assert len(runs) == 1 and runs[0]["info"]["status"] == "FINISHED"
    assert runs[0]["data"]["params"]["TRAIN.LR"] == "8e-06" and runs[0]["info"]["run_name"] == tmp_path.name
    assert_private(tmp_path / "mlflow", tmp_path)
    remove_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_wandb_holds_one_run_with_all_lines(tmp_path, patient):
    pytest.importorskip("wandb")
    lose_after(tmp_path, range(4), ["wandb"])
    go_on(tmp_path, 2, ["wandb"])
    parts = [history_of(file) for file in sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))]
    name = json.loads((tmp_path / "trackers.json").read_text())["wandb"]
    assert [part.name for part in parts] == [name, name]
    assert parts[-1].name == name and [row["_step"] for row in parts[-1].rows] == [0, 1, 2, 3, 4]
    assert [(row["step"], row.get("train/loss")) for row in parts[-1].rows] == [
        *((0, 1.0), (2, 0.5), (2, None), (4, 0.25), (6, 0.2))
    ]
    for file in tmp_path.glob("wandb/offline-run-*/*.wandb"):
        assert_private(file, tmp_path)
    remove_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def assert_private(place: Path, folder: Path) -> None:
    """No folder, user or machine is named in what a tracker holds."""
    for file in [place] if place.is_file() else place.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        for word in (str(folder), str(Path.cwd()), str(Path.home()), f"{getpass.getuser()}@", socket.getfqdn()):
            assert len(word) < 5 or word.encode() not in content, f"{word} in {file}"


@pytest.mark.slow
def test_a_training_that_is_killed_and_resumed_is_one_run_everywhere(tiny_folder, tmp_path, patient):
    for module in ("wandb", "mlflow", "sqlalchemy"):
        pytest.importorskip(module)
    run = tmp_path / "run"
    settings = {"TRAIN__AUTO_RESUME": True, "TRAIN__SAVE_STEPS": 2, "TRAIN__EPOCHS": 2, "SAVE_FREQ": 0}
    settings |= {"LOG__BACKENDS": "[tensorboard, wandb, mlflow]"}
    options = [str(word) for pair in tiny_options(tiny_folder, run, **settings) for word in pair]
    # Neither a fork nor this environment: programs would share the library's own process with this one.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    command = [sys.executable, "main.py", "-cfg", "configs/phantom/view.yaml", "--opts", *options]
    with (tmp_path / "log.txt").open("w") as log:
        program = subprocess.Popen(command, cwd=ROOT, env=alone, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 300
        while not ((run / "last.pth").is_file() and (run / "mlflow" / "mlflow.db").is_file()):
            assert time.monotonic() < until and program.poll() is None, (tmp_path / "log.txt").read_text()
        os.killpg(program.pid, signal.SIGKILL)
        program.wait(60)
        done = subprocess.run(command, cwd=ROOT, env=alone, stdout=log, stderr=log, timeout=400)
    assert done.returncode == 0, (tmp_path / "log.txt").read_text()

    lines = [Line.of(number, record) for number, record in enumerate(history(run))]
    losses = [(line.step, round(line.values["train/loss"], 4)) for line in lines if "train/loss" in line.values]
    assert len(losses) == 10
    runs, points = lines_of_mlflow(run)
    assert len(runs) == 1 and points == losses
    assert events(run) == losses
    part = history_of(max(run.glob("wandb/offline-run-*/*.wandb")))
    assert [row["_step"] for row in part.rows] == list(range(len(lines)))
    assert [(row["step"], round(row["train/loss"], 4)) for row in part.rows if "train/loss" in row] == losses
