"""The command that a training names at its end: pasted, it works."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from echoviewclip import main, predict
from echoviewclip.trainers.next_step import Call, next_command
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import exit_code
from tests.tiny_data import STAGES, tiny_options, undisturbed_logging


@pytest.fixture
def pasted(monkeypatch):
    """Runs a command of main.py in this process, and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["main.py"])

    def run(command: str) -> int:
        interpreter, program, *arguments = shlex.split(command)
        assert Path(interpreter).name.startswith("python") and Path(program).samefile("main.py")
        monkeypatch.setattr(sys, "argv", ["main.py", *arguments])
        with undisturbed_logging():
            return exit_code(main.main)

    return run


def last_lines(run: Path) -> dict[str, str]:
    """The closing lines of a log by their first word."""
    lines = re.findall(r"^\S+ \S+ I (checkpoint|figures|time taken|next)  +(.*)$", (run / "log.txt").read_text(), re.M)
    return dict(lines[-4:])


def test_the_chain_of_commands_leads_from_stage_1_to_the_evaluation(tiny_folder, tmp_path, pasted):
    """What the user set for stage 1 goes along where it is of the data, the model, the machine."""
    data = Path(shutil.copytree(tiny_folder, tmp_path / "data of mine"))
    shutil.copy(data / "val.txt", data / "test.txt")
    options = tiny_options(data, tmp_path / "view", DATA__VAL_FILE="val.txt", TRAIN__LR_SCHEDULER="constant")
    first = shlex.join(
        ["python", "main.py", "-cfg", "configs/phantom/view.yaml", "--opts", *map(str, sum(options, ()))]
    )
    assert pasted(first) == 0
    told = last_lines(tmp_path / "view")
    assert re.fullmatch(rf"{tmp_path}/view/best.pth: top1 [01]\.\d{{4}} after epoch 1", told["checkpoint"])
    assert told["figures"].startswith("after the last epoch: Top-1 accuracy ")
    assert told["figures"].endswith(f"; {tmp_path}/view/report.html")
    assert re.fullmatch(r"0:\d\d:\d\d", told["time taken"])
    assert f"OUTPUT {tmp_path}/negation " in told["next"] and "LR_SCHEDULER" not in told["next"]

    assert pasted(told["next"] + " TRAIN.EPOCHS 1") == 0
    told = last_lines(tmp_path / "negation")
    assert " --only_test " in told["next"]
    assert pasted(told["next"]) == 0
    assert (tmp_path / "negation/evaluation/test/metrics.json").is_file()
    assert "next  " not in (tmp_path / "negation/evaluation/test/log.txt").read_text()


@pytest.fixture
def call(tiny_folder, tiny_runs):
    """How the run of a stage might have been called."""
    keys = ("OUTPUT", "DATA.ROOT", "DATA.LABEL_LIST", "DATA.NUM_CLASSES", "DATA.TRAIN_FILE", "DATA.VAL_FILE")

    def made(stage: str) -> Call:
        options = tiny_options(tiny_folder, tiny_runs[stage], stage)
        return Call(f"configs/phantom/{stage}.yaml", [(key, value) for key, value in options if key in keys])

    return made


def test_without_a_test_list_stage_quality_comes_after_negation(tiny_runs, call, monkeypatch):
    """Its lists are those of its own file, where they have grades."""
    config = load_config(tiny_runs["negation"] / "config.yaml")
    given = call("negation")
    # Neither train.csv of the phantom's file is there, nor are there grades in the lists that were given.
    assert "predict.py " in next_command(config, given)
    graded = [(key, f"quality_{value}" if key.endswith("_FILE") else value) for key, value in given.changes]
    words = shlex.split(next_command(config, Call(given.file, graded)))
    monkeypatch.setattr(sys, "argv", words[1:])
    parsed = main.parse()
    assert parsed.cfg == "configs/phantom/quality.yaml"
    settings = dict(parsed.changes)
    assert settings["MODEL.RESUME"] == str(tiny_runs["negation"] / "best.pth")
    # The folder beside holds the run of stage quality.
    assert settings["OUTPUT"] == str(tiny_runs["quality"].with_name("quality-2"))


def test_predictions_come_after_quality(tiny_folder, tiny_runs, call):
    config = load_config(tiny_runs["quality"] / "config.yaml")
    _, program, *arguments = shlex.split(next_command(config, call("quality")))
    assert Path(program).samefile("predict.py")
    given = predict.parse(arguments)
    assert given.paths == [str(tiny_folder / "videos")] and given.resume == str(tiny_runs["quality"] / "best.pth")


def test_a_file_without_others_beside_it_gives_stage_2_by_its_own_settings(tiny_runs, tmp_path, monkeypatch):
    file = shutil.copy(tiny_runs["view"] / "config.yaml", tmp_path / "mine.yaml")
    config = load_config(file)
    monkeypatch.setattr(sys, "argv", shlex.split(next_command(config, Call(str(file))))[1:])
    given = main.parse()
    grown = load_config(given.cfg, given.changes)
    assert given.cfg == str(tiny_runs["view"] / "config.yaml") and grown.STAGE == "negation"
    assert grown.DATA == config.DATA and str(tiny_runs["view"].with_name("negation-2")) == grown.OUTPUT


@pytest.mark.parametrize("stage", STAGES)
def test_data_that_has_gone_gives_no_command(tiny_runs, call, stage):
    config = load_config(tiny_runs[stage] / "config.yaml", [("DATA.ROOT", "nowhere")])
    assert next_command(config, Call(call(stage).file, [("DATA.ROOT", "nowhere")])) == ""


def test_a_script_that_was_called_from_another_folder_says_to_go_to_its_own(tiny_runs, call, tmp_path, monkeypatch):
    config = load_config(tiny_runs["quality"] / "config.yaml")
    here = next_command(config, call("quality"))
    tell = "import os; print(os.environ.get('STARTED_IN', ''), '--default-cfg' in os.sys.argv)"
    stub = tmp_path / "python"  # in place of the interpreter that runs main.py
    stub.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -c "{tell}" "$@"\n')
    stub.chmod(0o755)
    script = Path("train_qc.sh").resolve()
    environment = os.environ | {"PYTHON": str(stub), "GPUS": "1"}
    for folder, said in ((tmp_path, str(tmp_path)), (Path.cwd(), "")):
        ran = subprocess.run(["bash", script], cwd=folder, env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout == f"{said} True\n"
    monkeypatch.setenv("STARTED_IN", str(tmp_path))
    assert next_command(config, call("quality")) == f"cd {shlex.quote(os.getcwd())} && {here}"


def test_processes_and_installed_commands_are_started_as_they_were(tiny_runs, call, monkeypatch):
    config = load_config(tiny_runs["quality"] / "config.yaml")
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/echoview-train"])
    assert next_command(config, call("quality")).startswith("echoview-predict ")
    monkeypatch.setattr("echoviewclip.trainers.next_step.world", lambda: 2)
    config = load_config(tiny_runs["view"] / "config.yaml")
    command = next_command(config, call("view"))
    assert re.match(r"PYTHONPATH=\S*src \S*python\S* -m echoviewclip.utils.launch 2 \S*main.py -cfg ", command)
