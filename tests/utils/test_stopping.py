"""SIGTERM and SIGUSR1: the run saves itself where it is, leaves with code 75, and goes on from there to the bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from echoviewclip.trainers import loop
from echoviewclip.trainers.evaluate import Evaluator
from echoviewclip.trainers.saving import RunFiles
from echoviewclip.utils import stopping
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.stopping import Stop, Stopped
from tests.tiny_data import assert_same_files, history, tiny, train
from tests.trainers.test_run_files import TWO_EPOCHS

SETTINGS = TWO_EPOCHS | {"TRAIN__SAVE_STEPS": 0, "TRAIN__BATCH_SIZE": 3}  # three steps an epoch


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory) -> Path:
    """What an undisturbed run leaves; moved to where the disturbed one runs, since checkpoints name their folder."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    train(tiny(tiny_folder, folder, **SETTINGS))
    return folder.rename(folder.with_name("whole"))


def signalled(patch: pytest.MonkeyPatch, kind: type, method: str, number: int, when) -> None:
    """Sends this process a signal whenever it is within a method and `when` the object says."""
    original = getattr(kind, method)

    def method_with_signal(self, *arguments, **named):
        if when(self):
            os.kill(os.getpid(), number)
        return original(self, *arguments, **named)

    patch.setattr(kind, method, method_with_signal)


@pytest.mark.parametrize(("number", "step"), [(signal.SIGTERM, 1), (signal.SIGUSR1, 3)])
def test_a_run_that_is_asked_to_stop_saves_its_last_step_and_goes_on(whole, tiny_folder, monkeypatch, number, step):
    run = whole.with_name("run")
    before = [signal.getsignal(each) for each in stopping.SIGNALS]
    with monkeypatch.context() as patch:
        signalled(patch, loop.Trainer, "_update", number, lambda self: self.step == step)
        with pytest.raises(Stopped) as caught:
            train(tiny(tiny_folder, run, **SETTINGS))
    assert caught.value.code == 75
    assert [signal.getsignal(each) for each in stopping.SIGNALS] == before
    assert load_checkpoint(run / "last.pth")["training"]["step"] == step + 1
    train(tiny(tiny_folder, run, **SETTINGS))
    assert_same_files(run, whole)
    run.rename(run.with_name(f"done {number} {step}"))


def test_a_run_that_is_asked_to_stop_in_the_evaluation_goes_on_with_the_evaluation(whole, tiny_folder, monkeypatch):
    run = whole.with_name("run")
    with monkeypatch.context() as patch:
        signalled(patch, Evaluator, "__call__", signal.SIGTERM, lambda self: True)
        with pytest.raises(Stopped):
            train(tiny(tiny_folder, run, **SETTINGS))
    training = load_checkpoint(run / "last.pth")["training"]
    assert (training["epoch"], training["batch"]) == (0, 3)
    assert [set(line) & {"train", "val"} for line in history(run)] == [{"train"}, {"train"}]
    train(tiny(tiny_folder, run, **SETTINGS))
    assert_same_files(run, whole)


def test_an_evaluation_alone_is_stopped_too(whole, tiny_folder, tmp_path, monkeypatch):
    resume = {"MODEL__RESUME": str(whole / "best.pth"), "TEST__ONLY_TEST": True}
    signalled(monkeypatch, Evaluator, "__call__", signal.SIGTERM, lambda self: True)
    with pytest.raises(Stopped):
        train(tiny(tiny_folder, tmp_path, **resume))


def test_a_signal_raises_nothing_where_it_arrives(monkeypatch):
    errors = []
    monkeypatch.setattr(sys, "unraisablehook", errors.append)

    class Hook:
        def __del__(self):  # Python ignores what is raised here, as it does in what it calls at a fork
            os.kill(os.getpid(), signal.SIGTERM)

    with Stop() as stop:
        Hook()
        assert stop.agree() == (True, False)
    assert errors == []


def test_a_save_falls_due_by_the_clock_and_changes_no_result(whole, tiny_folder, monkeypatch):
    run, saves = whole.with_name("by the clock"), []
    now = iter(range(0, 10**9, 61))  # each look at the clock is a minute later
    monkeypatch.setattr("echoviewclip.trainers.saving.time.monotonic", lambda: float(next(now)))
    note = RunFiles.note_saved
    monkeypatch.setattr(RunFiles, "note_saved", lambda self, step: (saves.append(step), note(self, step)))
    train(tiny(tiny_folder, run, **SETTINGS | {"TRAIN__SAVE_MINUTES": 1}))
    assert saves == [1, 2, 3, 3, 4, 5, 6, 6]
    assert history(run) == history(whole)
    expected, given = (load_checkpoint(folder / "last.pth")["model"] for folder in (whole, run))
    assert all(torch.equal(given[name], value) for name, value in expected.items())


IGNORING = """
import os, signal, sys, time
from echoviewclip.utils.stopping import SIGNALS, Stop, leave_signals_to_parent
if sys.argv[1] == "reader":
    leave_signals_to_parent()
    for number in (*SIGNALS, signal.SIGINT):
        os.kill(os.getpid(), number)
    while signal.sigpending():  # two of a kind that wait are one
        time.sleep(0.001)
    print("still here", flush=True)
    signal.pause()
with Stop() as stop:
    stop.agree()
    stop._first = -100.0  # the first signal came long ago
    os.kill(os.getpid(), signal.SIGTERM)
    sys.exit(4)
"""


def test_a_second_signal_ends_a_run_at_once():
    assert subprocess.run([sys.executable, "-c", IGNORING, "run"]).returncode == -signal.SIGTERM


def test_readers_ignore_signals_but_their_parent_s():
    with subprocess.Popen([sys.executable, "-c", IGNORING, "reader"], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "still here\n"
        reader.terminate()
        try:
            assert reader.wait(20) == 0
        finally:
            reader.kill()


def test_a_signal_that_comes_twice_at_the_same_time_is_one():
    with Stop() as stop:
        assert stop.agree() == (False, False)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        assert stop.agree() == (True, False)
        assert stop.agree(save=True) == (True, True)


LEFT_ALONE = """
import multiprocessing.connection, multiprocessing.resource_sharer, socket, sys
import torch
from echoviewclip.utils.stopping import leave_signals_to_parent
leave_signals_to_parent()
multiprocessing.resource_sharer.DupFd(0)  # as a batch that is handed on
address = multiprocessing.resource_sharer._resource_sharer._address
with socket.socket(socket.AF_UNIX) as parent:
    parent.connect(address)  # and is killed before it has said who it is
multiprocessing.resource_sharer.stop(timeout=5)
sys.excepthook(ValueError, ValueError("of its own"), None)
"""


def test_readers_whose_parent_was_killed_say_nothing_of_it():
    done = subprocess.run([sys.executable, "-c", LEFT_ALONE], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "ValueError: of its own\n")
