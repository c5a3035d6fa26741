"""Branches that nobody trained do not answer, whatever command asks."""

from __future__ import annotations

import logging

import pytest

from echoviewclip.inference.predictor import load_predictor
from echoviewclip.utils.errors import UserError
from tests.tiny_data import metrics, tiny, train


@pytest.mark.parametrize(("stage", "part"), [("negation", "negative"), ("quality", "negative")])
def test_an_evaluation_refuses_branches_that_the_checkpoint_lacks_as_predict_does(
    tiny_folder, tiny_runs, tmp_path, stage, part
):
    file = tiny_runs["view"] / "last.pth"
    with pytest.raises(UserError) as caught:
        train(tiny(tiny_folder, tmp_path, stage, MODEL__RESUME=str(file), TEST__ONLY_TEST=True))
    message = f"{file}: has no {part} branch, which STAGE {stage} needs; set STAGE to the one it was trained for"
    assert str(caught.value) == message and not (tmp_path / "metrics.json").exists()
    with pytest.raises(UserError) as caught:
        load_predictor(file, changes=[("STAGE", stage), ("TRAINER.ViFi_CLIP.USE", "both")])
    assert str(caught.value) == message


def test_stage_quality_needs_its_own_branch_too(tiny_folder, tiny_runs, tmp_path):
    file = tiny_runs["negation"] / "last.pth"
    with pytest.raises(UserError, match="has no quality branch, which STAGE quality needs"):
        train(tiny(tiny_folder, tmp_path, "quality", MODEL__RESUME=str(file), TEST__ONLY_TEST=True))


def test_zero_shot_answers_views_alone(tiny_folder, tmp_path):
    zero_shot = {"TRAINER__ViFi_CLIP__ZS_EVAL": True, "TEST__ONLY_TEST": True}
    with pytest.raises(UserError, match=r"^--only_test evaluates a checkpoint: name it with --resume CKPT"):
        train(tiny(tiny_folder, tmp_path / "negation", "negation", **zero_shot))
    assert "top1" in metrics(train(tiny(tiny_folder, tmp_path / "view", **zero_shot)))["metrics"]


def test_a_negative_branch_that_is_a_copy_gives_no_scores(tiny_folder, tiny_runs, tmp_path, caplog):
    """Stage quality from stage view: the head learns with a copy, which later answers nothing by itself."""
    settings = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth")}
    with caplog.at_level(logging.WARNING):
        run = train(tiny(tiny_folder, tmp_path / "run", "quality", **settings))
    said = (run / "log.txt").read_text()
    assert "nobody has trained the negative branch, a copy of the positive one" in said and "train_stage2.sh" in said
    assert "quality/mae" in metrics(run)["metrics"]
    assert load_predictor(run / "last.pth").model.parts == ("positive", "quality")
    outside = {"DATA__OOD_FILE": "ood_near.txt", "TEST__ONLY_TEST": True, "MODEL__RESUME": str(run / "last.pth")}
    names = set(metrics(train(tiny(tiny_folder, tmp_path / "test", "quality", **outside)))["metrics"])
    assert "near/msp/auroc" in names
    assert not {name for name in names if "negat" in name or "agreeing" in name or "competing" in name}
    with pytest.raises(UserError, match="nobody has trained its negative branch, a copy of the positive one"):
        train(tiny(tiny_folder, tmp_path / "no", "negation", **outside))
    # One that stage negation trained answers, of stage quality too.
    assert load_predictor(tiny_runs["quality"] / "last.pth").model.parts == ("positive", "negative", "quality")
