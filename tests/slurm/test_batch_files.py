"""The batch files with a stub in Slurm's place: its environment variables, its signals, and `scontrol`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def write_program(file: Path, text: str) -> Path:
    file.write_text("#!/usr/bin/env bash\n" + text)
    file.chmod(0o755)
    return file


@pytest.fixture
def train(tmp_path):
    """Starts train.sbatch with a script in place of a stage's, and a `scontrol` that notes what it is asked for."""
    write_program(tmp_path / "scontrol", f'echo "$@" >>{tmp_path}/asked\n')
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "4711"}

    def start(script: str, *arguments: str) -> subprocess.Popen:
        stage = write_program(tmp_path / "stage.sh", script)
        command = ["bash", ROOT / "slurm" / "train.sbatch", stage, *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    return start


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "--opts TRAIN.AUTO_RESUME True"),
        (["--output", "out"], "--output out --opts TRAIN.AUTO_RESUME True"),
        (["--opts", "SEED", "1"], "--opts SEED 1 TRAIN.AUTO_RESUME True"),
    ],
)
def test_a_run_resumes_by_itself(train, given, expected):
    assert train('echo "$@"\n', *given).communicate()[0].strip() == expected


def test_a_run_that_was_stopped_is_queued_again(train, tmp_path):
    assert train("exit 75\n").wait() == 0
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"


@pytest.mark.parametrize("code", [0, 1, 2])
def test_another_end_is_the_job_s(train, tmp_path, code):
    assert train(f"exit {code}\n").wait() == code
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_reaches_the_run_which_has_time_to_save(train, tmp_path, number):
    name = number.name.removeprefix("SIG")
    script = (
        f"trap 'sleep 0.2; echo saved; exit 75' {name}\necho ready\nwhile :; do read -t 0.05 <> <(:) || true; done\n"
    )
    job = train(script)
    assert job.stdout.readline() == "ready\n"
    job.send_signal(number)
    assert job.communicate()[0] == "saved\n" and job.returncode == 0
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"


def test_a_task_of_an_array_answers_its_share(tmp_path):
    python = write_program(tmp_path / "python", 'echo "$@"\n')
    environment = os.environ | {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16", "PYTHON": str(python)}
    command = ["bash", ROOT / "slurm" / "predict.sbatch", "study/", "--resume", "best.pth"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "predict.py --part 3/16 study/ --resume best.pth\n"


def test_a_task_outside_of_an_array_is_refused(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    command = ["bash", ROOT / "slurm" / "predict.sbatch", "study/"]
    done = subprocess.run(command, env=environment | {"PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode != 0 and "--array=1-16" in done.stderr
