"""A run folder as training and evaluation leave it, made up in a moment: for tests of what reads one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.special import softmax

from echoviewclip.evaluation.calibration import fit_temperature, threshold
from echoviewclip.evaluation.ood import scores
from echoviewclip.evaluation.prediction_files import write_predictions
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.summary import summarise, write_metrics
from echoviewclip.utils.seeding import generator

VIEWS = [
    "Apical 4C 2D",
    "Apical 2C 2D",
    "Apical 3C 2D",
    "Parasternal Long Axis",
    "Short Axis",
    "Subcostal 4C",
    "<i>X</i>",
]
GRADES = ["very bad", "not good", "good"]
CONFIG = """\
STAGE: negation
DATA:
  ROOT: /data/hospital/Jane Doe/
  TRAIN_FILE: datasets_splits/train.txt
  VAL_FILE: datasets_splits/val.txt
  OOD_FILE: near.txt,/data/hospital/Jane Doe/far.txt
  NUM_FRAMES: 16
MODEL: {ARCH: ViT-B/16, VARIANT: paper}
TRAIN: {EPOCHS: 30, LR: 2.2e-05}
"""


def make_predictions(*, inside: int = 240, outside: int = 60, classes: int = len(VIEWS), seed: int = 0) -> Predictions:
    """A model that is right about four times in five and sees most outsiders; the last two videos could not be read."""
    rng = generator(seed)
    count = inside + 2 * outside
    sets = np.repeat(["in", "near", "far"], [inside, outside, outside])
    label = np.where(sets == "in", rng.integers(0, classes - 1, count), -1)  # the last class never occurs
    certainty = np.select([sets == "in", sets == "near"], [6.0, 2.5], 1.0)[:, None] * rng.random((count, 1))
    shown = np.eye(classes)[np.where(label < 0, rng.integers(0, classes, count), label)]
    logits = certainty * shown + rng.normal(size=(count, classes))
    logits_no = -certainty * shown + rng.normal(size=(count, classes))
    quality = np.clip(rng.normal(1, 1, count), 0, 2)
    attention = softmax(3 * np.sin(np.linspace(0, 6, 16) + rng.random((count, 1)) * 6), axis=1)
    failed = np.arange(count) >= count - 2
    result = Predictions(
        path=[f"videos/{i:04d}.mp4" for i in range(count)],
        patient=[f"patient{i % (count // 5)}" for i in range(count)],
        set=sets,
        label=label,
        failed=failed,
        probabilities=softmax(logits, axis=1),
        negative=softmax(-logits_no, axis=1),
        scores=scores(logits, logits_no),
        grade=np.round(quality),
        grade_probabilities=softmax(
            -3 * (quality[:, None] - np.arange(3) + rng.normal(0, 0.3, (count, 1))) ** 2, axis=1
        ),
        score_prediction=(quality + rng.normal(0, 0.2, count)) / 2,
        attention=attention,
        frames=np.tile(np.arange(16) * 2, (count, 1)),
    )
    for values in (result.probabilities, result.negative, result.attention, *result.scores.values()):
        values[failed] = np.nan
    return result


def make_run(folder: Path, predictions: Predictions | None = None, *, draws: int = 200) -> Path:
    """Writes config.yaml, metrics.jsonl, metrics.json and predictions.csv to `folder` and returns it."""
    p = make_predictions() if predictions is None else predictions
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    rng, lines = generator(1), []
    for step in range(1, 301):
        fall = np.exp(-step / 80)
        line = {"epoch": (step - 1) // 10, "step": step, "train": {"loss": 0.4 + 2 * fall + rng.normal(0, 0.05)}}
        line["train"]["lr"] = 2e-5 * min(step / 50, (1 + np.cos(np.pi * max(0, step - 50) / 250)) / 2)
        if step % 10 == 0:
            line["val"] = {"loss": 0.6 + 1.5 * fall, "top1": 0.8 - 0.7 * fall, "near/negation/auroc": 0.9 - 0.4 * fall}
        lines.append(json.dumps(line))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"epoch": 30, "st', encoding="utf-8")  # cut off
    inside = (p.set == "in") & ~p.failed
    summary = summarise(
        p,
        stage="negation",
        epoch=29,
        tau=threshold(p.scores["negation"][inside], 0.95),
        temperature=fit_temperature(np.log(p.probabilities[inside]), p.label[inside]),
        classes=VIEWS,
        grades=GRADES,
        draws=draws,
        environment={"device": "CPU"},
    )
    write_metrics(folder / "metrics.json", summary)
    write_predictions(folder / "predictions.csv", p)
    return folder
