"""The cardiac cycle: when chambers contract, valves open and blood flows, as smooth functions of time.

Times are seconds after the R wave, wrapped to one beat. Intervals follow the heart rate: electromechanical systole as
QS2 = 0.546 - 0.0021·HR seconds (Weissler et al., Circulation 1968), filling in an early and an atrial wave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def step(t: Array, start: float, end: float) -> Array:
    """The cubic step: 0 before `start`, 1 after `end`."""
    s = np.clip((t - start) / (end - start), 0.0, 1.0)
    return s * s * (3.0 - 2.0 * s)


def lobe(t: Array, start: float, end: float, peak: float = 0.5) -> Array:
    """One wave of height 1 between `start` and `end` whose top lies at the fraction `peak` of its width."""
    s = np.clip((t - start) / (end - start), 0.0, 1.0)
    s = np.where(s < peak, 0.5 * s / peak, 0.5 + 0.5 * (s - peak) / (1.0 - peak))
    return np.sin(np.pi * s) ** 1.3


@dataclass(frozen=True)
class Cycle:
    """One beat at `heart_rate` (per minute); `atrial` is the share of filling that the atrium's contraction adds."""

    heart_rate: float
    atrial: float

    @property
    def beat(self) -> float:
        """The R-R interval, s."""
        return 60.0 / self.heart_rate

    def phase(self, t: Array) -> Array:
        """Seconds after the last R wave."""
        return t % self.beat

    @property
    def end_systole(self) -> float:
        """Closure of the aortic valve, s after the R wave."""
        return 0.546 - 0.0021 * self.heart_rate

    @property
    def _early(self) -> tuple[float, float]:
        start = self.end_systole + 0.06
        return start, start + min(0.22, 0.6 * (self.beat - start))

    @property
    def _late(self) -> tuple[float, float]:
        return self.beat - 0.16, self.beat - 0.02

    def contraction(self, t: Array) -> Array:
        """0 at end-diastole, 1 at end-systole: the share of the stroke volume that has left the ventricle."""
        t = self.phase(t)
        refill = (1.0 - self.atrial) * step(t, *self._early) + self.atrial * step(t, *self._late)
        return step(t, 0.05, self.end_systole) * (1.0 - refill)

    def inflow_opening(self, t: Array) -> Array:
        """Opening of the mitral and tricuspid leaflets, 0 closed to 1 wide open: wide, half closed, wide again."""
        t = self.phase(t)
        start = self.end_systole + 0.04
        gate = step(t, start, start + 0.05) * (1.0 - step(t, self.beat - 0.03, self.beat))
        between = lobe(t, start + 0.12, self.beat - 0.06, 0.5)
        return gate * (1.0 - 0.55 * between)

    def outflow_opening(self, t: Array) -> Array:
        """Opening of the aortic and pulmonary cusps, 0 closed to 1 open."""
        t = self.phase(t)
        return step(t, 0.05, 0.09) * (1.0 - step(t, self.end_systole - 0.04, self.end_systole))

    def inflow(self, t: Array, early: float, late: float) -> Array:
        """Velocity through an open inlet valve, m/s: waves E and A of the given peaks."""
        t = self.phase(t)
        return early * lobe(t, *self._early, 0.38) + late * lobe(t, *self._late, 0.5)

    def ejection(self, t: Array, peak: float, early: float = 0.42) -> Array:
        """Velocity through an open outlet valve, m/s; `early` is where in the ejection it is fastest."""
        return peak * lobe(self.phase(t), 0.06, self.end_systole, early)

    def systolic_jet(self, t: Array, peak: float) -> Array:
        """A regurgitant jet of the inlet valves, m/s: rounded, as long as systole."""
        s = np.clip((self.phase(t) - 0.02) / (self.end_systole + 0.03), 0.0, 1.0)
        return peak * np.sin(np.pi * s) ** 0.6

    def diastolic_jet(self, t: Array, peak: float) -> Array:
        """A regurgitant jet of the outlet valves, m/s: sudden, then slowly falling, with a dip at the atrial wave."""
        t = self.phase(t)
        start = self.end_systole + 0.02
        fall = 1.0 - 0.55 * np.clip((t - start) / (self.beat - start), 0.0, 1.0)
        gate = step(t, start, start + 0.07) * (1.0 - step(t, self.beat - 0.03, self.beat))
        return peak * gate * (fall - 0.18 * lobe(t, *self._late))

    def annulus(self, t: Array, systolic: float, early: float, late: float) -> Array:
        """Tissue velocity of an annulus towards the apex, m/s: s' above, e' and a' below the baseline."""
        t = self.phase(t)
        isovolumic = 0.45 * systolic * lobe(t, 0.0, 0.06)
        wave = systolic * lobe(t, 0.06, self.end_systole - 0.02, 0.35)
        start, end = self._early
        return isovolumic + wave - early * lobe(t, start - 0.02, end - 0.06, 0.4) - late * lobe(t, *self._late)

    def electrocardiogram(self, t: Array) -> Array:
        """Lead II in arbitrary units: P, QRS and T as Gaussians."""
        t = self.phase(t)
        waves = (
            (self.beat - 0.16, 0.025, 0.14),
            (0.0, 0.010, 1.0),
            (self.beat, 0.010, 1.0),
            (self.beat - 0.025, 0.008, -0.14),
            (0.028, 0.010, -0.24),
            (0.78 * self.end_systole, 0.045, 0.27),
        )
        return sum((height * np.exp(-0.5 * ((t - at) / width) ** 2) for at, width, height in waves), np.zeros_like(t))
