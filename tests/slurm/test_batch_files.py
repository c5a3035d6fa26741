"""The batch files with a stub in Slurm's place: its environment variables, its signals, and `scontrol`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from echoviewclip.utils.nodes import Nodes, port_of

ROOT = Path(__file__).parents[2]


def write_program(file: Path, text: str) -> Path:
    file.write_text("#!/usr/bin/env bash\n" + text)
    file.chmod(0o755)
    return file


@pytest.fixture
def train(tmp_path):
    """Starts train.sbatch with a script in place of a stage's, and a `scontrol` that notes what it is asked for."""
    write_program(tmp_path / "scontrol", f'echo "$@" >>{tmp_path}/asked\n')
    write_program(tmp_path / "srun", SRUN)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "4711"}

    def start(script: str, *arguments: str, **variables: str) -> subprocess.Popen:
        stage = write_program(tmp_path / "stage.sh", script)
        command = ["bash", ROOT / "slurm" / "train.sbatch", stage, *arguments]
        return subprocess.Popen(command, env=environment | variables, stdout=subprocess.PIPE, text=True)

    return start


# In srun's place: a task for each node, to which it passes signals on, and whose highest exit code is its own.
SRUN = """
echo "srun ${@:1:3}"
shift 3
tasks=()
trap 'kill -USR1 $(jobs -pr)' USR1
trap 'kill -TERM $(jobs -pr)' TERM
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do
  SLURM_STEP_ID=0 SLURM_NNODES=$SLURM_JOB_NUM_NODES SLURM_NODEID=$node SLURM_NTASKS=$SLURM_JOB_NUM_NODES "$@" &
  tasks+=($!)
done
highest=0
for task in "${tasks[@]}"; do
  code=129
  while [ $code -gt 128 ]; do # a signal ends `wait` before the task has ended
    wait "$task"
    code=$?
  done
  [ $code -gt $highest ] && highest=$code
done
exit $highest
"""


def test_on_several_nodes_a_task_runs_on_each(train):
    job = train('echo "$SLURM_NODEID of $SLURM_NNODES: $@ to $RANK_LOGS"', "--output", "out", **TWO_NODES)
    first, *tasks = job.communicate()[0].splitlines()
    assert first == "srun --ntasks-per-node=1 --cpus-per-task=6 --kill-on-bad-exit=0"
    said = "--output out --opts TRAIN.AUTO_RESUME True to slurm-4711"
    assert sorted(tasks) == [f"0 of 2: {said}", f"1 of 2: {said}"]


def test_what_slurm_says_of_its_nodes_is_what_the_launcher_reads(train):
    program = f"cd {ROOT}; PYTHONPATH=src {sys.executable} -c 'import os; from echoviewclip.utils.nodes import *; "
    job = train(program + 'os.write(1, f"{Nodes.of(os.environ)}\\n".encode())\'', **TWO_NODES)
    nodes = [Nodes(2, number, "gpu07", port_of("4711")) for number in (0, 1)]
    assert sorted(job.communicate()[0].splitlines()[1:]) == list(map(str, nodes))


TWO_NODES = {"SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "6", "SLURM_JOB_NODELIST": "gpu[07,09]"}


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


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_reaches_the_run_which_has_time_to_save(train, tmp_path, number, nodes):
    name = number.name.removeprefix("SIG")
    # No `read -t`: when its time is over it ends a trap that runs within it.
    script = f"trap 'sleep 0.2; echo saved; exit 75' {name}\necho ready\nwhile :; do sleep 0.05; done\n"
    job = train(script, **(TWO_NODES if nodes == 2 else {}))
    ready = [job.stdout.readline() for _ in range(nodes + (nodes > 1))]  # srun says how it was called
    assert ready[-nodes:] == ["ready\n"] * nodes
    job.send_signal(number)
    assert job.communicate(timeout=60)[0] == "saved\n" * nodes and job.returncode == 0
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"


@pytest.fixture
def predict(tmp_path):
    """Starts predict.sbatch as task 3 of the array 4700, with a script in Python's place, and the same `scontrol`."""
    write_program(tmp_path / "scontrol", f'echo "$@" >>{tmp_path}/asked\n')
    array = {"SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16"}
    environment = os.environ | array | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "4700"}

    def start(script: str, *arguments: str) -> subprocess.Popen:
        python = write_program(tmp_path / "python", script)
        command = ["bash", ROOT / "slurm" / "predict.sbatch", *arguments]
        return subprocess.Popen(command, env=environment | {"PYTHON": python}, stdout=subprocess.PIPE, text=True)

    return start


def test_a_task_of_an_array_answers_its_share(predict):
    said = predict('echo "$@"\n', "study/", "--resume", "best.pth").communicate()[0]
    assert said == "predict.py --part 3/16 study/ --resume best.pth\n"


@pytest.mark.parametrize("end", ["exit 75", "kill -USR1 $$", "kill -TERM $$"])  # it may not listen yet
def test_a_task_that_was_stopped_is_queued_again_and_no_other(predict, tmp_path, end):
    assert predict(f"{end}\n").wait() == 0
    assert (tmp_path / "asked").read_text() == "requeue 4700_3\n"


@pytest.mark.parametrize("code", [0, 1, 2, 137])
def test_another_end_is_the_task_s(predict, tmp_path, code):
    assert predict(f"exit {code}\n").wait() == code
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_reaches_the_prediction_which_has_time_to_stop(predict, tmp_path, number):
    name = number.name.removeprefix("SIG")
    job = predict(f"trap 'sleep 0.2; echo stopped; exit 75' {name}\necho ready\nwhile :; do sleep 0.05; done\n")
    assert job.stdout.readline() == "ready\n"
    job.send_signal(number)
    assert job.communicate(timeout=60)[0] == "stopped\n" and job.returncode == 0
    assert (tmp_path / "asked").read_text() == "requeue 4700_3\n"


def test_a_task_outside_of_an_array_is_refused(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    command = ["bash", ROOT / "slurm" / "predict.sbatch", "study/"]
    done = subprocess.run(command, env=environment | {"PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode != 0 and "--array=1-16" in done.stderr
