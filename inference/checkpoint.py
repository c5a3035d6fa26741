"""A checkpoint as a type, and the one place where those of earlier versions are translated.

`utils/checkpoint.py` is the file beneath: written whole, read without executing anything, each field checked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode

import echoviewclip
from echoviewclip.datasets.intake.preparation import Preparation
from echoviewclip.evaluation.feature_statistics import FeatureStatistics
from echoviewclip.inference.calibration import Calibration
from echoviewclip.models.released import is_published, published_prompts, translate
from echoviewclip.models.tokens import TokenRows
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.config import config_from_text
from echoviewclip.utils.errors import UserError

# What chose best.pth before checkpoints noted it, by stage.
FIGURES_OF_EARLIER_VERSIONS = {"view": "top1", "negation": "negative/top1", "quality": "quality/quadratic_kappa"}


@dataclass(frozen=True)
class Origin:
    """What a run knows before it begins, and each of its checkpoints says.

    Attributes:
        stage: the stage that trained it.
        variant: MODEL.VARIANT.
        config: the text of its configuration.
        views, grades: names by class and by grade.
        tokens: rows of the token table that its prompts were read with; None where it reads none, or does not say.
        preparation: of the training videos; None where they were not prepared, or it does not say.
        says_preparation: False for checkpoints of earlier versions.
        program: the version of this program that trained it; empty where it does not say.
    """

    stage: str
    variant: str
    config: str
    views: list[str]
    grades: list[str]
    tokens: TokenRows | None
    preparation: Preparation | None
    says_preparation: bool = True
    program: str = echoviewclip.__version__

    def configuration(self) -> CfgNode:
        """The configuration of the run. Raises UserError."""
        return config_from_text(self.config)


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands.

    Attributes:
        epoch, batch: epochs that are done, and batches of the next one.
        batches: in an epoch.
        step: optimiser steps that are done.
        optimiser, scaler, meter: state dicts of the optimiser, the gradient scaler and the loss meter.
        figure, best, best_epoch: the metric that chooses best.pth, its best value, and the epoch of that.
        lines: of metrics.jsonl that the checkpoint counts on; None where it does not say.
        bad_steps: optimiser steps that were left out, in all and in a row.
        bad_videos: why videos of this epoch could not be read, by name.
        weights: those that train, where the checkpoint's own are their moving average.
        average_steps: of the moving average.
    """

    epoch: int
    batch: int
    batches: int
    step: int
    optimiser: dict[str, Any]
    scaler: dict[str, Any]
    meter: dict[str, Any]
    figure: str
    best: float
    best_epoch: int
    lines: int | None
    bad_steps: tuple[int, int]
    bad_videos: dict[str, str]
    weights: dict[str, Tensor] | None = None
    average_steps: int = 0

    @classmethod
    def of(cls, content: dict[str, Any], stage: str) -> TrainingState:
        """From what a file of `stage` holds under `training`."""
        return cls(
            epoch=content["epoch"],
            batch=content["batch"],
            batches=content["batches"],
            step=content["step"],
            optimiser=content["optimiser"],
            scaler=content["scaler"],
            meter=content.get("shown", {}),
            figure=content.get("figure", FIGURES_OF_EARLIER_VERSIONS[stage]),
            best=content["best"],
            best_epoch=content.get("best_epoch", -1),
            lines=content.get("lines"),
            bad_steps=tuple(content.get("bad_steps", (0, 0))),
            bad_videos=content.get("bad_videos", {}),
            weights=content.get("weights"),
            average_steps=content.get("average_steps", 0),
        )

    def content(self) -> dict[str, Any]:
        """What a file holds under `training`."""
        held = {name: value for name, value in vars(self).items() if name not in ("meter", "weights", "average_steps")}
        averaged = {} if self.weights is None else {"weights": self.weights, "average_steps": self.average_steps}
        return held | {"shown": self.meter} | averaged


@dataclass(frozen=True)
class Checkpoint:
    """What a run has learned, and where it stands.

    Attributes:
        origin: the run.
        weights: the model's, float32 by name.
        epoch: the one that ended with these weights, from 0; −1 before the first has ended.
        calibration: of the view probabilities and τ; None where no evaluation has found it.
        statistics: where training features lie; None where they were not fitted.
        metrics: figures of the evaluation of these weights by name; empty where they were not evaluated.
        training: from which a training of the same stage goes on; None where it cannot, as from best.pth.
        file: where it lies; None before it is written.
    """

    origin: Origin
    weights: dict[str, Tensor]
    epoch: int
    calibration: Calibration | None
    statistics: FeatureStatistics | None
    metrics: dict[str, float]
    training: TrainingState | None
    file: Path | None = None

    @classmethod
    def of(cls, content: dict[str, Any], file: Path) -> Checkpoint:
        """From what a file holds, of any version. Raises UserError for notes that contradict themselves."""
        tokens, training, statistics = content.get("tokens"), content.get("training"), content.get("statistics")
        return cls(
            Origin(
                content["stage"],
                content["variant"],
                content["config"],
                content["views"],
                content["grades"],
                TokenRows(**tokens) if tokens else None,
                Preparation.of(content["preparation"]) if content.get("preparation") else None,
                "preparation" in content,
                content.get("program", ""),
            ),
            content["model"],
            content["epoch"],
            Calibration.of(content["calibration"]),
            FeatureStatistics(**{name: value.numpy() for name, value in statistics.items()}) if statistics else None,
            content["metrics"],
            TrainingState.of(training, content["stage"]) if training else None,
            file,
        )

    @property
    def answering(self) -> Checkpoint:
        """What answers and later stages need of it: without the optimiser's state, two thirds of a file."""
        return replace(self, training=None)

    def content(self) -> dict[str, Any]:
        """What its file holds: tensors and plain values only."""
        origin = self.origin
        statistics = self.statistics.state() if self.statistics else {}
        content = {
            "model": self.weights,
            "stage": origin.stage,
            "config": origin.config,
            "epoch": self.epoch,
            "calibration": self.calibration.content() if self.calibration else {},
            "statistics": {name: torch.from_numpy(array) for name, array in statistics.items()},
            "metrics": self.metrics,
            "training": self.training.content() if self.training else {},
            "variant": origin.variant,
            "views": origin.views,
            "grades": origin.grades,
            "tokens": origin.tokens.state() if origin.tokens else {},
        }
        if origin.says_preparation:
            content["preparation"] = asdict(origin.preparation) if origin.preparation else {}
        if origin.program:
            content["program"] = origin.program
        return content


@dataclass(frozen=True)
class BareWeights:
    """Weights without a word about their run: a checkpoint of the published code, or ours stripped.

    Attributes:
        weights: by name.
        file: where they lie.
        published: whether the published code wrote them.
        prompts: the embeddings [K, 77, width] of its positive prompts, where it kept them.
    """

    weights: dict[str, Tensor]
    file: Path
    published: bool
    prompts: Tensor | None = None

    def renamed(self, config: CfgNode) -> BareWeights:
        """The same under our names, for the model of a configuration. Raises UserError for another variant."""
        if not self.published:
            return self
        if config.MODEL.VARIANT != "released":
            raise UserError(f"{self.file}: a checkpoint of the published code; set MODEL.VARIANT released to load it")
        weights = translate(self.weights, config.MODEL.SHARED_BLOCKS)
        return replace(self, weights=weights, prompts=published_prompts(self.weights))


AnyCheckpoint = Checkpoint | BareWeights


def read_file(file: str | Path) -> AnyCheckpoint:
    """A checkpoint of this program, as a file or exported as a folder, or of the published code, on the CPU.

    Raises UserError (`load_checkpoint`).
    """
    file, content = Path(file), load_checkpoint(file)
    if "config" in content:
        return Checkpoint.of(content, file)
    return BareWeights(content["model"], file, is_published(content["model"]))
