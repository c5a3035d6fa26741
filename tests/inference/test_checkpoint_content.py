"""A checkpoint as a type: nothing is lost between it and its file, and earlier versions' files mean what they meant."""

from __future__ import annotations

import math

import pytest
import torch

from echoviewclip.inference.checkpoint import BareWeights, Checkpoint, read_file
from echoviewclip.inference.predictor import load_predictor
from echoviewclip.utils.checkpoint import load_checkpoint, save_checkpoint
from echoviewclip.utils.errors import UserError
from tests.tiny_data import STAGES, assert_same, configure, tiny_options, train


@pytest.mark.parametrize("stage", STAGES)
def test_its_content_is_that_of_its_file(tiny_runs, stage):
    file = tiny_runs[stage] / "last.pth"
    checkpoint = read_file(file)
    assert isinstance(checkpoint, Checkpoint) and checkpoint.file == file and checkpoint.origin.stage == stage
    assert_same({"format": 2, **checkpoint.content()}, load_checkpoint(file))


def test_what_a_moving_average_adds_is_kept(tiny_folder, tiny_runs, tmp_path):
    options = tiny_options(tiny_folder, tmp_path, "view", TRAIN__EMA_DECAY=0.9, TRAIN__EPOCHS=1)
    file = train(configure("configs/phantom/view.yaml", options)) / "last.pth"
    checkpoint = read_file(file)
    assert checkpoint.training.average_steps == checkpoint.training.step > 0
    assert_same({"format": 2, **checkpoint.content()}, load_checkpoint(file))


@pytest.mark.parametrize(
    ("stage", "figure"), [("view", "top1"), ("negation", "negative/top1"), ("quality", "quality/quadratic_kappa")]
)
def test_files_of_earlier_versions_are_translated(tiny_runs, tmp_path, stage, figure):
    content = load_checkpoint(tiny_runs[stage] / "last.pth")
    later = ("figure", "best_epoch", "lines", "bad_steps", "bad_videos", "shown")
    content["training"] = {name: value for name, value in content["training"].items() if name not in later}
    content = {name: value for name, value in content.items() if name not in ("tokens", "preparation")}
    save_checkpoint(tmp_path / "a.pth", content | {"calibration": {"temperature": 0.5}, "statistics": {}})
    checkpoint = read_file(tmp_path / "a.pth")
    origin, training, calibration = checkpoint.origin, checkpoint.training, checkpoint.calibration
    assert (training.figure, training.best_epoch, training.lines) == (figure, -1, None)
    assert (training.bad_steps, training.bad_videos, training.meter) == ((0, 0), {}, {})
    assert training.best > -math.inf and checkpoint.statistics is None
    assert (calibration.temperature, calibration.tau, calibration.scores) == (0.5, None, None)
    assert not origin.says_preparation and origin.tokens is None


def test_weights_alone_answer_where_their_configuration_is_given(tiny_folder, tiny_runs, tmp_path):
    """Ours without a word about their run; their words come from the token table of MODEL.PRETRAINED."""
    run, file = tiny_runs["view"], tmp_path / "bare.pth"
    torch.save({"model": load_checkpoint(run / "last.pth")["model"]}, file)
    assert isinstance(read_file(file), BareWeights)
    with pytest.raises(UserError, match="carries no configuration"):
        load_predictor(file)
    given = load_predictor(file, run / "config.yaml")
    assert_same(given.model.state_dict(), load_predictor(run / "last.pth").model.state_dict())
