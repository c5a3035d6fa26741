"""What is saved and evaluated after which epoch, and which epoch is the best."""

from __future__ import annotations

from echoviewclip.utils.checkpoint import load_checkpoint
from tests.tiny_data import (
    TRAINING,
    assert_same,
    history,
    tiny,
    train,
)


def test_epoch_checkpoints_are_kept_by_save_freq(tiny_folder, tmp_path):
    run = train(tiny(tiny_folder, tmp_path, TRAIN__EPOCHS=4, TRAIN__BATCH_SIZE=TRAINING, SAVE_FREQ=2))
    assert sorted(file.name for file in run.glob("*.pth")) == [
        "best.pth",
        "ckpt_epoch_1.pth",
        "ckpt_epoch_3.pth",
        "last.prev.pth",
        "last.pth",
    ]
    assert load_checkpoint(run / "ckpt_epoch_1.pth")["epoch"] == 1


def test_evaluations_come_by_eval_freq_and_after_the_last_epoch(tiny_folder, tmp_path, tiny_runs):
    each = tiny_folder, tmp_path, "negation"
    resume = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth"), "TRAIN__BATCH_SIZE": TRAINING}
    run = train(tiny(*each, **resume, TRAIN__EPOCHS=5, EVAL_FREQ=2, SAVE_FREQ=1))
    assert [line["epoch"] for line in history(run) if "val" in line] == [1, 3, 4]
    epochs = {n: load_checkpoint(run / f"ckpt_epoch_{n}.pth") for n in range(5)}
    # Without an evaluation of its own weights a checkpoint has no threshold: one of earlier weights would be wrong.
    evaluated = {n for n, content in epochs.items() if content["calibration"]}
    assert evaluated == {n for n, content in epochs.items() if content["statistics"]} == {1, 3, 4}
    assert load_checkpoint(run / "best.pth")["epoch"] in evaluated
    for n, says in ((0, True), (1, False)):
        again = {"MODEL__RESUME": str(run / f"ckpt_epoch_{n}.pth"), "TEST__ONLY_TEST": True}
        test = train(tiny(tiny_folder, tmp_path / f"test_{n}", "negation", **again))
        assert ("no calibration yet: τ and temperature are found on" in (test / "log.txt").read_text()) == says
    quality = {"MODEL__RESUME": str(run / "last.pth"), "TRAIN__BATCH_SIZE": TRAINING}
    run = train(tiny(tiny_folder, tmp_path / "next", "quality", **quality, TRAIN__EPOCHS=2, EVAL_FREQ=2, SAVE_FREQ=1))
    # Stage quality leaves the rejection as it was.
    assert_same(load_checkpoint(run / "ckpt_epoch_0.pth")["calibration"], epochs[4]["calibration"])


def test_how_often_a_run_evaluates_does_not_change_what_it_learns(tiny_folder, tmp_path):
    options = {"TRAIN__BATCH_SIZE": TRAINING, "TRAIN__EPOCHS": 2}
    often = load_checkpoint(train(tiny(tiny_folder, tmp_path / "often", **options)) / "last.pth")
    seldom = load_checkpoint(train(tiny(tiny_folder, tmp_path / "seldom", **options, EVAL_FREQ=2)) / "last.pth")
    assert_same(seldom["model"], often["model"])
    assert seldom["metrics"] == often["metrics"]


def test_best_is_the_epoch_with_the_best_figure(tiny_runs):
    chosen_by = {"view": "top1", "negation": "ood/agreeing_to_differ/auroc", "quality": "quality/quadratic_kappa"}
    for stage, name in chosen_by.items():
        figures = [line["val"][name] for line in history(tiny_runs[stage]) if "val" in line]
        assert load_checkpoint(tiny_runs[stage] / "best.pth")["epoch"] == figures.index(max(figures))
        assert load_checkpoint(tiny_runs[stage] / "last.pth")["training"]["best"] == max(figures)


def test_a_resume_with_other_lists_chooses_the_best_by_their_figure(tiny_folder, tiny_runs, tmp_path):
    each = tiny_folder, tmp_path / "run", "negation"
    resume = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth"), "SAVE_FREQ": 0}
    outside = {"DATA__OOD_FILE": "ood_near.txt,ood_far.txt"}
    run = train(tiny(*each, **resume, DATA__OOD_FILE=""))
    assert load_checkpoint(run / "last.pth")["training"]["figure"] == "negative/top1"
    resume["MODEL__RESUME"] = str(run / "last.pth")
    train(tiny(*each, **resume, **outside, TRAIN__EPOCHS=2))
    assert load_checkpoint(run / "best.pth")["epoch"] == 1
    assert load_checkpoint(run / "last.pth")["training"]["figure"] == "ood/agreeing_to_differ/auroc"
    assert "best.pth was chosen by negative/top1, from now on it is by ood/agreeing_to_differ/auroc" in (
        (run / "log.txt").read_text()
    )
