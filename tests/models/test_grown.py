"""Where a stage may start from, and which settings hold when a checkpoint is resumed or evaluated."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from echoviewclip.main import configure
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.config import config_from_text, load_config
from echoviewclip.utils.errors import UserError
from tests.tiny_data import STAGES, metrics, tiny, train

EVALUATE = [("TEST.ONLY_TEST", True)]


@pytest.mark.parametrize(
    ("stage", "earlier", "script"),
    [("negation", "view", "train_stage1.sh"), ("quality", "negation", "train_stage2.sh")],
)
def test_a_later_stage_without_a_checkpoint_is_refused_with_the_command(tiny_folder, tmp_path, stage, earlier, script):
    with pytest.raises(UserError) as caught:
        train(tiny(tiny_folder, tmp_path, stage))
    assert str(caught.value) == (
        f"stage {stage} grows from a checkpoint of stage {earlier}, which `bash {script}` trains: "
        "name it with --resume CKPT (MODEL.RESUME)"
    )
    assert Path(script).is_file() and not list(tmp_path.glob("*.pth"))


def test_a_resume_that_changes_settings_lists_them(tiny_folder, tiny_runs, tmp_path):
    resume = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth"), "SAVE_FREQ": 1, "TRAIN__EPOCHS": 3}
    run = train(tiny(tiny_folder, tmp_path / "a", **resume, TRAIN__LR=0.5, DATA__OOD_FILE="ood_near.txt"))
    (line,) = [line for line in (run / "log.txt").read_text().splitlines() if "goes on with other settings" in line]
    assert line.endswith(
        "the run goes on with other settings: DATA.OOD_FILE 'ood_near.txt,ood_far.txt' → 'ood_near.txt', "
        "TRAIN.EPOCHS 2 → 3, TRAIN.LR 0.001 → 0.5"
    )
    same = {"SAVE_FREQ": 1, "TRAIN__EPOCHS": 2, "DATA__OOD_FILE": "ood_near.txt,ood_far.txt"}
    run = train(tiny(tiny_folder, tmp_path / "b", **resume | same))
    assert "other settings" not in (run / "log.txt").read_text()
    assert "other settings" not in (tiny_runs["negation"] / "log.txt").read_text()  # another stage has its own


@pytest.mark.parametrize("stage", STAGES)
def test_an_evaluation_takes_what_nobody_sets_from_the_checkpoint(tiny_runs, stage):
    file = str(tiny_runs[stage] / "last.pth")
    config, checkpoint = configure(None, "configs/ultracls/view.yaml", [("MODEL.RESUME", file), *EVALUATE])
    own = config_from_text(load_checkpoint(file)["config"], [("MODEL.RESUME", file), *EVALUATE])
    assert config == own and checkpoint.origin.stage == stage


def test_what_the_files_and_the_command_line_set_wins(tiny_runs, tmp_path):
    file = str(tiny_runs["quality"] / "last.pth")
    (tmp_path / "base.yaml").write_text("DATA: {NUM_FRAMES: 3, NUM_WORKERS: 1}\nAUG: {OUTLIERS: []}\n")
    (tmp_path / "a.yaml").write_text("BASE: [base.yaml]\nDATA: {NUM_FRAMES: 4}\nTRAIN: {LR: 0.25}\nEVAL_FREQ: 1\n")
    changes = [("MODEL.RESUME", file), *EVALUATE, ("TRAIN.LR", "0.5"), ("AUG.OUTLIERS", "turned")]
    config, _ = configure(str(tmp_path / "a.yaml"), None, changes)
    own = config_from_text(load_checkpoint(file)["config"])
    assert (config.DATA.NUM_FRAMES, config.DATA.NUM_WORKERS, config.TRAIN.LR) == (4, 1, 0.5)
    assert config.AUG.OUTLIERS == ["turned"] and config.STAGE == "quality"
    assert (config.DATA.ROOT, config.DATA.VAL_FILE) == (own.DATA.ROOT, own.DATA.VAL_FILE)


@pytest.mark.parametrize(
    ("text", "change", "stage", "use"),
    [
        ("{}", (), "quality", "quality"),
        ("STAGE: view", (), "view", "both"),
        ("TRAINER: {ViFi_CLIP: {USE: no_text}}", (), "negation", "no_text"),
        ("TRAINER: {ViFi_CLIP: {USE: both}}", (), "view", "both"),  # as the published file of stage 1
        ("{}", [("STAGE", "negation")], "negation", "both"),
    ],
)
def test_stage_and_use_are_set_together(tiny_runs, tmp_path, text, change, stage, use):
    (tmp_path / "a.yaml").write_text(text)
    settings = [("MODEL.RESUME", str(tiny_runs["quality"] / "last.pth")), *EVALUATE, *change]
    config, _ = configure(str(tmp_path / "a.yaml"), None, settings)
    found = config.STAGE, config.TRAINER.ViFi_CLIP.USE
    assert found == (stage, use)


def test_a_published_checkpoint_needs_a_file_and_the_scripts_have_one(tmp_path):
    file = tmp_path / "published.pth"
    torch.save({"model": {"module.image_encoder.proj": torch.zeros(1)}}, file)
    settings = [("MODEL.RESUME", str(file)), *EVALUATE]
    with pytest.raises(UserError) as caught:
        configure(None, None, settings)
    assert str(caught.value) == (
        f"{file}: carries no configuration, as checkpoints of the published code do not; "
        "name the yaml file of its stage: -cfg FILE (configs/released/)"
    )
    config, _ = configure(None, "configs/ultracls/view.yaml", settings)
    assert config.MODEL.VARIANT == "released" and config.DATA.ROOT == "data/ultracls"


def test_where_nothing_is_evaluated_the_script_s_file_serves(tiny_runs):
    settings = [("MODEL.RESUME", str(tiny_runs["view"] / "last.pth"))]
    config, checkpoint = configure(None, "configs/ultracls/negation.yaml", settings)
    expected = load_config("configs/ultracls/negation.yaml", settings)
    assert config == expected and checkpoint is None
    with pytest.raises(UserError, match=r"^--only_test evaluates a checkpoint: name it with --resume CKPT"):
        configure(None, None, EVALUATE)


def test_the_evaluation_of_a_checkpoint_without_a_file_repeats_the_run_s_own(tiny_runs, tmp_path, caplog):
    file = str(tiny_runs["negation"] / "last.pth")
    config, content = configure(None, None, [("MODEL.RESUME", file), *EVALUATE, ("OUTPUT", str(tmp_path))])
    with caplog.at_level(logging.WARNING):
        run = train(config, content)
    assert metrics(run)["metrics"] == metrics(tiny_runs["negation"])["metrics"]
