"""A training on two machines, of which one is killed and started again, ends with the weights of an undisturbed one."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from echoviewclip.utils.checkpoint import load_checkpoint
from tests.tiny_data import assert_same, tiny_options
from tests.utils.test_rendezvous import free_port

pytestmark = pytest.mark.slow


def start(processes: int, folder, output, **environment: str) -> subprocess.Popen:
    """A launcher of a training of 15 epochs, three steps each."""
    settings = {"TRAIN__EPOCHS": 15, "TRAIN__SAVE_STEPS": 2, "EVAL_FREQ": 15, "TRAIN__AUTO_RESUME": True}
    words = (str(word) for pair in tiny_options(folder, output, **settings) for word in pair)
    launcher = [sys.executable, "-m", "echoviewclip.utils.launch", str(processes), "main.py"]
    return subprocess.Popen(
        [*launcher, "-cfg", "configs/phantom/view.yaml", "--opts", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("lost", [0, 1])
def test_a_machine_that_is_killed_and_started_again_changes_no_weight(tiny_folder, tmp_path, lost):
    met = {"NNODES": "2", "RDZV_ENDPOINT": f"localhost:{free_port()}"}
    nodes = [start(1, tiny_folder, tmp_path / "nodes", NODE_RANK=str(number), **met) for number in (0, 1)]
    try:
        while not (tmp_path / "nodes" / "last.pth").is_file():
            assert [node.poll() for node in nodes] == [None, None]
            time.sleep(0.02)
        nodes[lost].kill()
        nodes[lost].communicate()
        nodes[lost] = start(1, tiny_folder, tmp_path / "nodes", NODE_RANK=str(lost), **met)
        said = [node.communicate()[1] for node in nodes]
        assert [node.returncode for node in nodes] == [0, 0], said
    finally:
        for node in nodes:
            node.kill()
    assert f"node {1 - lost}: processes of another have ended; all nodes meet again\n" in said[1 - lost]
    assert "same stage" in (tmp_path / "nodes" / "log.txt").read_text()  # it has gone on from its last.pth
    whole = start(2, tiny_folder, tmp_path / "whole")
    assert whole.communicate() and whole.returncode == 0
    given, expected = (load_checkpoint(tmp_path / run / "last.pth") for run in ("nodes", "whole"))
    assert given["training"]["step"] == expected["training"]["step"] == 45
    assert_same(given["model"], expected["model"])
