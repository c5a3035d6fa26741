"""Grey maps: from neutral to blue and sepia, from soft to hard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array

Shares = tuple[float, float, float]  # of a grey level, in red, green and blue

HUES: dict[str, tuple[Shares, Shares, float]] = {  # at middle grey, at white, how often
    "neutral": ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 0.50),
    "cool": ((0.90, 0.97, 1.06), (0.97, 1.0, 1.0), 0.16),
    "blue": ((0.74, 0.92, 1.16), (0.94, 0.98, 1.0), 0.10),
    "sepia": ((1.14, 0.95, 0.66), (1.0, 0.97, 0.86), 0.12),
    "warm": ((1.06, 0.99, 0.88), (1.0, 0.99, 0.95), 0.08),
    "violet": ((0.98, 0.88, 1.14), (1.0, 0.97, 1.0), 0.04),
}


GREEN: tuple[Shares, Shares] = (0.45, 1.0, 0.55), (0.7, 1.0, 0.76)  # the map "green", which the world never has


@dataclass(frozen=True)
class Tone:
    """A grey map: `hue` is one of `HUES` or green, `tint` in [0, 1] its strength; `gamma` over 1 darkens, `hard` in
    [0, 1] steepens the middle, `black` is the grey level in [0, 255] of what sends nothing back."""

    hue: str
    tint: float
    gamma: float
    hard: float
    black: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Tone:
        """A laboratory's usual map."""
        hue = str(rng.choice(list(HUES), p=[often for *_, often in HUES.values()]))
        black = float(rng.uniform(2, 18)) if rng.random() < 0.2 else 0.0
        return cls(hue, float(rng.uniform(0.4, 1)), float(np.exp(rng.uniform(-0.25, 0.45))), float(rng.random()), black)

    def paint(self, grey: Array, out: Array) -> None:
        """Writes RGB [..., 3] uint8 of grey levels [...] in [0, 255] to `out`."""
        level = grey.astype(np.uint8)
        for channel, row in enumerate(table(self)):
            np.take(row, level, out=out[..., channel])


@lru_cache(maxsize=64)
def table(tone: Tone) -> Array:
    """The three channels of each grey level, uint8 [3, 256]."""
    share = np.linspace(0, 1, 256) ** tone.gamma
    steep = share**2 * (3 - 2 * share)
    share = (1 - tone.hard) * share + tone.hard * steep
    share = (tone.black / 255) * (1 - share) + share
    middle, white = GREEN if tone.hue == "green" else HUES[tone.hue][:2]
    rows = []
    for mid, top in zip(middle, white, strict=True):
        towards = (1 - share) * mid + share * top
        rows.append(255 * share * (1 + tone.tint * (towards - 1)))
    levels = np.clip(np.round(rows), 0, 255).astype(np.uint8)
    levels[:, 0] = 0  # beyond the sector
    return levels
