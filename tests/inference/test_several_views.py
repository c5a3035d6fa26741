"""Several views (clips × crops) of a video: what is said of it follows from one quantity, the mean of the logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, logsumexp, softmax

from echoviewclip.datasets.configured import video_dataset as dataset
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.inference.collect import merge_views
from echoviewclip.inference.predictor import load_predictor
from echoviewclip.models.outputs import NO_TEXTS, BranchOutput, ModelOutput
from echoviewclip.models.quality import graded
from echoviewclip.predict import main
from echoviewclip.trainers.data import evaluation_sets
from tests.tiny_data import DEVICE, VALIDATION, configure, entries, train

CLIPS, CROPS = 2, 3


@pytest.fixture(scope="module")
def evaluated(tiny_runs, tmp_path_factory):
    """Folder and predictions of an evaluation of the last stage with 2 clips × 3 crops, and its configuration."""
    folder, run = tmp_path_factory.mktemp("views"), tiny_runs["quality"]
    changes = {"TEST.ONLY_TEST": True, "MODEL.RESUME": str(run / "last.pth"), "TRAIN.OPT_LEVEL": "O0"}
    changes |= {"OUTPUT": str(folder), "TEST.NUM_CLIP": CLIPS, "TEST.NUM_CROP": CROPS, "DATA.OOD_FILE": ""}
    config = configure(str(run / "config.yaml"), list(changes.items()))
    return read_predictions(train(config) / "predictions.csv"), config


def by_hand(config, name: str) -> np.ndarray:
    """One kind of answer for each view of each validation video [N, V, …], from the model alone."""
    predictor, found = load_predictor(config.MODEL.RESUME), []
    videos = dataset(config, evaluation_sets(config)[0].annotations, train=False)
    for i in range(len(videos)):
        views = DeviceTransform(train=False)(videos[i].video)
        with torch.no_grad():
            found.append(entries(predictor.model(views, predictor.model.parts))[name].double().numpy())
    return np.stack(found)


def test_every_answer_of_an_evaluation_is_that_of_the_mean_logits(evaluated):
    p, config = evaluated
    each = by_hand(config, "positive.logits")
    assert each.shape == (VALIDATION, CLIPS * CROPS, 4)
    logits, logits_no = each.mean(1), by_hand(config, "negative.logits").mean(1)
    near = {"rtol": 2e-5, "atol": 1e-6}
    np.testing.assert_allclose(p.probabilities, softmax(logits, axis=1), **near)
    np.testing.assert_allclose(p.negative, softmax(-logits_no, axis=1), **near)
    yes = expit(logits - logits_no)
    cosines = by_hand(config, "positive.cosines").mean(1)
    expected = {
        "msp": softmax(logits, axis=1).max(1),
        "max_logit": logits.max(1),
        "energy": logsumexp(logits, axis=1),
        "mcm": softmax(cosines, axis=1).max(1),
        "negation": (softmax(logits, axis=1) * (1 - softmax(logits_no, axis=1))).sum(1),
        "agreeing_to_differ": (softmax(logits, axis=1) * yes).sum(1),
        "competing_to_win": yes[np.arange(len(yes)), logits.argmax(1)],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(p.scores[name], values, **near, err_msg=name)
    grades = softmax(by_hand(config, "quality.logits").mean(1), axis=1)
    np.testing.assert_allclose(p.grade_probabilities, grades, **near)
    np.testing.assert_allclose(p.score_prediction, grades @ [0, 0.5, 1], **near)
    # The mean of probabilities, which no energy and no logit follows from, is something else.
    assert np.abs(softmax(each, axis=2).mean(1) - p.probabilities).max() > 1e-2


def test_predict_says_what_the_evaluation_counts(evaluated, tmp_path, monkeypatch):
    p, config = evaluated
    monkeypatch.chdir(f"{config.DATA.ROOT}/videos")
    views = ["TEST.NUM_CLIP", str(CLIPS), "TEST.NUM_CROP", str(CROPS), "TRAIN.OPT_LEVEL", "O0"]
    given = ["--resume", config.MODEL.RESUME, "--device", DEVICE, "--workers", "0", "--output", str(tmp_path)]
    assert main([*p.path, *given, "--opts", *views]) == 0
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    score, quality = (lines[0].split(",").index(name) for name in ("score", "quality_score"))
    rows = [line.split(",") for line in lines[1:]]
    np.testing.assert_allclose([float(row[score]) for row in rows], p.scores["relative_mahalanobis"], rtol=1e-6)
    np.testing.assert_allclose([float(row[quality]) for row in rows], p.score_prediction, rtol=1e-6)


def test_two_views_by_hand():
    logits = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, 2.0]])  # two views of two videos
    unit, weights = torch.eye(4), torch.ones(4, 1)
    branches = (BranchOutput(unit, weights, sign * logits / 9, sign * logits) for sign in (1, -1))
    positive, negative, quality, intermediates = merge_views(ModelOutput(*branches, None, NO_TEXTS, {}), 2)
    assert positive.logits.tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert positive.probabilities[0].tolist() == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])
    assert torch.equal(negative.probabilities, positive.probabilities)
    assert quality is None and intermediates is None
    grades = ModelOutput(None, None, graded(logits, weights), NO_TEXTS, {})
    assert merge_views(grades, 2)[2].score.tolist() == pytest.approx([1 / (1 + np.e), 1 / (1 + np.exp(-2))])


def test_frames_of_all_views_keep_their_weights():
    weights = torch.tensor([[0.75, 0.25], [0.5, 0.5]])  # two views of one video, two frames each
    output = ModelOutput(BranchOutput(torch.eye(2), weights), None, None, NO_TEXTS, {})
    assert merge_views(output, 2)[0].attention.tolist() == [[0.375, 0.125, 0.25, 0.25]]
