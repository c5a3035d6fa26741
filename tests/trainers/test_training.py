"""The loop: every configuration takes its steps, and each step is the one that its settings ask for."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from echoviewclip.trainers import loop
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError
from tests.published import PUBLISHED_QUALITY, PUBLISHED_STAGE1, PUBLISHED_STAGE2
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

# Everything random at once, so that a run is repeated only if all of it is.
STATISTICS = ("running_", "num_batches")  # a batch norm's own moving averages


@pytest.mark.parametrize("folder", sorted({file.parent for file in Path("configs").glob("*/*.yaml")}), ids=str)
def test_every_configuration_takes_a_step_in_each_stage(folder, tiny_folder, tmp_path):
    stages = {file: configure(str(file), ()).STAGE for file in folder.glob("*.yaml")}
    assert set(stages.values()) == ({"view"} if folder.name == "fewshot" else set(STAGES))
    resume = {"view": ""}
    for file, stage in sorted(stages.items(), key=lambda one: STAGES.index(one[1])):
        options = tiny_options(
            tiny_folder,
            tmp_path / file.stem,
            stage,
            MODEL__RESUME=resume[stage],
            TRAIN__BATCH_SIZE=TRAINING,
            TRAIN__ACCUMULATION_STEPS=1,
            SAVE_FREQ=1,
        )
        run = train(configure(str(file), options))
        content = load_checkpoint(run / "last.pth")
        assert (content["stage"], content["training"]["step"]) == (stage, 1)
        for later in STAGES[STAGES.index(stage) + 1 :]:
            resume[later] = str(run / "ckpt_epoch_0.pth")


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
