"""MODEL.DROP_BLACK from videos to answers: training, evaluation, prediction and a stream see the same tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import echoviewclip
from echoviewclip.clip.packing import SomeTokens
from echoviewclip.datasets.video.open import open_video
from echoviewclip.deploy.folder import export_folder
from echoviewclip.inference.checkpoint import read_file
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.errors import UserError
from tests.cached import CACHED, assert_same_training
from tests.framed import VIT, write_framed_folder
from tests.killed import RANDOM
from tests.tiny_data import STAGES, tiny, train

NUMBERS = ("probability", "second_probability", "score", "quality_probability", "quality_score")
EXACT = [("TRAIN.OPT_LEVEL", "O0")]  # half precision rounds by how many tokens are multiplied at once
ONE_LOOK = [*EXACT, ("TEST.NUM_CLIP", 1), ("TEST.NUM_CROP", 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_framed_folder(tmp_path_factory.mktemp("framed") / "data")


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """Stage → folder of its run, each grown from the one before; counts how often tokens were left out."""
    dropped, resume, found = [], "", {}
    with pytest.MonkeyPatch.context() as patch:
        pack = SomeTokens.pack
        patch.setattr(SomeTokens, "pack", lambda self, tokens: (dropped.append(1), pack(self, tokens))[1])
        for stage in STAGES:
            output = tmp_path_factory.mktemp("runs") / stage
            options = {"MODEL__RESUME": resume, "DATA__OOD_FILE": "ood_near.txt,ood_far.txt", **VIT, **RANDOM}
            before = len(dropped)
            found[stage] = train(tiny(folder, output, stage, **options))
            resume = str(found[stage] / "last.pth")
            assert len(dropped) > before
    return found


def numbers(row) -> list[float]:
    return [getattr(row, name) for name in NUMBERS if getattr(row, name) is not None]


@pytest.mark.parametrize("stage", STAGES)
def test_answers_are_those_of_videos_without_their_black_patches(runs, folder, stage):
    """In batches of two and alone; and others than those with all patches."""
    videos = sorted(map(str, (folder / "videos").glob("clip *.avi")))[:5]
    model = echoviewclip.load(runs[stage] / "best.pth", "cpu", changes=EXACT)
    together, alone = model.predict(videos).rows, [model.predict(video).rows[0] for video in videos]
    all_patches = [*EXACT, ("MODEL.DROP_BLACK", False)]
    full = echoviewclip.load(runs[stage] / "best.pth", "cpu", changes=all_patches).predict(videos)
    for one, other in zip(together, alone, strict=True):
        assert numbers(one) == pytest.approx(numbers(other), rel=1e-4)
    assert any(numbers(one) != pytest.approx(numbers(other), rel=1e-4) for one, other in zip(full, alone, strict=True))


def test_features_are_those_that_the_answers_follow_from(runs, folder):
    videos = sorted(map(str, (folder / "videos").glob("clip *.avi")))[:3]
    model = echoviewclip.load(runs["view"] / "best.pth", "cpu", changes=EXACT)
    found, rows = model.features(videos), model.predict(videos).rows
    texts = model.predictor.model.encode_texts(("positive",)).positive.detach().numpy()
    cosines = found.videos @ texts.T
    scale = float(model.predictor.model.logit_scale.exp()) / model.predictor.calibration.temperature
    likely = torch.from_numpy(scale * cosines).softmax(dim=1).amax(dim=1)
    assert likely.tolist() == pytest.approx([row.probability for row in rows], rel=1e-3)


def test_a_stream_answers_as_predict_does_about_its_window(runs, folder, monkeypatch):
    model = echoviewclip.load(runs["quality"] / "best.pth", "cpu", changes=ONE_LOOK)
    looked, encode = [], VideoCLIP.encode_frames
    monkeypatch.setattr(
        VideoCLIP, "encode_frames", lambda self, *given: (looked.append(len(given[0])), encode(self, *given))[1]
    )
    with open_video(str(folder / "videos/clip 2.avi")) as video:
        frames = np.stack(list(video.iterate()))
    stream = model.stream(fps=10, seconds=0.4)
    for end, frame in enumerate(frames, start=1):
        answer = stream.add(frame)
        (expected,) = model.predict(frames[max(0, end - 4) : end], as_is=True)
        assert answer.view == expected.view and answer.frame == expected.frame
        assert numbers(answer) == pytest.approx(numbers(expected), rel=1e-4)
    assert len(looked) > len(frames)  # what is black changed on the way
    looked.clear()
    still = model.stream(fps=10, seconds=0.4)
    for _ in range(6):
        still.add(frames[-1])
    assert looked == [1] * 6


def test_it_is_exported_as_a_checkpoint_and_not_as_a_graph(runs, tmp_path):
    checkpoint = read_file(runs["view"] / "best.pth")
    export_folder(checkpoint, tmp_path / "plain")
    assert echoviewclip.load(tmp_path / "plain", "cpu").predictor.config.MODEL.DROP_BLACK
    with pytest.raises(UserError, match="a graph computes all patches"):
        export_folder(checkpoint, tmp_path / "graph", ["onnx"])


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["negation", "quality"])
def test_cached_features_train_as_whole_steps_do(runs, folder, tmp_path, stage):
    options = {"MODEL__RESUME": str(runs[STAGES[STAGES.index(stage) - 1]] / "last.pth"), "DATA__OOD_FILE": ""}
    options |= {**VIT, **RANDOM, "EVAL_FREQ": 9, "TRAIN__OPT_LEVEL": "O0"}
    plain = train(tiny(folder, tmp_path / "plain", stage, **options))
    assert_same_training(train(tiny(folder, tmp_path / "cached", stage, **options, **CACHED)), plain)
