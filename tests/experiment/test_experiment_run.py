"""Running an experiment: the order of its steps, what is left alone, folds by patient, and the page at the end."""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from echoviewclip.experiment import chain
from echoviewclip.experiment.choices import choose
from echoviewclip.experiment.fingerprint import Machine, look_at
from echoviewclip.experiment.folds import write_folds
from echoviewclip.experiment.page import write_page
from echoviewclip.experiment.stage_files import write_stage_files
from echoviewclip.experiment.steps import all_steps, experiment_folder, stage_files
from echoviewclip.tools import run
from echoviewclip.trainers.folder import results_folder
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import UserError, exit_code
from tests.synthetic_run import make_predictions, make_run
from tests.tiny_data import TRAINING, VALIDATION, VIEWS

PATIENTS = 6
EVERYTHING = (
    "view",
    "view/evaluation/test",
    "negation",
    "negation/evaluation/test",
    "quality",
    "quality/evaluation/quality_val",
)


@pytest.fixture
def mine(tiny_folder, tmp_path):
    """The files of an experiment on the tiny videos, with a test list and patients in CSV lists."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copytree(tiny_folder / "videos", data / "videos")
    (data / "labels.csv").write_text((tiny_folder / "labels.csv").read_text())
    for start, column in (("", "label"), ("quality_", "quality")):
        for name in ("train", "val"):
            lines = [line.rsplit(" ", 1) for line in (tiny_folder / f"{start}{name}.txt").read_text().splitlines()]
            rows = [f"{path},P{int(path.split()[1][:-4]) % PATIENTS},{label}" for path, label in lines]
            (data / f"{start}{name}.csv").write_text("\n".join([f"path,patient,{column}", *rows, ""]))
    (data / "test.csv").write_text((data / "val.csv").read_text())
    stages = choose(look_at(data, Machine("CPU", 16.0, 0, 2)), "tiny", str(tmp_path / "output"))
    write_stage_files(tmp_path / "mine", stages, ["nine videos"])
    return tmp_path / "mine"


@pytest.fixture
def trained(monkeypatch):
    """Calls of main.py, which are made up in a moment; a folder in `fails` ends with the code that it holds."""
    calls, fails = [], {}
    small = make_predictions(inside=30, outside=5)

    def call(command):
        options = command[command.index("--opts") + 1 :]
        config = load_config(command[command.index("-cfg") + 1], list(zip(options[::2], options[1::2], strict=True)))
        calls.append(config)
        code = fails.pop(Path(config.OUTPUT).name, 0)
        if not code:
            make_run(results_folder(config), small, draws=20)
            (Path(config.OUTPUT) / "best.pth").touch()
        return code

    monkeypatch.setattr(chain, "call", call)
    monkeypatch.setenv("GPUS", "1")
    return calls, fails


def go(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
    return exit_code(run.main)


def outputs(calls, root: Path) -> list[str]:
    return [os.path.relpath(results_folder(config), root) for config in calls]


def test_stages_and_their_evaluations_run_in_order(mine, trained, monkeypatch, tmp_path, capsys):
    calls, _ = trained
    assert go(monkeypatch, mine) == 0
    root = tmp_path / "output"
    assert outputs(calls, root) == [*EVERYTHING]
    assert [config.TEST.ONLY_TEST for config in calls] == [False, True] * 3
    assert [Path(config.DATA.VAL_FILE).name for config in calls[1::2]] == ["test.csv", "test.csv", "quality_val.csv"]
    assert all(config.TRAIN.AUTO_RESUME for config in calls[::2])
    resumed = [os.path.relpath(config.MODEL.RESUME, root) for config in calls[1:]]
    assert resumed == [f"{stage}/best.pth" for stage in ("view", "view", "negation", "negation", "quality")]
    assert capsys.readouterr().out.splitlines()[-1] == str(root / "index.html")


def test_what_is_finished_is_left_alone_and_what_stopped_goes_on(mine, trained, monkeypatch, tmp_path, capsys):
    calls, fails = trained
    fails["negation"] = 137
    assert go(monkeypatch, mine) == 137
    assert outputs(calls, tmp_path / "output") == [*EVERYTHING[:3]]
    assert (tmp_path / "output/index.html").is_file()  # what there is so far
    calls.clear()
    assert go(monkeypatch, mine) == 0
    assert outputs(calls, tmp_path / "output") == [*EVERYTHING[2:]]
    calls.clear()
    assert go(monkeypatch, mine) == 0
    assert calls == []
    assert "6/6  stage 3, quality: evaluation is finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda mine, data: (["--opts", "TRAIN.LR", "0.1"]), "configuration"),
        (lambda mine, data: (data / "train.csv").open("a").write("near 0.avi,P9,0\n") and [], "DATA.TRAIN_FILE"),
    ],
)
def test_a_training_of_other_settings_or_lists_is_not_taken_for_this_one(
    mine, trained, monkeypatch, capsys, change, what
):
    assert go(monkeypatch, mine) == 0
    assert go(monkeypatch, mine, *change(mine, mine.parent / "data")) == 2
    assert f"output/view: was trained with another {what}; remove the folder" in capsys.readouterr().err


def test_another_test_list_is_evaluated_again(mine, trained, monkeypatch, tmp_path):
    calls, _ = trained
    assert go(monkeypatch, mine) == 0
    calls.clear()
    (tmp_path / "data/test.csv").write_text("path,label\nclip 0.avi,0\n")
    assert go(monkeypatch, mine) == 0
    assert outputs(calls, tmp_path / "output") == [EVERYTHING[1], EVERYTHING[3]]


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_each_patient_is_held_out_in_one_fold_of_all_stages(mine, tmp_path):
    configs = [load_config(file) for file in stage_files(mine).values()]
    folds = write_folds(configs, tmp_path / "output", 3)
    for start, column in (("", "label"), ("quality_", "quality")):
        held_out = [{row["patient"] for row in rows(fold.folder / f"{start}val.csv")} for fold in folds]
        assert [len(patients) for patients in held_out] == [2, 2, 2]
        assert set.union(*held_out) == {f"P{k}" for k in range(PATIENTS)}
        for fold, patients in zip(folds, held_out, strict=True):
            training = rows(fold.folder / f"{start}train.csv")
            assert not patients & {row["patient"] for row in training}
            assert len(training) + len(rows(fold.folder / f"{start}val.csv")) == TRAINING + VALIDATION
            assert all(row[column] for row in training)
            if start:
                assert patients == {row["patient"] for row in rows(fold.folder / "val.csv")}
    assert {row["label"] for row in rows(folds[0].folder / "train.csv")} == set(VIEWS)
    assert "P1" not in (tmp_path / "output/folds.json").read_text()


def test_a_patient_that_is_added_moves_no_other(mine, tmp_path):
    configs = [load_config(file) for file in stage_files(mine).values()]
    fold_of = lambda folds: {row["patient"]: fold.number for fold in folds for row in rows(fold.folder / "val.csv")}  # noqa: E731
    before = fold_of(write_folds(configs, tmp_path / "output", 3))
    with (tmp_path / "data/train.csv").open("a") as lines:
        lines.write("near 0.avi,P-new,0\nnear 1.avi,P-other,0\n")
    after = fold_of(write_folds(configs, tmp_path / "output", 3))
    assert {patient: after[patient] for patient in before} == before and len(after) == PATIENTS + 2
    with pytest.raises(UserError, match=r"folds.json: has other --folds or another SEED"):
        write_folds(configs, tmp_path / "output", 4)


def test_folds_train_on_their_lists_and_count_their_last_checkpoint(mine, trained, monkeypatch, tmp_path):
    calls, _ = trained
    assert go(monkeypatch, mine, "--folds", 3, "--fold", 2) == 0
    assert go(monkeypatch, mine, "--folds", 3) == 0
    root = tmp_path / "output"
    stages = ("view", "negation", "quality")
    assert outputs(calls, root) == [f"fold{k}/{stage}" for k in (2, 1, 3) for stage in stages]
    for config in calls[:3]:
        start = "quality_" if config.STAGE == "quality" else ""
        assert str(root / f"fold2/{start}train.csv") == config.DATA.TRAIN_FILE
        assert str(root / f"fold2/{start}val.csv") == config.DATA.VAL_FILE
        assert config.EVAL_FREQ == config.TRAIN.EPOCHS
    assert str(root / "fold2/view/last.pth") == calls[1].MODEL.RESUME
    page = (root / "index.html").read_text()
    assert "Cross-validation by patient" in page and "fold3/quality/report.html" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folds", "1"], "--folds must be at least 2, found 1"),
        (["--folds", "3", "--fold", "4"], "--fold K takes a part from 1 to N of --folds N, found 4"),
        (["--fold", "1"], "--fold K takes a part from 1 to N"),
        (["--folds", "17"], "6 patients cannot be split into 17 sets"),
        (["--opts", "A"], "--opts takes pairs of KEY VALUE; 'A' stands alone"),
    ],
)
def test_mistakes_are_one_line(mine, monkeypatch, capsys, arguments, message):
    assert go(monkeypatch, mine, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_files_is_named(tmp_path, monkeypatch, capsys):
    assert go(monkeypatch, tmp_path) == 2
    assert "view.yaml: no such file; tools/new.py writes the files of an experiment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("signal.signal(15, lambda *_: sys.exit(75)); os.kill(os.getppid(), 15); signal.pause()", 75),
        ("os.kill(os.getppid(), 2); sys.exit(130)", 130),  # an interruption: this process waits for the training
        ("os.kill(os.getpid(), 9)", 137),
        ("pass", 0),
    ],
)
def test_a_training_that_is_asked_to_stop_ends_in_its_own_time(script, code):
    assert chain.call([sys.executable, "-c", f"import os, signal, sys; {script}"]) == code


def test_all_gpus_are_used(monkeypatch, mine):
    (step, *_) = all_steps(mine, [])
    monkeypatch.setenv("GPUS", "4")
    assert chain.command(step)[1:4] == ["-m", "echoviewclip.utils.launch", "4"]
    monkeypatch.setenv("GPUS", "1")
    assert chain.command(step)[1].endswith("main.py")


def test_every_link_of_the_page_leads_somewhere_and_nothing_is_loaded(mine, trained, monkeypatch, tmp_path):
    calls, _ = trained
    assert go(monkeypatch, mine) == 0
    for config in calls:
        for name in ("report.html", "log.txt"):
            (results_folder(config) / name).touch()
    root = experiment_folder(mine)
    page = write_page(mine, root, all_steps(mine, []), []).read_text()
    links = re.findall(r'href="([^"#]+)"', page)
    assert len(links) == 12 and all((root / link).is_file() for link in links)
    assert not re.findall(r"(src|@import|url)\s*[=(]", page)
    assert "nine videos" in page and "on the test list" in page and str(tmp_path) not in page.split("predict.py")[0]


def test_a_page_of_a_run_that_was_stopped_says_how_far_it_came(mine, tmp_path):
    folder = tmp_path / "output/view"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"epoch": 3, "step": 9, "train": {"loss": 1.0}}\n{"epoch": 3, "st')
    page = write_page(mine, tmp_path / "output", all_steps(mine, []), []).read_text()
    assert "Stopped in training, epoch 4 of" in page and page.count("not begun") == 2
