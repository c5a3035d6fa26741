"""What a run begins with, and what follows from it: whether it trains, fits, calibrates, caches, explains."""

from __future__ import annotations

from dataclasses import dataclass

from yacs.config import CfgNode

from echoviewclip.evaluation.feature_statistics import FeatureStatistics
from echoviewclip.inference.calibration import Calibration
from echoviewclip.inference.checkpoint import AnyCheckpoint, Checkpoint
from echoviewclip.trainers.data import fits_features
from echoviewclip.trainers.evaluate import EvaluationSet


@dataclass(frozen=True)
class Start:
    """What a run begins with: configuration, the checkpoint that it goes on from, the lists to evaluate, the time."""

    config: CfgNode
    views: list[str]
    grades: list[str]
    checkpoint: AnyCheckpoint | None
    sets: list[EvaluationSet]
    begin: float

    @property
    def training(self) -> bool:
        """Whether the run trains; else it evaluates the checkpoint."""
        return not self.config.TEST.ONLY_TEST

    @property
    def explains(self) -> bool:
        """Whether the report shows why the model decided."""
        return self.config.TEST.EXPLAIN and not self.training

    @property
    def refits(self) -> bool:
        """Whether each evaluation fits features anew; later stages leave what the scores by distance look at alone."""
        return self.training and self.config.STAGE == "view"

    @property
    def saved(self) -> Checkpoint | None:
        """The checkpoint, where it says more than weights."""
        return self.checkpoint if isinstance(self.checkpoint, Checkpoint) else None

    @property
    def caches(self) -> bool:
        """Whether there are epochs to train from cached features."""
        train, training = self.config.TRAIN, self.saved.training if self.saved else None
        return train.CACHE_FEATURES and (training is None or training.epoch < train.EPOCHS)

    @property
    def statistics(self) -> FeatureStatistics | None:
        """Where training features lie, from the checkpoint."""
        return self.saved.statistics if self.saved and not self.refits else None

    @property
    def calibration(self) -> Calibration | None:
        """Temperature and τ, from the checkpoint."""
        return self.saved.calibration if self.saved else None

    @property
    def fits(self) -> bool:
        """Whether features are fitted to the training videos."""
        return fits_features(self.config) and self.statistics is None

    @property
    def calibrates(self) -> bool:
        """Whether evaluations find the calibration; stage quality trains nothing that it is of."""
        return self.config.STAGE != "quality" and (self.training or self.calibration is None)
