"""A patient: one heart, one set of flow velocities, one body and one machine, shared by all videos of the study."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array, Heart
from echoviewclip.phantom.machine import Machine
from echoviewclip.phantom.variety.hearts import draw_heart, draw_thickened_heart
from echoviewclip.phantom.variety.look import Look
from echoviewclip.utils.seeding import generator

VARIED, ONE_LOOK = 30_000, 40_000  # beyond the numbers of a study's videos


@dataclass(frozen=True)
class Patient:
    """What is drawn once per study. Peak velocities in m/s are magnitudes; signs are those of `velocity`.

    A varied study has a `look`; `size` is the heart's as a share of an adult's, in whose centimetres all else is.
    """

    number: int
    heart: Heart
    machine: Machine
    gain: float  # dB
    peaks: dict[str, float] = field(default_factory=dict)
    look: Look | None = None
    size: float = 1.0

    @classmethod
    def draw_varied(cls, seed: int, number: int, elsewhere: bool = False) -> Patient:
        """Patient `number` of the varied data set `seed`, or of one hospital with one machine that it does not hold."""
        plain, rng = cls.draw(seed, number), generator(seed, number, VARIED)
        heart, size = draw_thickened_heart(rng) if elsewhere else draw_heart(rng)
        peaks = {flow: speed * float(np.exp(rng.uniform(-0.3, 0.35))) for flow, speed in plain.peaks.items()}
        if heart.cycle.atrial < 0.1:  # fibrillation
            peaks |= {flow: 0.0 for flow in ("A", "tricuspid A", "a", "right a")}
        look = Look.draw_elsewhere(generator(seed, ONE_LOOK)) if elsewhere else Look.draw(rng)
        return replace(plain, heart=heart, peaks=peaks, look=look, size=size)

    @classmethod
    def draw(cls, seed: int, number: int) -> Patient:
        """Patient `number` of the data set `seed`."""
        rng = generator(seed, number)
        u = rng.uniform
        # Typical values of a healthy adult and their spread: mitral E 0.67, A 0.47, tricuspid 0.51, 0.35, tricuspid
        # regurgitation 2.7 m/s; tissue an order of magnitude slower.
        peaks = {
            "E": 0.67 * u(0.85, 1.2), "A": 0.47 * u(0.8, 1.25), "tricuspid E": 0.51 * u(0.85, 1.15),
            "tricuspid A": 0.35 * u(0.8, 1.2), "aortic": u(1.0, 1.6), "outflow": u(0.6, 0.8), "pulmonary": u(0.8, 1.0),
            "tricuspid regurgitation": 2.7 * u(0.88, 1.15), "pulmonary regurgitation": u(1.4, 2.0), "s": u(0.07, 0.1),
            "e": u(0.08, 0.12), "a": u(0.07, 0.1), "right s": u(0.11, 0.15), "right e": u(0.1, 0.14),
            "right a": u(0.1, 0.15),
        }  # fmt: skip
        return cls(number, Heart.draw(rng), Machine.draw(rng), float(u(-2.5, 2.5)), peaks)

    def velocity(self, flow: str, t: Array) -> Array:
        """Velocity towards the probe, m/s, of the flow named `flow` at times `t` (s after an R wave)."""
        c, p = self.heart.cycle, self.peaks
        curves = {
            "mitral": lambda: c.inflow(t, p["E"], p["A"]),
            "tricuspid": lambda: c.inflow(t, p["tricuspid E"], p["tricuspid A"]),
            "aortic": lambda: -c.ejection(t, p["aortic"]),
            "outflow": lambda: -c.ejection(t, p["outflow"], 0.36),
            "pulmonary": lambda: -c.ejection(t, p["pulmonary"], 0.48),
            "tricuspid regurgitation": lambda: -c.systolic_jet(t, p["tricuspid regurgitation"]),
            "pulmonary regurgitation": lambda: (
                c.diastolic_jet(t, p["pulmonary regurgitation"]) - c.ejection(t, 0.9 * p["pulmonary"])
            ),
            "mitral annulus": lambda: c.annulus(t, p["s"], p["e"], p["a"]),
            "tricuspid annulus": lambda: c.annulus(t, p["right s"], p["right e"], p["right a"]),
            "hepatic vein": lambda: -c.ejection(t, 0.42) - 0.28 * c.inflow(t, 1.0, 0.0) + 0.22 * c.inflow(t, 0.0, 1.0),
        }
        return curves[flow]()
