"""DATA.SAMPLER balanced: over views, grades and scores; after a kill the same; what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from echoviewclip.datasets.configured import read_list, training_classes, training_data
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError
from tests.killed import Interrupted, killed_after
from tests.tiny_data import TRAINING, assert_same, history, tiny, train

BALANCED = {"DATA__SAMPLER": "balanced"}


@pytest.fixture
def uneven(tiny_folder, tmp_path):
    """Settings whose training lists name one view, one grade and one score most."""
    targets = {"train": [0] * 6 + [1, 2, 2], "quality_train": [2] * 7 + [0, 1], "score_train": [0.9] * 7 + [0.1, 0.6]}
    for name, values in targets.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"clip {i}.avi {value}\n" for i, value in enumerate(values)))
    return lambda stage="view", target="", **changes: tiny(
        tiny_folder,
        changes.pop("output", tmp_path / "run"),
        stage,
        **BALANCED | {"DATA__TRAIN_FILE": str(tmp_path / f"{target}train.txt")} | changes,
    )


@pytest.mark.parametrize(
    ("stage", "target", "changes"),
    [("view", "", {}), ("quality", "quality_", {}), ("quality", "score_", {"DATA__QUALITY_TARGET": "score"})],
)
def test_an_epoch_holds_equally_many_of_what_the_stage_learns(uneven, stage, target, changes):
    config = uneven(stage, target, **changes)
    videos = read_list(config, config.DATA.TRAIN_FILE)
    places = np.concatenate([batch.place.numpy() for batch in training_data(config, videos).epoch(0)])
    assert len(places) == TRAINING
    assert np.bincount(training_classes(config, videos)[places]).tolist() == [3, 3, 3]


@pytest.mark.parametrize("step", [3])  # of five an epoch
def test_a_run_that_was_killed_goes_on_to_the_same_bits(uneven, tmp_path, monkeypatch, step):
    how = {"TRAIN__EPOCHS": 2, "TRAIN__SAVE_STEPS": 1}
    whole = train(uneven(output=tmp_path / "whole", **how))
    with monkeypatch.context() as patch:
        killed_after(patch, step)
        with pytest.raises(Interrupted):
            train(uneven(output=tmp_path / "parts", **how))
    parts = train(uneven(output=tmp_path / "parts", **how, TRAIN__AUTO_RESUME=True, DATA__NUM_WORKERS=2))
    assert_same(load_checkpoint(parts / "last.pth")["model"], load_checkpoint(whole / "last.pth")["model"])
    assert history(parts) == history(whole)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"DATA__SHUFFLE_BUFFER": 4}, r"DATA\.SAMPLER balanced: shards are read front to back"),
        ({"TRAIN__CACHE_FEATURES": True}, r"DATA\.SAMPLER balanced: TRAIN\.CACHE_FEATURES keeps draws of each video"),
    ],
)
def test_what_needs_each_video_once_is_refused(uneven, changes, says):
    with pytest.raises(UserError, match=says):
        uneven(**changes)
