"""1, 2 and 4 processes with the same videos in a step (TRAIN.GLOBAL_BATCH) see the same losses, in each stage."""

from __future__ import annotations

import json

import pytest

from echoviewclip.trainers import loop
from echoviewclip.trainers.stages import ViewStage
from echoviewclip.utils.distributed import rank
from tests import forked
from tests.tiny_data import PLAIN, STAGES, tiny_options

STEPS, VIDEOS = 4, 4  # a step


@pytest.fixture
def curve(tiny_folder, tmp_path, monkeypatch):
    """Trains a stage in so many processes; returns the loss of each step, the mean over its videos in all processes."""
    (tmp_path / "lists").mkdir()
    for start in ("", "quality_"):
        lines = (tiny_folder / f"{start}train.txt").read_text().splitlines()[: 2 * VIDEOS]
        (tmp_path / "lists" / f"{start}train.txt").write_text("\n".join(lines))
    gradients = loop.Trainer._gradients

    def noted(self, batch, synchronise):
        terms = gradients(self, batch, synchronise)
        with open(f"{self.config.OUTPUT}/losses_{rank()}.txt", "a") as file:
            file.write(json.dumps([self.step, float(terms["loss"]) * len(batch.place)]) + "\n")
        return terms

    monkeypatch.setattr(loop.Trainer, "_gradients", noted)
    # Batch norms look at a process' own batch: stage 1 is alike where they keep their statistics, as in stages 2 and 3.
    monkeypatch.setattr(ViewStage, "moves_statistics", False)

    def train(stage: str, processes: int, resume: str, rate: float = 1e-6, **more: object) -> list[float]:
        start, output = "quality_" if stage == "quality" else "", tmp_path / f"{stage}_{processes}_{rate}"
        settings = PLAIN | {"DATA__TRAIN_FILE": str(tmp_path / "lists" / f"{start}train.txt"), "MODEL__RESUME": resume}
        settings |= {"TRAIN__BATCH_SIZE": 1, "TRAIN__GLOBAL_BATCH": VIDEOS, "TRAIN__EPOCHS": 2, "EVAL_FREQ": 2}
        settings |= {"TRAIN__OUTLIER_WEIGHT": 0.0, "DATA__OOD_FILE": "", "TRAIN__LR": rate}
        settings |= more
        words = [str(word) for pair in tiny_options(tiny_folder, output, stage, **settings) for word in pair]
        log = output.with_suffix(".log")
        command = ["main.py", "-cfg", f"configs/phantom/{stage}.yaml", "--opts", *words]
        assert forked.wait(forked.start(processes, command, log), 300) == 0, log.read_text()
        sums = [0.0] * STEPS
        for number in range(processes):
            lines = (output / f"losses_{number}.txt").read_text().splitlines()
            assert len(lines) == STEPS * VIDEOS // processes
            for step, loss in map(json.loads, lines):
                sums[step] += loss / VIDEOS
        return sums

    return train


@pytest.mark.slow
def test_the_loss_is_the_same_to_a_millionth_whatever_the_number_of_processes(curve, tmp_path):
    resume = ""
    for stage in STAGES:
        expected = curve(stage, 1, resume)
        still = curve(stage, 1, resume, rate=0.0)
        assert still[0] == expected[0] and abs(still[-1] - expected[-1]) > 1e-4  # so that steps would show
        for processes in (2, 4):
            assert curve(stage, processes, resume) == pytest.approx(expected, rel=0, abs=1e-6)
        resume = str(tmp_path / f"{stage}_1_1e-06" / "last.pth")


@pytest.mark.slow
def test_balanced_epochs_and_defects_are_the_same_whatever_the_number_of_processes(curve, tiny_runs, tmp_path):
    rows = [f"clip {i}.avi,{max(i % 3, i % 2)},{i / 10},{'' if i % 4 else 1}" for i in range(2 * VIDEOS)]
    (tmp_path / "defects.csv").write_text("\n".join(["path,quality,grain,dark", *rows]))
    more = {"DATA__TRAIN_FILE": str(tmp_path / "defects.csv"), "MODEL__DEFECTS": "[grain, dark]"}
    more |= {"DATA__SAMPLER": "balanced"}
    expected = curve("quality", 1, str(tiny_runs["negation"] / "last.pth"), **more)
    assert curve("quality", 2, str(tiny_runs["negation"] / "last.pth"), **more) == pytest.approx(
        expected, rel=0, abs=1e-6
    )
