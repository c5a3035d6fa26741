"""Keys under LOG: where a training is followed."""

from __future__ import annotations

from echoviewclip.utils.config.choices import TRACKERS
from echoviewclip.utils.config.key import Key, NoEffect, Section

LOG = Section(
    "LOG",
    "Where a training is followed, besides its log and `metrics.jsonl` (architecture.md).",
    (
        Key(
            "LOG.BACKENDS",
            list[str],
            ["tensorboard"],
            "Trackers that are told all figures of a training, any of them or none (`[]`); `tensorboard`: event files "
            "in `OUTPUT/tensorboard`, `wandb`: Weights & Biases, offline in `OUTPUT/wandb` unless WANDB_MODE says "
            "otherwise, `mlflow`: MLflow, in `OUTPUT/mlflow` unless MLFLOW_TRACKING_URI names another place.",
            choices=TRACKERS,
        ),
        Key(
            "LOG.PROJECT",
            str,
            "echoviewclip",
            "Project of Weights & Biases and experiment of MLflow that the run belongs to.",
            no_effect=[
                NoEffect(
                    lambda c: not {"wandb", "mlflow"} & set(c.LOG.BACKENDS), "LOG.BACKENDS has neither wandb nor mlflow"
                )
            ],
        ),
    ),
)
