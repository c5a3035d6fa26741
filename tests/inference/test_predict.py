"""Prediction: the answers of an evaluation, from a checkpoint and paths alone."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from echoviewclip.clip.architectures import build_towers
from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.configured import video_dataset as dataset
from echoviewclip.datasets.intake.asked import find_videos
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.evaluation.calibration import at_temperature
from echoviewclip.evaluation.feature_statistics import FeatureStatistics
from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.inference.calibration import Calibration
from echoviewclip.inference.collect import distance_features
from echoviewclip.inference.prediction import most_attended
from echoviewclip.inference.predictor import load_predictor, predict
from echoviewclip.predict import main
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError
from tests.inference.predicted import GRADES, assert_same, changed, column, read
from tests.tiny_data import DEVICE, VALIDATION, VIEWS, configure, tiny_options, train

VIEW_COLUMNS = ["file", "view", "probability", "second_view", "second_probability"]
DECISION_COLUMNS = ["decision", "score", "tau", "score_name"]
QUALITY_COLUMNS = ["quality", "quality_probability", "quality_score"]


@pytest.mark.parametrize("views", [(1, 1), (2, 3)], ids=["one view", "2 clips × 3 crops"])
def test_answers_are_those_of_an_evaluation(runs, tmp_path, monkeypatch, views):
    test = {"TEST__NUM_CLIP": views[0], "TEST__NUM_CROP": views[1], "TEST__ONLY_TEST": True}
    resume = str(runs / "quality" / "last.pth")
    options = tiny_options(runs / "data", tmp_path / "test", "quality", MODEL__RESUME=resume, **test)
    test = train(configure("configs/ultracls/quality.yaml", [*options, ("TRAIN.OPT_LEVEL", "O0")]))
    expected = read_predictions(test / "predictions.csv")
    calibration = load_checkpoint(resume)["calibration"]

    monkeypatch.chdir(runs / "data" / "videos")
    clips = ["--opts", "TEST.NUM_CLIP", str(views[0]), "TEST.NUM_CROP", str(views[1])]
    assert main([*expected.path, "--resume", resume, "--device", DEVICE, "--output", str(tmp_path), *clips]) == 0
    answers = read(tmp_path)

    assert list(answers[0]) == [*VIEW_COLUMNS, *DECISION_COLUMNS, *QUALITY_COLUMNS, "frame", "warnings", "error"]
    assert column(answers, "file") == list(expected.path) and len(answers) == VALIDATION
    probabilities = at_temperature(expected.probabilities, calibration["temperature"])
    order = np.argsort(-probabilities, axis=1)
    for place, prefix in enumerate(("", "second_")):
        assert column(answers, f"{prefix}view") == [VIEWS[i] for i in order[:, place]]
        chosen = np.sort(probabilities, axis=1)[:, -1 - place]
        np.testing.assert_allclose(column(answers, f"{prefix}probability"), chosen, rtol=1e-5)
    np.testing.assert_allclose(column(answers, "score"), expected.scores[calibration["score"]], rtol=1e-6)
    accepted = [score >= calibration["tau"] for score in column(answers, "score")]
    assert column(answers, "decision") == ["accepted" if yes else "rejected" for yes in accepted]
    assert set(column(answers, "tau")) == {calibration["tau"]}
    assert set(column(answers, "score_name")) == {"relative_mahalanobis"}
    assert len({*column(answers, "score")}) > 1  # else the order of the rows would go unproven
    assert column(answers, "quality") == [GRADES[i] for i in expected.grade_prediction]
    np.testing.assert_allclose(
        column(answers, "quality_probability"), expected.grade_probabilities.max(axis=1), rtol=1e-5
    )
    np.testing.assert_allclose(column(answers, "quality_score"), expected.score_prediction, rtol=1e-5)
    weights = [{k: w[f == k].sum() for k in f} for w, f in zip(expected.attention, expected.frames, strict=True)]
    assert column(answers, "frame") == [max(weight, key=weight.get) for weight in weights]
    assert column(answers, "error") == [None] * VALIDATION


@pytest.mark.parametrize("stage, columns", [("view", VIEW_COLUMNS), ("negation", VIEW_COLUMNS + DECISION_COLUMNS)])
def test_a_stage_answers_what_it_has_learned(runs, elsewhere, capsys, stage, columns):
    video = str(runs / "data" / "videos" / "clip 9.avi")
    assert main([video, "--resume", str(runs / stage / "last.pth")]) == 0
    assert list(read()[0]) == [*columns, "frame", "warnings", "error"]
    said = capsys.readouterr().out
    no_threshold = "accepted or rejected: not answered, since the checkpoint has no τ"
    assert (no_threshold in said) == (stage == "view")


def test_a_threshold_on_a_score_of_the_view_stage_accepts_and_rejects(runs, elsewhere):
    calibration = {"score": "msp", "accept_rate": 0.95, "tau": 0.0, "temperature": 1.0}
    for tau, decision in ((0.0, "accepted"), (1.1, "rejected")):
        ckpt = changed(runs / "view" / "last.pth", elsewhere / "a.pth", calibration=calibration | {"tau": tau})
        video = str(runs / "data" / "videos" / "clip 9.avi")
        main([video, "--resume", ckpt, "--opts", "TEST.SCORE", "msp"])
        (answer,) = read()
        assert answer["decision"] == decision and answer["score"] == pytest.approx(answer["probability"], rel=1e-6)


def test_a_score_by_distance_uses_the_statistics_in_the_checkpoint(runs, elsewhere):
    random = np.random.default_rng(0)
    fitted = FeatureStatistics.fit(random.normal(size=(20, 4 * 64 + 4 * 128 + 256)), np.arange(20) % 4, neighbour=3)
    ckpt = changed(
        runs / "negation" / "last.pth",
        elsewhere / "a.pth",
        calibration={"score": "knn", "accept_rate": 0.95, "tau": -5.0, "temperature": 1.0},
        statistics={name: torch.from_numpy(value) for name, value in fitted.state().items()},
    )
    predictor = load_predictor(ckpt, changes=[("TEST.SCORE", "knn")])
    video = str(runs / "data" / "videos" / "clip 9.avi")
    (answer,) = predict(predictor, [video], torch.device("cpu"))

    sample = dataset(predictor.config, Annotations.of_paths([video]), train=False)[0]
    with torch.no_grad():
        clip = DeviceTransform(train=False)(sample.video)
        output = predictor.model(clip, ("positive", "negative"))
    features = distance_features(list(output.intermediates.values())).numpy()
    assert answer.score_name == "knn" and answer.decision == "accepted"
    assert answer.score == pytest.approx(fitted.scores(features)["knn"][0], rel=1e-6)


def test_statistics_of_other_features_are_refused(runs, elsewhere):
    fitted = FeatureStatistics.fit(np.random.default_rng(0).normal(size=(9, 7)), np.arange(9) % 3)
    statistics = {name: torch.from_numpy(value) for name, value in fitted.state().items()}
    ckpt = changed(runs / "negation" / "last.pth", elsewhere / "a.pth", statistics=statistics)
    says = (
        "the checkpoint's scores by distance look at 7 numbers a video, this version's at 1024: "
        "train stage negation again from its checkpoint of stage view"
    )
    with pytest.raises(UserError, match=f"^{says}$"):
        main([str(runs / "data" / "videos" / "clip 9.avi"), "--resume", ckpt])


def test_names_come_from_the_checkpoint(runs, elsewhere):
    folder, own = str(runs / "data" / "videos"), runs / "quality" / "last.pth"
    main([folder, "--resume", str(own), "--output", "own"])
    views, grades = [name.upper() for name in VIEWS], ["1, bad", "2, Süd", "3, 心"]  # the tokeniser ignores case
    main([folder, "--resume", changed(own, elsewhere / "a.pth", views=views, grades=grades)])
    for one, other in zip(read("own"), read(), strict=True):
        assert other["view"] == one["view"].upper() and other["quality"] == grades[GRADES.index(one["quality"])]


def test_an_answer_depends_on_its_video_alone(runs, elsewhere):
    folder, resume = str(runs / "data" / "videos"), str(runs / "quality" / "last.pth")
    main([folder, "--resume", resume, "--batch-size", "5", "--workers", "2", "--output", "many"])
    for together in read("many")[::7]:
        main([together["file"], "--resume", resume, "--workers", "0", "--output", "one"])
        assert_same(read("one")[0], together)


def test_most_attended_frame_adds_up_what_one_frame_was_given():
    assert most_attended(np.array([0.4, 0.3, 0.3]), np.array([2, 7, 7])) == 7
    assert most_attended(np.array([0.25, 0.5, 0.25]), np.array([0, 4, 8])) == 4
    assert most_attended(np.array([0.5, 0.5]), np.array([9, 3])) == 3


PUBLISHED = [  # a key of the released variant's view stage → the published one
    (r"trunk\.blocks\.(\d+)", r"image_encoder.transformer.resblocks.\1"),
    (r"positive\.blocks\.blocks\.(\d+)", lambda m: f"image_encoder.transformer.resblocks.{int(m[1]) + 2}"),
    (r"positive\.ln_post", "image_encoder.ln_post"),
    (r"positive\.projection", "image_encoder.proj"),
    (r"positive\.pooling\.attention", "image_attention"),
    (r"positive\.pooling\.projection", "projector"),
    (r"positive_text\.tower\.blocks\.blocks", "text_encoder.transformer.resblocks"),
    (r"positive_text\.tower", "text_encoder"),
    (r"stem", "image_encoder"),
]


def test_a_published_checkpoint_is_answered_with_its_yaml_file(runs, tmp_path):
    torch.save(build_towers("tiny", 32, quick_gelu=True).state_dict(), tmp_path / "towers.pt")
    options = tiny_options(
        runs / "data", tmp_path / "view", MODEL__PRETRAINED=str(tmp_path / "towers.pt"), TRAIN__OPT_LEVEL="O0"
    )
    train(configure("configs/released/train_stage1.yaml", options))
    own = tmp_path / "view" / "last.pth"
    published = {}
    for key, value in load_checkpoint(own)["model"].items():
        if not key.endswith("prompts.embeddings"):  # the published code rebuilds them from the names
            rule = next((rule for rule in PUBLISHED if re.match(rule[0], key)), ("$", ""))
            published["module." + re.sub(*rule, key, count=1)] = value
    torch.save({"model": published}, tmp_path / "published.pth")

    videos = find_videos([runs / "data" / "videos"])
    expected = predict(load_predictor(own), videos, torch.device("cpu"))
    predictor = load_predictor(tmp_path / "published.pth", "configs/released/train_stage1.yaml", options)
    assert predictor.calibration == Calibration() and list(predictor.views) == list(VIEWS)
    for one, other in zip(predict(predictor, videos, torch.device("cpu")), expected, strict=True):
        assert one.view == other.view and one.frame == other.frame
    (tmp_path / "towers.pt").unlink()
    load_predictor(own)  # carries all that it needs, the prompts' embeddings too
    with pytest.raises(UserError, match="no such file"):
        load_predictor(tmp_path / "published.pth", "configs/released/train_stage1.yaml", options)
