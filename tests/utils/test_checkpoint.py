"""Checkpoints: whole or absent, nothing but tensors and plain values, and refused by name where they do not fit."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from yacs.config import CfgNode

from echoviewclip.clip.architectures import build_towers
from echoviewclip.inference.checkpoint import AnyCheckpoint, Checkpoint
from echoviewclip.inference.resume import find_checkpoint, load_weights, read_checkpoint
from echoviewclip.utils.checkpoint import load_checkpoint, save_checkpoint
from echoviewclip.utils.errors import UserError
from tests.damage import small_content
from tests.tiny_data import VIEWS, assert_same, configure, tiny, tiny_model, tiny_options, train

GRADES = ["very bad", "not good", "good"]


def test_what_is_saved_is_loaded_and_needs_no_trust(tmp_path):
    content = small_content() | {"model": {"w": torch.randn(3, dtype=torch.bfloat16)}, "grades": ["a", "é", "c"]}
    content["training"]["best"] = -np.inf
    save_checkpoint(tmp_path / "new" / "a.pth", content)
    assert_same(load_checkpoint(tmp_path / "new" / "a.pth"), {"format": 2, **content})
    assert_same(torch.load(tmp_path / "new" / "a.pth", weights_only=True), {"format": 2, **content})


@pytest.mark.parametrize("name", ["last.pth", "best.pth", "ckpt_epoch_0.pth"])
def test_checkpoints_of_runs_need_no_trust(tiny_runs, name):
    content = torch.load(tiny_runs["quality"] / name, weights_only=True)
    assert {"model", "stage", "config", "epoch", "calibration", "metrics", "training", "views", "grades"} < set(content)
    assert (content["views"], content["grades"]) == (list(VIEWS), GRADES)


class Unsaveable:
    def __reduce__(self):
        raise OSError("no space left on the device")


def test_a_save_that_fails_leaves_the_former_checkpoint_and_nothing_else(tmp_path):
    content = small_content()
    save_checkpoint(tmp_path / "last.pth", content | {"model": {"w": torch.ones(2)}})
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(tmp_path / "last.pth", content | {"model": {"w": torch.zeros(2)}, "more": Unsaveable()})
    assert [file.name for file in tmp_path.iterdir()] == ["last.pth"]
    assert load_checkpoint(tmp_path / "last.pth")["model"]["w"].tolist() == [1, 1]


def refusal(file) -> str:
    with pytest.raises(UserError) as caught:
        load_checkpoint(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_checkpoints_are_named(tmp_path):
    file = tmp_path / "a.pth"
    assert refusal(file) == f"{file}: no such checkpoint (--resume, MODEL.RESUME)"
    file.write_bytes(b"")
    assert refusal(file).startswith(f"{file}: damaged or not a checkpoint (")
    torch.save([1], file)
    assert refusal(file) == f"{file}: not a checkpoint of this program nor of the published code: it has no `model`"
    torch.save({"model": {}, "format": 3}, file)
    assert refusal(file) == f"{file}: written in format 3, this program reads format 2"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_checkpoint_that_was_cut_off_is_named(tiny_runs, tmp_path, share):
    whole = (tiny_runs["view"] / "last.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: int(share * len(whole))])
    assert refusal(tmp_path / "cut.pth").startswith(f"{tmp_path}/cut.pth: damaged or not a checkpoint (")


def test_a_checkpoint_that_would_execute_something_is_refused(tmp_path):
    torch.save({"model": {}, "log": logging.getLogger}, tmp_path / "a.pth")
    assert refusal(tmp_path / "a.pth") == (
        f"{tmp_path}/a.pth: holds objects (logging.getLogger) that loading would have to execute; "
        "keep its weights alone: torch.save({'model': torch.load(FILE)['model']}, NEW)"
    )


def test_published_checkpoints_with_a_pickled_configuration_give_their_weights(tmp_path):
    config = CfgNode({"MODEL": CfgNode({"ARCH": "ViT-B/16"})})
    published = {
        "model": {"module.proj": torch.ones(2)},
        "config": config,
        "max_accuracy": np.float64(91.5),
        "epoch": 29,
    }
    torch.save(published, tmp_path / "ckpt_epoch_29.pth")
    assert_same(load_checkpoint(tmp_path / "ckpt_epoch_29.pth"), {"model": {"proj": torch.ones(2)}})


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_weights_saved_from_a_wrapped_model_load_as_the_model_s(tiny_runs, tmp_path, prefix):
    content = load_checkpoint(tiny_runs["negation"] / "last.pth")
    weights = {f"{prefix}{name}": value for name, value in content["model"].items()}
    save_checkpoint(tmp_path / "all.pth", content | {"model": weights})
    torch.save({"model": weights}, tmp_path / "weights.pth")
    for name in ("all.pth", "weights.pth"):
        assert_same(load_checkpoint(tmp_path / name)["model"], content["model"])
        assert_same(restoring("negation", tmp_path / name).weights, content["model"])


def restoring(stage: str, file, views=VIEWS, grades=GRADES, **changes) -> AnyCheckpoint | None:
    config, model = tiny_model(stage, MODEL__RESUME=str(file), **changes)
    checkpoint = read_checkpoint(config, views, grades)
    if checkpoint:
        load_weights(model, checkpoint.weights, checkpoint.file)
    return checkpoint


def test_the_same_stage_goes_on_and_an_earlier_one_gives_its_weights_alone(tiny_runs):
    assert restoring("view", tiny_runs["view"] / "last.pth").training.step == 10
    assert restoring("negation", tiny_runs["view"] / "last.pth").training is None
    assert restoring("view", "") is None


@pytest.mark.parametrize(
    ("stage", "source", "changes", "message"),
    [
        ("view", "negation", {}, "holds stage negation, which cannot grow into the earlier view"),
        ("view", "view", {"MODEL__VARIANT": "released"}, "holds the paper variant; set MODEL.VARIANT paper"),
        (
            "view",
            "view",
            {"views": ["Apical_4C 2D", "Apical 3C 2D", "Short Axis", "Subcostal 4C"]},
            "was trained on other views than DATA.LABEL_LIST names ('Apical 2C 2D', not 'Apical 3C 2D')",
        ),
        ("view", "view", {"views": VIEWS[:3]}, "was trained on other views than DATA.LABEL_LIST names (4, not 3)"),
        (
            "quality",
            "quality",
            {"grades": ["bad", "not good", "good"]},
            "was trained on other grades than DATA.QUALITY_LIST names ('very bad', not 'bad')",
        ),
        (
            "view",
            "view",
            {"MODEL__SHARED_BLOCKS": 3},
            "lacks trunk.blocks.2.conv1.weight, trunk.blocks.2.norm1.weight, trunk.blocks.2.norm1.bias and 27 more"
            "; check MODEL.ARCH, MODEL.SHARED_BLOCKS, DATA.INPUT_SIZE, DATA.NUM_FRAMES and TRAINER.ViFi_CLIP",
        ),
        (
            "view",
            "view",
            {"DATA__INPUT_SIZE": 48},
            "has another shape of stem.positional_embedding; check MODEL.ARCH, MODEL.SHARED_BLOCKS, DATA.INPUT_SIZE, "
            "DATA.NUM_FRAMES and TRAINER.ViFi_CLIP",
        ),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused_by_name(tiny_runs, stage, source, changes, message):
    file = tiny_runs[source] / "last.pth"
    with pytest.raises(UserError) as caught:
        restoring(stage, file, **changes)
    assert str(caught.value) == f"{file}: {message}"


def test_a_later_checkpoint_may_be_evaluated_for_an_earlier_question(tiny_runs):
    assert restoring("view", tiny_runs["quality"] / "last.pth", TEST__ONLY_TEST=True).origin.stage == "quality"


@pytest.mark.parametrize("stage", ["view", "negation"])
def test_the_released_variant_s_own_checkpoints_need_no_pretrained_weights(tiny_folder, tmp_path, stage):
    torch.save(build_towers("tiny", 32, quick_gelu=True).state_dict(), tmp_path / "towers.pt")
    released = {"MODEL__VARIANT": "released", "MODEL__PRETRAINED": str(tmp_path / "towers.pt")}
    run = train(tiny(tiny_folder, tmp_path / "run", **released, TRAIN__OPT_LEVEL="O0"))
    (tmp_path / "towers.pt").unlink()
    checkpoint = restoring(stage, run / "last.pth", **released)
    assert isinstance(checkpoint, Checkpoint) and "positive_text.prompts.embeddings" in checkpoint.weights


def test_published_weights_are_asked_to_be_loaded_as_such(tmp_path):
    torch.save({"model": {"module.image_encoder.proj": torch.ones(2)}}, tmp_path / "a.pth")
    with pytest.raises(UserError) as caught:
        restoring("view", tmp_path / "a.pth")
    assert str(caught.value) == (
        f"{tmp_path}/a.pth: a checkpoint of the published code; set MODEL.VARIANT released to load it"
    )


def test_auto_resume_prefers_the_run_s_own_last_checkpoint_but_for_a_test(tmp_path):
    def found(**changes):
        return find_checkpoint(configure("configs/phantom/view.yaml", tiny_options(tmp_path, tmp_path, **changes)))

    assert found(TRAIN__AUTO_RESUME=True, MODEL__RESUME="x.pth") == "x.pth"
    (tmp_path / "last.pth").touch()
    assert found(TRAIN__AUTO_RESUME=True, MODEL__RESUME="x.pth") == str(tmp_path / "last.pth")
    assert found(MODEL__RESUME="x.pth") == "x.pth"
    assert found(TRAIN__AUTO_RESUME=True, MODEL__RESUME="x.pth", TEST__ONLY_TEST=True) == "x.pth"


@pytest.mark.parametrize("changes", [{"TRAIN__OPTIMIZER": "sgd"}, {"TRAINER__ViFi_CLIP__USE": "image"}])
def test_a_run_cannot_go_on_with_another_optimiser(tiny_folder, tiny_runs, tmp_path, changes):
    resume = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth"), "TRAIN__EPOCHS": 3}
    with pytest.raises(UserError) as caught:
        train(configure("configs/phantom/view.yaml", tiny_options(tiny_folder, tmp_path, **resume, **changes)))
    assert str(caught.value) == (
        "the checkpoint's optimiser is another, or trains other parts: resume with the TRAIN.OPTIMIZER, "
        "MODEL.FIX_TEXT and TRAINER.ViFi_CLIP of its own run (config.yaml beside it)"
    )


def test_other_batches_are_taken_up_between_epochs_and_refused_within_one(tiny_folder, tiny_runs, tmp_path):
    def go_on(file):
        options = {"MODEL__RESUME": str(file), "TRAIN__EPOCHS": 3, "TRAIN__BATCH_SIZE": 3}
        return train(configure("configs/phantom/view.yaml", tiny_options(tiny_folder, tmp_path, **options)))

    assert load_checkpoint(go_on(tiny_runs["view"] / "last.pth") / "last.pth")["training"]["step"] == 9
    content = load_checkpoint(tiny_runs["view"] / "last.pth")
    content["training"] |= {"epoch": 1, "batch": 2}
    save_checkpoint(tmp_path / "within.pth", content)
    with pytest.raises(UserError) as caught:
        go_on(tmp_path / "within.pth")
    assert str(caught.value) == (
        "the run stopped within an epoch of 5 batches, now an epoch has 3: keep the training list, TRAIN.BATCH_SIZE "
        "and the number of processes, or resume a ckpt_epoch_N.pth"
    )
