"""The loop: every configuration takes its steps, and a run resumes to the bit."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from echoviewclip.trainers import loop
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError
from tests.tiny_data import (
    PLAIN,
    STAGES,
    TRAINING,
    assert_same,
    configure,
    history,
    metrics,
    tiny,
    tiny_options,
    train,
)
from tests.utils.test_config import PUBLISHED_QUALITY, PUBLISHED_STAGE1, PUBLISHED_STAGE2

# Everything random at once, so that a run is repeated only if all of it is.
RANDOM = {
    "AUG__MIXUP": 0.8,
    "AUG__CUTMIX": 1.0,
    "AUG__FLIP": 0.5,
    "AUG__COLOR_JITTER": 0.5,
    "AUG__GRAY_SCALE": 0.5,
    "AUG__ERASING": 0.5,
    "AUG__BACKGROUND_SWAP": 0.5,
    "MODEL__DROP_PATH_RATE": 0.3,
}
STATISTICS = ("running_", "num_batches")  # a batch norm's own moving averages


@pytest.mark.parametrize("folder", sorted({file.parent for file in Path("configs").glob("*/*.yaml")}), ids=str)
def test_every_configuration_takes_a_step_in_each_stage(folder, tiny_folder, tmp_path):
    files = {configure(str(file), ()).STAGE: file for file in folder.glob("*.yaml")}
    assert set(files) == set(STAGES)
    resume = ""
    for stage in STAGES:
        options = tiny_options(
            tiny_folder,
            tmp_path / stage,
            stage,
            MODEL__RESUME=resume,
            TRAIN__BATCH_SIZE=TRAINING,
            TRAIN__ACCUMULATION_STEPS=1,
            SAVE_FREQ=1,
        )
        run = train(configure(str(files[stage]), options))
        content = load_checkpoint(run / "last.pth")
        assert (content["stage"], content["training"]["step"]) == (stage, 1)
        resume = str(run / "ckpt_epoch_0.pth")


def test_the_published_files_run_on_other_lists(tiny_folder, tmp_path):
    kept = ("DATA.LABEL_LIST", "DATA.NUM_CLASSES", "TRAIN.BATCH_SIZE", "TRAIN.LR")
    resume = ""
    for stage, text in zip(STAGES, (PUBLISHED_STAGE1, PUBLISHED_STAGE2, PUBLISHED_QUALITY), strict=True):
        (tmp_path / f"{stage}.yaml").write_text(text)
        options = tiny_options(tiny_folder, tmp_path / stage, stage, MODEL__RESUME=resume)
        options = [(key, value) for key, value in options if key not in kept]
        run = train(configure(str(tmp_path / f"{stage}.yaml"), options))
        resume = str(run / "ckpt_epoch_0.pth")
        content = load_checkpoint(resume)
        assert (content["stage"], len(content["views"]), len(content["grades"])) == (stage, 38, 3)


def test_a_run_leaves_its_files(tiny_runs):
    for run in tiny_runs.values():
        files = {"config.yaml", "log.txt", "metrics.jsonl", "last.pth", "best.pth", "predictions.csv", "metrics.json"}
        assert files <= {file.name for file in run.iterdir()}
        assert configure(str(run / "config.yaml"), ()).dump() == load_checkpoint(run / "last.pth")["config"]


class Interrupted(Exception):
    """A run that was killed."""


def killed_after(monkeypatch, step: int):
    """Kills the training before it saves itself a first time after this optimiser step, so with one more in its log."""
    save = loop.Trainer._save

    def save_or_die(self, *arguments, **named):
        if self.step > step:
            raise Interrupted
        save(self, *arguments, **named)

    monkeypatch.setattr(loop.Trainer, "_save", save_or_die)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize(
    ("stage", "level", "decay", "accumulation", "step"),
    [
        ("view", "O0", 0.0, 1, 3),
        ("view", "O1", 0.9, 2, 5),
        ("view", "O2", 0.9, 2, 2),
        ("negation", "O2", 0.0, 1, 7),
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


def test_accumulated_gradients_are_those_of_the_large_batch(tiny_runs, tiny_folder, tmp_path):
    # 9 videos: groups of 4, 4 and a last one of 1. In stage 2, since the small tower's batch norms, which look at the
    # whole batch, rest there.
    grown = {"MODEL__RESUME": str(tiny_runs["view"] / "last.pth"), "TRAIN__OUTLIER_WEIGHT": 0.0}

    def trained(name, **settings):
        options = tiny_options(tiny_folder, tmp_path / name, "negation", **PLAIN, **grown, **settings)
        run = train(configure("configs/phantom/negation.yaml", options))
        content = load_checkpoint(run / "last.pth")
        return content["training"]["step"], torch.cat([value.flatten() for value in content["model"].values()]).double()

    steps, small = trained("small", TRAIN__BATCH_SIZE=2, TRAIN__ACCUMULATION_STEPS=2)
    _, large = trained("large", TRAIN__BATCH_SIZE=4, TRAIN__ACCUMULATION_STEPS=1)
    _, still = trained("still", TRAIN__BATCH_SIZE=4, TRAIN__LR=0.0)
    assert steps == 3
    assert (small - large).norm() < 1e-3 * (large - still).norm()


def test_nothing_of_a_group_is_left_for_the_next_epoch(tiny_folder, tmp_path, monkeypatch):
    left = []
    train_epoch = loop.Trainer._train_epoch

    def checked(self, clock):
        train_epoch(self, clock)
        left.extend(name for name, p in self.model.named_parameters() if p.grad is not None)

    monkeypatch.setattr(loop.Trainer, "_train_epoch", checked)
    train(tiny(tiny_folder, tmp_path, TRAIN__ACCUMULATION_STEPS=2))
    assert left == []


def test_the_learning_rate_follows_its_schedule_step_by_step(tiny_folder, tmp_path):
    settings = {"TRAIN__EPOCHS": 2, "TRAIN__WARMUP_EPOCHS": 1, "TRAIN__ACCUMULATION_STEPS": 2, "TRAIN__LR": 1e-3}
    run = train(tiny(tiny_folder, tmp_path, **settings))
    rates = {line["step"]: line["train"]["lr"] for line in history(run) if "train" in line}
    falling = [1e-3 * (0.01 + 0.495 * (1 + math.cos(math.pi * k / 3))) for k in range(3)]
    assert list(rates.values()) == pytest.approx([0, 1e-3 / 3, 2e-3 / 3, *falling])


def test_a_clipped_gradient_moves_the_weights_no_further(tiny_folder, tmp_path):
    still = train(tiny(tiny_folder, tmp_path / "still", **PLAIN, TRAIN__LR=0))
    clipped = {"TRAIN__LR": 1.0, "TRAIN__WEIGHT_DECAY": 0, "TRAIN__CLIP_GRAD": 1e-6, "TRAIN__BATCH_SIZE": TRAINING}
    moved = train(tiny(tiny_folder, tmp_path / "moved", **PLAIN | clipped))
    before, after = (load_checkpoint(run / "last.pth")["model"] for run in (still, moved))
    moving = [name for name in before if not name.split(".")[-1].startswith(STATISTICS)]
    distance = math.sqrt(sum(float((after[name] - before[name]).double().square().sum()) for name in moving))
    assert distance == pytest.approx(1.9e-6, rel=0.1)  # Nesterov's first step is 1 + momentum long


def test_the_moving_average_is_what_is_evaluated_and_saved(tiny_folder, tmp_path):
    one_step = PLAIN | {"TRAIN__BATCH_SIZE": TRAINING}
    before = load_checkpoint(train(tiny(tiny_folder, tmp_path / "0", **one_step, TRAIN__LR=0)) / "last.pth")["model"]
    run = train(tiny(tiny_folder, tmp_path / "1", **one_step, TRAIN__EMA_DECAY=0.999))
    content = load_checkpoint(run / "last.pth")
    after = content["training"]["weights"]
    for name, value in content["model"].items():  # the first step's decay is 1/10
        if name.split(".")[-1].startswith(STATISTICS):
            assert torch.equal(value, after[name])  # not averaged twice
            continue
        torch.testing.assert_close(value, 0.1 * before[name] + 0.9 * after[name], rtol=0, atol=1e-6, msg=name)
    assert not torch.equal(after["positive.projection"], before["positive.projection"])


def test_frozen_parts_leave_a_stage_as_they_entered_it(tiny_runs):
    before = load_checkpoint(tiny_runs["view"] / "last.pth")["model"]
    after = load_checkpoint(tiny_runs["quality"] / "last.pth")["model"]
    assert_same({name: after[name] for name in before}, before)


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
    first = load_checkpoint(run / "best.pth")["training"]
    assert first["figure"] == "negative/top1"
    resume["MODEL__RESUME"] = str(run / "last.pth")
    train(tiny(*each, **resume, **outside, TRAIN__EPOCHS=2))
    chosen = load_checkpoint(run / "best.pth")
    assert (chosen["epoch"], chosen["training"]["figure"]) == (1, "ood/agreeing_to_differ/auroc")
    assert "best.pth was chosen by negative/top1, from now on it is by ood/agreeing_to_differ/auroc" in (
        (run / "log.txt").read_text()
    )


@pytest.mark.parametrize("target", ["grade", "score"])
def test_quality_trains_on_grades_and_on_scores(tiny_folder, tiny_runs, tmp_path, target):
    start = "quality" if target == "grade" else "score"
    lists = {"DATA__TRAIN_FILE": f"{start}_train.txt", "DATA__VAL_FILE": f"{start}_val.txt"}
    resume = {"MODEL__RESUME": str(tiny_runs["negation"] / "last.pth")}
    run = train(tiny(tiny_folder, tmp_path, "quality", **lists, **resume, DATA__QUALITY_TARGET=target))
    assert {"quality/quadratic_kappa", "quality/mae", "quality/spearman"} <= set(metrics(run)["metrics"])
    losses = [line["train"] for line in history(run) if "train" in line]
    assert all({"quality", "ordinal"} <= set(line) for line in losses)


def test_training_videos_without_a_label_or_a_score_are_refused_by_line(tiny_folder, tiny_runs, tmp_path):
    lists = {"view": "train", "quality": "score_train"}
    for stage, what in (("view", "label"), ("quality", "score")):
        file = tmp_path / f"{stage}.txt"
        file.write_text((tiny_folder / f"{lists[stage]}.txt").read_text() + "near 1.avi\nnear 2.avi\n")
        options = {"DATA__TRAIN_FILE": str(file), "DATA__QUALITY_TARGET": "score"}
        if stage == "quality":
            options |= {"DATA__VAL_FILE": "score_val.txt", "MODEL__RESUME": str(tiny_runs["negation"] / "last.pth")}
        with pytest.raises(UserError) as caught:
            train(tiny(tiny_folder, tmp_path / "run", stage, **options))
        assert str(caught.value) == (
            f"{file}: 2 videos have no {what} to train on (lines 10, 11); give them one or remove them"
        )


def test_grades_come_from_the_quality_column_of_a_csv(tiny_folder, tiny_runs, tmp_path):
    rows = (f"clip {number}.avi,3,{number % 3}\n" for number in range(TRAINING))
    (tmp_path / "q.csv").write_text("path,label,quality\n" + "".join(rows))
    lists = {"DATA__TRAIN_FILE": str(tmp_path / "q.csv"), "DATA__VAL_FILE": str(tmp_path / "q.csv")}
    resume = {"MODEL__RESUME": str(tiny_runs["negation"] / "last.pth")}
    run = train(tiny(tiny_folder, tmp_path / "run", "quality", **lists, **resume))
    with (run / "predictions.csv").open(newline="") as lines:
        assert [int(row["grade"]) for row in csv.DictReader(lines)] == [number % 3 for number in range(TRAINING)]


def test_settings_under_which_nothing_trains_are_refused(tiny_folder, tmp_path):
    with pytest.raises(UserError, match="nothing trains: MODEL"):
        train(tiny(tiny_folder, tmp_path, TRAINER__ViFi_CLIP__USE="text", MODEL__FIX_TEXT=True))


def test_without_weights_the_run_says_so_loudly(tiny_runs):
    assert "STARTS FROM RANDOM WEIGHTS" in (tiny_runs["view"] / "log.txt").read_text()
    assert "STARTS FROM RANDOM WEIGHTS" not in (tiny_runs["negation"] / "log.txt").read_text()
