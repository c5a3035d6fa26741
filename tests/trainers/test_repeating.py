"""A run repeats itself, and one that was killed goes on to the same bits."""

from __future__ import annotations

import pytest
import torch

from echoviewclip.utils.checkpoint import load_checkpoint
from tests.killed import RANDOM, Interrupted, killed_after
from tests.tiny_data import (
    assert_same,
    history,
    metrics,
    tiny,
    train,
)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize(
    ("stage", "level", "decay", "accumulation", "step"),
    [
        ("view", "O0", 0.0, 1, 3),
        ("view", "O1", 0.9, 2, 5),
        pytest.param("view", "O2", 0.9, 2, 2, marks=pytest.mark.slow),
        pytest.param("negation", "O2", 0.0, 1, 7, marks=pytest.mark.slow),
        ("quality", "O1", 0.9, 2, 3),  # at the end of an epoch
    ],
)
def test_a_run_that_was_killed_goes_on_to_the_same_bits(
    tiny_folder, tiny_runs, tmp_path, monkeypatch, stage, level, decay, accumulation, step
):
    settings = {"TRAIN__OPT_LEVEL": level, "TRAIN__EMA_DECAY": decay, "TRAIN__ACCUMULATION_STEPS": accumulation}
    settings |= RANDOM | {"TRAIN__EPOCHS": 2, "TRAIN__SAVE_STEPS": 1, "TRAIN__WARMUP_EPOCHS": 1}
    settings |= {"MODEL__RESUME": {"view": "", "negation": "view", "quality": "negation"}[stage]}
    if stage != "view":
        settings["MODEL__RESUME"] = str(tiny_runs[settings["MODEL__RESUME"]] / "last.pth")
    whole = train(tiny(tiny_folder, tmp_path / "whole", stage, **settings))
    with monkeypatch.context() as patch:
        killed_after(patch, step)
        with pytest.raises(Interrupted):
            train(tiny(tiny_folder, tmp_path / "parts", stage, **settings))
    assert load_checkpoint(tmp_path / "parts" / "last.pth")["training"]["step"] == step
    assert history(tmp_path / "parts")[-1]["step"] == step + 1
    parts = train(tiny(tiny_folder, tmp_path / "parts", stage, **settings, TRAIN__AUTO_RESUME=True))
    for name in ("last.pth", "best.pth"):
        expected, given = load_checkpoint(whole / name), load_checkpoint(parts / name)
        del expected["config"], given["config"]  # they name their own folders
        assert_same(given, expected)
    assert history(parts) == history(whole)
    assert (parts / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()


def test_a_run_repeats_itself_and_another_seed_does_not(tiny_folder, tmp_path):
    runs = [
        train(tiny(tiny_folder, tmp_path / str(number), SEED=seed, **RANDOM)) for number, seed in enumerate((5, 5, 6))
    ]
    first, second, other = (load_checkpoint(run / "last.pth")["model"] for run in runs)
    assert_same(second, first)
    assert not torch.equal(other["positive.projection"], first["positive.projection"])


def test_auto_resume_starts_anew_where_there_is_nothing_and_ignores_what_is_done(tiny_folder, tmp_path):
    settings = {"TRAIN__AUTO_RESUME": True, "TRAIN__EPOCHS": 1}
    run = train(tiny(tiny_folder, tmp_path, **settings))
    before, figures = load_checkpoint(run / "last.pth"), metrics(run)["metrics"]
    train(tiny(tiny_folder, tmp_path, **settings))  # nothing is left to do but to evaluate
    assert_same(load_checkpoint(run / "last.pth"), before)
    assert metrics(run)["metrics"] == figures
