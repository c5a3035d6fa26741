"""The quality of a recording: a latent score in [0, 1] that is spent on named defects, and a grade by two thresholds.

score = 1 - (sum of severities) / BUDGET, so every defect at full strength costs the same, and a reader of the
annotations can recompute the score from the defects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DEFECTS = ("low_gain", "clutter", "near_field", "dropout", "off_axis", "blur", "depth", "sector_cut")
BUDGET = 2.6
THRESHOLDS = (0.40, 0.70)  # very bad below, good from the second on
SHARES = (0.25, 0.35, 0.40)  # how often each grade is drawn
_RANGES = ((0.04, 0.37), (0.43, 0.67), (0.73, 1.0))  # a rim around each threshold stays empty, as graders leave it


@dataclass(frozen=True)
class Quality:
    """Severities in [0, 1] by defect; absent ones are 0."""

    defects: dict[str, float]

    def __getitem__(self, defect: str) -> float:
        return self.defects.get(defect, 0.0)

    @property
    def score(self) -> float:
        """1 for a flawless recording, 0 for an unusable one."""
        return 1.0 - sum(self.defects.values()) / BUDGET

    @property
    def grade(self) -> int:
        """0 very bad, 1 not good, 2 good."""
        return int(np.searchsorted(THRESHOLDS, self.score, side="right"))

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Quality:
        """A quality whose grade falls as `SHARES` say and whose loss is split at random over a few defects."""
        low, high = _RANGES[rng.choice(3, p=SHARES)]
        loss = (1.0 - rng.uniform(low, high)) * BUDGET
        count = int(np.ceil(loss)) + int(rng.integers(1, 3))
        names = rng.permutation(DEFECTS)[:count]
        parts = rng.dirichlet(np.full(len(names), 3.0)) * loss
        while parts.max() > 1.0:  # what a full defect cannot hold goes to the others
            over = np.maximum(parts - 1.0, 0.0).sum()
            parts = np.minimum(parts, 1.0)
            room = 1.0 - parts
            parts = parts + over * room / room.sum()
            parts[parts > 1.0 - 1e-9] = 1.0
        return cls({str(name): round(float(part), 4) for name, part in zip(names, parts, strict=True)})
