"""A short form of tools/soak.py, and what it says where a training does not do as promised."""

from __future__ import annotations

import subprocess
import sys

import pytest

SOAK = [sys.executable, "tools/soak.py"]


@pytest.mark.slow
def test_trainings_killed_at_random_leave_the_files_of_undisturbed_ones():
    done = subprocess.run([*SOAK, "--kills", "14", "--seed", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all files equal those of the undisturbed trainings" in done.stdout


BROKEN = """
import sys
from echoviewclip.trainers import saving
saving.RunFiles.names_of_epoch = lambda *_: []  # best.pth is never written, as after a kill at the wrong time
from echoviewclip.trainers.history import MetricsLog
MetricsLog.go_on = lambda self, *_: setattr(self, "_begun", True)  # lines stay as they are
sys.argv = ["soak.py", "--kills", "6", "--seed", "2"]
from echoviewclip.tools.soak import soak
sys.exit(soak())
"""


@pytest.mark.slow
def test_a_training_that_does_not_keep_its_promise_is_found():
    done = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True)
    assert done.returncode == 1
    assert "other files than undisturbed" in done.stderr
