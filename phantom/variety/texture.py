"""How tissue looks in a laboratory's pictures: its echoes, and how fine and how steady the speckle is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echoviewclip.phantom.probe.bmode import Tissue


@dataclass(frozen=True)
class Texture:
    """Echoes of tissue; `passes` of the point-spread function in depth and angle; the share `persistence` of the frame
    before that stays; how strong the chest wall's layers are."""

    tissue: Tissue
    passes: tuple[int, int]
    persistence: float
    chest: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Texture:
        """A laboratory's usual texture."""

        def spread(low: float, high: float) -> float:
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))

        tissue = Tissue(
            blood=spread(0.0005, 0.004) if rng.random() < 0.8 else spread(0.004, 0.016),
            muscle=spread(0.1, 0.24),
            lining=spread(0.16, 0.55),
            valve=spread(0.25, 0.7),
            around=spread(0.03, 0.13),
            liver=spread(0.06, 0.16),
            skin=spread(0.06, 0.5),
            decay=spread(7, 40),
            isotropy=spread(0.1, 0.55),
            roughness=float(rng.uniform(0.8, 1.7)),
            pericardium=float(rng.uniform(0.2, 0.55)),
        )
        passes = int(rng.choice([1, 1, 2])), int(rng.integers(1, 5))
        return cls(tissue, passes, float(rng.choice([0, rng.uniform(0.1, 0.6)])), float(rng.uniform(0.2, 1.2)))
