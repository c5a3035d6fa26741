"""Hearts of all kinds: dilated, thick, small, of children, with fluid, wires, prostheses, and beats that vary."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array, Heart
from echoviewclip.phantom.heart.cycle import Cycle
from echoviewclip.utils.seeding import generator

RNG = np.random.Generator
BEATS = 64  # that are drawn; they come round again


@dataclass(frozen=True)
class IrregularCycle(Cycle):
    """Beats whose intervals vary by the share `spread`: systole keeps its length, and diastole takes what is left."""

    spread: float
    seed: int

    def phase(self, t: Array) -> Array:
        """Seconds after an R wave of a regular beat in the same state."""
        starts = _starts(self.heart_rate, self.spread, self.seed)
        t = np.asarray(t, float) % starts[-1]
        number = np.clip(np.searchsorted(starts, t, side="right") - 1, 0, BEATS - 1)
        since, interval = t - starts[number], np.diff(starts)[number]
        end = self.end_systole
        rest = np.maximum(interval - end, 1e-3)
        return np.where(since < end, since, end + (since - end) * (self.beat - end) / rest)


def _starts(heart_rate: float, spread: float, seed: int) -> Array:
    """Times of R waves, s."""
    share = np.clip(1 + spread * generator(seed).standard_normal(BEATS), 0.72, 1.8)
    return np.concatenate([[0.0], np.cumsum(60 / heart_rate * share)])


def draw_heart(rng: RNG) -> tuple[Heart, float]:
    """A heart, and its size as a share of an adult's."""
    heart, u = Heart.draw(rng), rng.uniform
    kind = str(rng.choice(["usual", "dilated", "thick", "right", "atria"], p=[0.48, 0.18, 0.14, 0.1, 0.1]))
    size = float(u(0.4, 0.85)) if rng.random() < 0.12 else 1.0
    if kind == "dilated":
        heart = replace(
            heart, radius=u(2.6, 3.3), length=u(8.8, 10.2), ejection_fraction=u(0.15, 0.42), wall=u(0.7, 1.0)
        )
    elif kind == "thick":
        heart = replace(heart, radius=u(1.7, 2.2), wall=u(1.25, 1.9), ejection_fraction=u(0.55, 0.76))
    elif kind == "right":
        heart = replace(heart, right=u(1.12, 1.4), cava=u(1.0, 1.5), collapse=u(0.05, 0.35), radius=u(1.9, 2.4))
    elif kind == "atria":
        heart = replace(heart, atria=u(1.15, 1.45))
    rate = u(85, 150) if size < 1 else u(45, 125) if rng.random() < 0.3 else u(50, 95)
    atrial = u(0.15, 0.42)
    cycle, seed = Cycle(rate, atrial), int(rng.integers(2**31))
    rhythm = rng.random()
    if rhythm < 0.12:  # fibrillation: no atrial wave
        cycle = IrregularCycle(rate, 0.02, float(u(0.12, 0.28)), seed)
    elif rhythm < 0.3:  # breathing
        cycle = IrregularCycle(rate, atrial, float(u(0.02, 0.07)), seed)
    return replace(
        heart,
        cycle=cycle,
        chest=u(0.9, 1.5) if size < 1 else u(1.1, 3.0),
        effusion=float(u(0.25, 0.8)) if rng.random() < 0.08 else 0.0,
        bend=float(u(0.8, 2.4)),
        wire=bool(rng.random() < 0.07),
        prosthesis=str(rng.choice(["mitral", "aortic"])) if rng.random() < 0.06 else "",
    ), size


def draw_thickened_heart(rng: RNG) -> tuple[Heart, float]:
    """`draw_heart` with walls thicker, and a cavity narrower, than any that it draws."""
    (heart, size), u = draw_heart(rng), rng.uniform
    return replace(
        heart, wall=u(1.95, 2.3), radius=u(1.5, 1.7), ejection_fraction=u(0.6, 0.75), atria=u(1.2, 1.4)
    ), size
