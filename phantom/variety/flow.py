"""Colour Doppler as machines show it: maps, boxes of any size, aliasing, mosaics, bleeding, empty boxes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.machine import Colour

RNG = np.random.Generator
MAPS: dict[str, tuple[tuple[Colour, ...], tuple[Colour, ...]]] = {  # slow to fast, towards and away
    "fire": (((110, 0, 0), (230, 40, 0), (255, 210, 40)), ((0, 10, 120), (20, 80, 240), (110, 230, 255))),
    "plain": (((90, 0, 0), (200, 10, 10), (255, 90, 60)), ((0, 0, 100), (20, 20, 220), (80, 110, 255))),
    "pale": (((120, 20, 20), (230, 90, 70), (255, 220, 200)), ((20, 20, 130), (70, 110, 240), (200, 225, 255))),
    "gold": (((80, 20, 0), (220, 110, 0), (255, 250, 120)), ((0, 30, 90), (0, 130, 220), (120, 255, 240))),
    "dim": (((60, 0, 10), (150, 10, 20), (220, 120, 40)), ((5, 0, 70), (10, 30, 160), (60, 150, 220))),
}
OPAL = (
    ((90, 0, 90), (210, 60, 190), (255, 200, 250)),
    ((0, 70, 60), (0, 160, 120), (190, 255, 220)),
)  # the map "opal", which the world never has


@dataclass(frozen=True)
class ColourMap:
    """Colours of velocities: one of `MAPS` or opal; in a `variance` map turbulent flow is green; the box's border."""

    name: str
    variance: bool
    border: Colour

    @classmethod
    def draw(cls, rng: RNG) -> ColourMap:
        """A machine's map."""
        borders = ((230, 230, 230), (120, 120, 120), (90, 200, 120), (220, 200, 60), (60, 110, 200))
        return cls(str(rng.choice(list(MAPS))), bool(rng.random() < 0.25), borders[rng.integers(len(borders))])

    def colours(self, share: Array, rough: Array) -> Array:
        """RGB [..., 3] uint8 of velocities as shares of the Nyquist limit, beyond which they wrap; `rough` in [0, 1] is
        how turbulent the flow is."""
        rgb = table(self.name)[(((share + 1) % 2) * 127.99).astype(np.uint8)]
        if self.variance:
            rgb[..., 1] = np.minimum(rgb[..., 1] + 190 * rough, 255)
        return rgb


@lru_cache(maxsize=8)
def table(name: str) -> Array:
    """Colours [256, 3] uint8 of velocities from one Nyquist limit to the other."""
    speed = np.linspace(-1, 1, 256)
    towards, away = OPAL if name == "opal" else MAPS[name]
    knots = [-1.0, -0.5, -1e-6, 1e-6, 0.5, 1.0]
    colours = [*away[::-1], *towards]
    return np.stack([np.interp(speed, knots, [c[k] for c in colours]) for k in range(3)], -1).astype(np.uint8)


@dataclass(frozen=True)
class Flow:
    """How a recording shows velocities: box and scale as factors of the usual, shift as a share of the box's size."""

    colours: ColourMap
    box: float
    aside: float
    deeper: float
    nyquist: float
    baseline: float
    floor: float  # share of the limit below which the wall filter shows nothing
    swirl: float
    turbulence: float
    bleeding: float
    speckles: float
    empty: bool
    shown_border: bool

    @classmethod
    def draw(cls, colours: ColourMap, rng: RNG) -> Flow:
        """One box in 12 is empty, as with a filter set too high or in diastasis."""
        return cls(
            colours,
            box=float(np.exp(rng.uniform(-0.35, 0.5))),
            aside=float(rng.uniform(-0.25, 0.25)),
            deeper=float(rng.uniform(-0.25, 0.25)),
            nyquist=float(np.exp(rng.uniform(-0.8, 0.25))),
            baseline=float(rng.choice([0, 0, rng.uniform(-0.4, 0.4)])),
            floor=float(rng.uniform(0.06, 0.25)),
            swirl=float(rng.choice([0, rng.uniform(0, 0.22)])),
            turbulence=float(rng.uniform(0, 0.5)),
            bleeding=float(rng.choice([0, rng.uniform(0, 0.35)])),
            speckles=float(rng.uniform(0, 0.06)),
            empty=bool(rng.random() < 0.08),
            shown_border=bool(rng.random() < 0.9),
        )
