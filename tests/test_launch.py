"""The three scripts: their configuration, all GPUs or the CPU, and every argument passed on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
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
    inherited = {key: value for key, value in os.environ.items() if key not in ("GPUS", "CFG")}
    done = subprocess.run(
        ["bash", str(ROOT / script), *arguments],
        cwd=folder,
        env=inherited | {"PYTHON": str(python)} | environment,
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
    assert launched(script, *arguments, folder=tmp_path) == ["main.py", "-cfg", file, *arguments]
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("script", SCRIPTS)
def test_another_configuration_can_be_named(script, tmp_path):
    assert launched(script, folder=tmp_path, CFG="a b.yaml") == ["main.py", "-cfg", "a b.yaml"]


def test_several_gpus_are_all_used_unless_fewer_are_asked_for(tmp_path):
    def torchrun(count: int) -> list[str]:
        start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
        return [*start, "main.py", "-cfg", SCRIPTS["train_qc.sh"], "--only_test"]

    assert launched("train_qc.sh", "--only_test", folder=tmp_path, gpus_there=4) == torchrun(4)
    assert launched("train_qc.sh", "--only_test", folder=tmp_path, gpus_there=4, GPUS="2") == torchrun(2)
    alone = launched("train_qc.sh", "--only_test", folder=tmp_path, gpus_there=4, GPUS="1")
    assert alone == ["main.py", "-cfg", SCRIPTS["train_qc.sh"], "--only_test"]


def test_a_checkpoint_is_evaluated_through_the_script(tiny_runs, tmp_path):
    run = tiny_runs["view"]
    done = subprocess.run(
        ["bash", "train_stage1.sh", "--only_test", "--resume", str(run / "last.pth"), "--output", str(tmp_path)],
        env=os.environ | {"PYTHON": sys.executable, "CFG": str(run / "config.yaml"), "GPUS": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "metrics.json").read_bytes() == (run / "metrics.json").read_bytes()
    assert (tmp_path / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
