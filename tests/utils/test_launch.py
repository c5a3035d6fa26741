"""The three scripts: their configuration, all GPUs or the CPU, and every argument passed on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_data import without_provenance

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "train_stage1.sh": "configs/ultracls/view.yaml",
    "train_stage2.sh": "configs/ultracls/negation.yaml",
    "train_qc.sh": "configs/ultracls/quality.yaml",
}


def launched(script: str, *arguments: str, folder: Path, gpus_there: int = 0, **environment: str) -> list[str]:
    """The words with which the script calls Python, an interpreter that only prints them standing in."""
    python = folder / "python"
    python.write_text(
        f'#!/usr/bin/env bash\n[ "$1" = -c ] && echo {gpus_there} && exit\necho "in $PWD"\nprintf "%s\\n" "$@"\n'
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / script), *arguments],
        cwd=folder,
        env=alone() | {"PYTHON": str(python)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    where, *words = done.stdout.splitlines()
    assert where == f"in {ROOT}"  # wherever it is called from
    return words


@pytest.mark.parametrize(("script", "file"), SCRIPTS.items())
def test_every_argument_is_passed_on_as_it_is(script, file, tmp_path):
    arguments = ["--only_test", "--resume", "a b/last.pth", "--opts", "MODEL.PRETRAINED", ""]
    assert launched(script, *arguments, folder=tmp_path) == ["main.py", "--default-cfg", file, *arguments]
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("script", SCRIPTS)
def test_another_configuration_can_be_named(script, tmp_path):
    assert launched(script, folder=tmp_path, CFG="a b.yaml") == ["main.py", "-cfg", "a b.yaml"]


def test_several_gpus_are_all_used_unless_fewer_are_asked_for(tmp_path):
    def several(count: int) -> list[str]:
        launcher = ["-m", "echoviewclip.utils.launch", str(count)]
        return [*launcher, "main.py", "--default-cfg", SCRIPTS["train_qc.sh"], "--only_test"]

    assert launched("train_qc.sh", "--only_test", folder=tmp_path, gpus_there=4) == several(4)
    assert launched("train_qc.sh", "--only_test", folder=tmp_path, gpus_there=4, GPUS="2") == several(2)
    alone = launched("train_qc.sh", "--only_test", folder=tmp_path, gpus_there=4, GPUS="1")
    assert alone == ["main.py", "--default-cfg", SCRIPTS["train_qc.sh"], "--only_test"]


@pytest.mark.parametrize(
    "environment",
    [
        {"NNODES": "2", "NODE_RANK": "1", "RDZV_ENDPOINT": "here:1"},
        {"SLURM_NNODES": "2", "SLURM_NODEID": "1"},
        {"SLURM_JOB_NUM_NODES": "2", "SLURM_NODEID": "1"},
        {"NODE_RANK": "1"},
    ],
)
@pytest.mark.parametrize(("gpus", "processes"), [(0, "1"), (1, "1"), (8, "8")])
def test_on_several_machines_the_launcher_starts_one_process_too(tmp_path, environment, gpus, processes):
    words = launched("train_stage1.sh", folder=tmp_path, gpus_there=gpus, **environment)
    assert words[:4] == ["-m", "echoviewclip.utils.launch", processes, "main.py"]


@pytest.mark.parametrize("environment", [{"NNODES": "1"}, {"SLURM_NNODES": "1"}, {"NNODES": "1", "SLURM_NNODES": "4"}])
def test_one_machine_is_as_ever(tmp_path, environment):
    assert launched("train_stage1.sh", folder=tmp_path, **environment)[0] == "main.py"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NODE_RANK": "1"}, "NODE_RANK is '1', but NNODES is missing; set it, or neither"),
        ({"NNODES": "2"}, "NNODES is 2, but NODE_RANK is missing: on each node its number, 0 to 1"),
        ({"NNODES": "2", "NODE_RANK": "0"}, "RDZV_ENDPOINT is missing: HOST:PORT of node 0, the same on all nodes"),
    ],
)
def test_machines_that_are_not_all_named_are_one_line_and_exit_code_2(environment, message):
    start = ["bash", "train_stage1.sh"]
    given = {**alone(), "PYTHON": sys.executable, "GPUS": "1", **environment}
    done = subprocess.run(start, env=given, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


def alone() -> dict[str, str]:
    """The environment without what names machines or how to start on them."""
    own = ("GPUS", "CFG", "NNODES", "NODE_RANK", "RDZV_ENDPOINT")
    return {key: value for key, value in os.environ.items() if key not in own and not key.startswith("SLURM")}


def several_fail(folder: Path, body: str) -> subprocess.CompletedProcess:
    """Three processes of a script whose `main` is `body`, through the launcher."""
    script = folder / "script.py"
    script.write_text(
        "import os\nfrom echoviewclip.utils.errors import UserError, exit_code\nRANK = int(os.environ['RANK'])\n"
        f"def main():\n    {body}\nraise SystemExit(exit_code(main))\n"
    )
    start = [sys.executable, "-m", "echoviewclip.utils.launch", "3", str(script)]
    return subprocess.run(start, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    "body",
    ["raise UserError('DATA.ROOT: “x” is missing')", "if RANK == 2: raise UserError('DATA.ROOT: “x” is missing')"],
)
def test_a_mistake_of_several_processes_is_one_line_and_exit_code_2(body, tmp_path):
    done = several_fail(tmp_path, body)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: DATA.ROOT: “x” is missing\n")


def test_a_fault_of_one_of_several_processes_keeps_its_traceback(tmp_path):
    done = several_fail(tmp_path, "if RANK == 1: raise ZeroDivisionError('by hand')")
    assert done.returncode == 1
    assert "ZeroDivisionError: by hand" in done.stderr
    assert done.stderr.endswith("error: process 1 ended with an error\n")


def test_several_processes_that_end_well_say_nothing(tmp_path):
    done = several_fail(tmp_path, "return 0")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_checkpoint_is_evaluated_through_the_script(tiny_runs, tmp_path):
    """With the lists and settings of its own run, whatever the script's configuration names."""
    run = tiny_runs["view"]
    done = subprocess.run(
        ["bash", "train_stage1.sh", "--only_test", "--resume", str(run / "last.pth"), "--output", str(tmp_path)],
        env={k: v for k, v in os.environ.items() if k != "CFG"} | {"PYTHON": sys.executable, "GPUS": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    test = tmp_path / "evaluation" / "val"
    assert without_provenance(test / "metrics.json") == without_provenance(run / "metrics.json")
    assert (test / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
