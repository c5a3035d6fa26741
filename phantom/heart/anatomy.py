"""One beating heart in three dimensions: its coordinates, its sizes, its landmarks, and its pose at any moment.

The heart's own coordinates, in cm: z runs along the left ventricle from the apex (0) to the base; the angle around
that axis is counted so that 0° is the anterolateral wall, 60° anterior, 120° anteroseptal, 180° inferoseptal, 240°
inferior and 300° inferolateral (the six basal segments of Cerqueira et al., Circulation 2002). Seen from the apex, the
four-chamber plane is 0°-180°, the two-chamber plane 60°-240°, the long axis 120°-300°. The chest wall lies towards
120°, the diaphragm and the liver towards 225°.

Chambers are truncated ellipsoids and tubes whose size follows the cycle. The left ventricle scales affinely, so the
area-length volume of its four-chamber cut gives the stated ejection fraction exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from echoviewclip.phantom.heart.cycle import Cycle

Array = np.ndarray
CAUDAL = np.array([-0.66, -0.66, -0.35]) / np.linalg.norm([0.66, 0.66, 0.35])


def polar(angle: float, radius: float, z: float) -> Array:
    """A point at `angle` degrees around the axis, `radius` cm from it, at height `z` cm."""
    return np.array([radius * np.cos(np.radians(angle)), radius * np.sin(np.radians(angle)), z])


@dataclass(frozen=True)
class Heart:
    """What is fixed about one patient's heart: sizes in cm at end-diastole, ejection fraction in [0, 1]."""

    cycle: Cycle
    ejection_fraction: float
    radius: float
    length: float
    wall: float
    right: float
    atria: float
    vessels: float
    cava: float
    collapse: float
    breath: float
    chest: float
    effusion: float = 0.0  # cm of fluid around it
    bend: float = 1.0  # how far walls are from perfect ellipsoids, 1 as usual
    wire: bool = False  # a pacing wire through the right heart
    prosthesis: str = ""  # the landmark of a valve that is a mechanical one

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Heart:
        """A patient's heart, from the healthy to the moderately diseased."""
        u = rng.uniform
        return cls(
            cycle=Cycle(heart_rate=u(52, 98), atrial=u(0.2, 0.38)),
            ejection_fraction=float(np.clip(rng.normal(0.57, 0.1), 0.25, 0.72)),
            radius=u(2.1, 2.65),
            length=u(7.8, 9.2),
            wall=u(0.85, 1.2),
            right=u(0.92, 1.15),
            atria=u(0.9, 1.18),
            vessels=u(0.92, 1.12),
            cava=u(0.75, 1.1),
            collapse=u(0.25, 0.7),
            breath=u(2.0, 3.2),
            chest=u(1.3, 2.3),
        )

    @cached_property
    def landmarks(self) -> dict[str, Array]:
        """Named points at end-diastole, cm: where valves sit and where gates, boxes and beams are put."""
        base = self.length
        mitral, tricuspid = polar(300, 0.75, base), polar(184, 4.4 * self.right, base - 0.3)
        return {
            "apex": polar(0, 0, 0),
            "mid": polar(0, 0, 0.55 * base),
            "mitral": mitral,
            "mitral tips": mitral - [0, 0, 1.6],
            "septal annulus": polar(180, 1.9, base),
            "lateral annulus": polar(0, 2.3, base),
            "tricuspid": tricuspid,
            "tricuspid tips": tricuspid - [0, 0, 1.2],
            "tricuspid annulus": tricuspid + polar(180, 1.65 * self.right, 0),
            "right ventricle": polar(155, 4.3, 0.55 * base),
            "aortic": polar(120, 1.45, base + 0.1),
            "ascending": polar(120, 1.45, base + 2.6),
            "left atrium": polar(300, 0.95, base + 2.2),
            "right atrium": polar(185, 4.5, base + 2.0),
            "outflow": polar(118, 4.35, base - 0.9),
            "pulmonary": polar(80, 3.8, base + 0.9),
            "pulmonary artery": polar(55, 3.9, base + 1.9),
            "bifurcation": polar(27, 3.8, base + 3.1),
            "arch": np.array([1.4, -0.5, base + 8.3]),
            "arch start": np.array([0.2, 2.5, base + 4.8]),
            "descending": np.array([2.3, -4.2, base + 1.5]),
            "arch end": np.array([2.3, -4.0, base + 5.2]),
            "cava": polar(185, 4.5, base + 2.0) + 5.2 * CAUDAL,
        }

    def volume(self, t: Array) -> Array:
        """Volume of the left ventricle's cavity at `t` seconds, ml."""
        return self.end_diastolic_volume * (1.0 - self.ejection_fraction * self.cycle.contraction(t))

    @property
    def end_diastolic_volume(self) -> float:
        """Volume of the truncated ellipsoid (centre at 0.7 of its length) at end-diastole, ml."""
        a, c = self.radius, 0.7 * self.length
        rest = self.length - c
        return float(np.pi * a**2 * (2.0 * c / 3.0 + rest - rest**3 / (3.0 * c**2)))


@dataclass(frozen=True)
class Pose:
    """The heart at T moments; every field is [T, 1, 1] float32, in cm or as a share in [0, 1]."""

    radius: Array
    length: Array
    right: Array  # height of the tricuspid annulus, which moves further than the mitral one
    wall: Array
    contraction: Array
    inflow: Array
    outflow: Array
    cava: Array

    @classmethod
    def at(cls, heart: Heart, t: Array) -> Pose:
        """The pose at times `t` [T] in seconds after an R wave."""
        c = heart.cycle.contraction(t)
        shortening = 1.0 - 0.27 * heart.ejection_fraction * c
        length = heart.length * shortening
        radius = heart.radius * np.sqrt((1.0 - heart.ejection_fraction * c) / shortening)
        muscle = (heart.radius + heart.wall) ** 2 * (heart.length + heart.wall) - heart.radius**2 * heart.length
        wall = np.sqrt((muscle + radius**2 * length) / (length + heart.wall)) - radius  # muscle keeps its volume
        breathing = 0.5 - 0.5 * np.cos(2 * np.pi * t / heart.breath)
        cava = heart.cava * (1.0 - heart.collapse * breathing**2)
        right = heart.length - 0.3 - 1.5 * (heart.length - length)
        fields = (radius, length, right, wall, c, heart.cycle.inflow_opening(t), heart.cycle.outflow_opening(t), cava)
        return cls(*(np.asarray(field, np.float32)[:, None, None] for field in fields))

    @property
    def squeeze(self) -> Array:
        """The right ventricle's width as a share of that at end-diastole."""
        return 1 - 0.24 * self.contraction
