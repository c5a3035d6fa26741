"""Where the probe stands and which plane it cuts: the acoustic windows of an examination.

Each function returns a `Plane` in the heart's coordinates (`anatomy`). Orientation follows the guidelines of the
American Society of Echocardiography (Mitchell et al., JASE 2019): apex at the top and the left ventricle on the right
of apical views, the base on the right of long-axis views, the right ventricle on the left of short-axis views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from echoviewclip.phantom.heart.anatomy import CAUDAL, Array, Heart, polar


@dataclass(frozen=True)
class Plane:
    """A scan plane: the probe's face, the unit vectors of depth and of the image's right, and the depth in cm."""

    probe: Array
    depth: Array
    right: Array
    reach: float

    @classmethod
    def look(cls, probe: Array, target: Array, right: Array | Sequence[float], reach: float) -> Plane:
        """The plane from `probe` through `target`, with the image's right as near as may be to `right`."""
        probe, side = np.asarray(probe, float), np.asarray(right, float)
        down = np.asarray(target, float) - probe
        down /= np.linalg.norm(down)
        side = side - down * (side @ down)
        return cls(probe, down, side / np.linalg.norm(side), reach)

    def held(self, fan: float, turn: float, rock: float, slide: float, sink: float, stretch: float) -> Plane:
        """The plane in another hand: fanned out of plane, turned around the beam and rocked in plane (degrees), slid
        to the right and sunk (cm), the depth stretched."""
        depth, right = self.depth, self.right
        normal = np.cross(depth, right)
        depth, normal = _rotate(depth, normal, fan)
        right, normal = _rotate(right, normal, turn)
        depth, right = _rotate(depth, right, rock)
        return Plane(self.probe + slide * self.right + sink * self.depth, depth, right, self.reach * stretch)

    def points(self, radii: Array, angles: Array) -> Array:
        """Heart coordinates [3, D, B] of samples at `radii` [D] (shares of the reach) and `angles` [B] (radians)."""
        beam = self.beams(angles)
        return (self.probe[:, None, None] + (radii * self.reach)[None, :, None] * beam[:, None, :]).astype(np.float32)

    def beams(self, angles: Array) -> Array:
        """Unit vectors [3, B] of the beams at `angles` (radians)."""
        return self.depth[:, None] * np.cos(angles) + self.right[:, None] * np.sin(angles)

    def locate(self, point: Array) -> tuple[float, float]:
        """Depth as a share of the reach, and angle in radians, of the projection of `point` on the plane."""
        offset = np.asarray(point) - self.probe
        x, y = offset @ self.right, offset @ self.depth
        return float(np.hypot(x, y) / self.reach), float(np.arctan2(x, y))


def _rotate(a: Array, b: Array, degrees: float) -> tuple[Array, Array]:
    """Orthogonal unit vectors turned towards each other: `a` towards `b`."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return a * c + b * s, b * c - a * s


def _apical(heart: Heart, right: float, aim: Array, reach: float = 0.0, shift: float = 0.0) -> Plane:
    probe = polar(right, shift, -heart.wall - heart.chest)
    return Plane.look(probe, aim, polar(right, 1, 0), reach or heart.length + heart.chest + 5.9)


def apical_four(heart: Heart) -> Plane:
    """Both ventricles, both atria."""
    return _apical(heart, 0, np.array([-0.9, -0.75, heart.length]))


def apical_five(heart: Heart) -> Plane:
    """The four-chamber plane fanned forward until the aortic root opens."""
    return _apical(heart, 0, np.array([-0.9, 1.05, heart.length]))


def apical_two(heart: Heart) -> Plane:
    """Left ventricle and atrium; anterior wall on the right."""
    return _apical(heart, 60, polar(300, 0.25, heart.length))


def apical_three(heart: Heart) -> Plane:
    """The long axis from the apex; aorta on the right."""
    return _apical(heart, 120, polar(120, 0.5, heart.length))


def right_focus(heart: Heart) -> Plane:
    """The four-chamber plane slid over the right ventricle."""
    aim = np.array([-4.1, -0.3, heart.length])
    return _apical(heart, 0, aim, heart.length + heart.chest + 4.8, -2.2)


def _chest(heart: Heart, z: float, angle: float = 120) -> Array:
    return polar(angle, heart.radius + heart.wall + 2.5 * heart.right + heart.chest, z)


def long_axis(heart: Heart) -> Plane:
    """The left ventricle's long axis from the chest wall; aorta on the right."""
    aim = polar(300, 0.4, heart.length - 1.2)
    return Plane.look(_chest(heart, heart.length - 2.0), aim, [0, 0, 1], heart.chest + 11.2)


def _short(heart: Heart, level: float) -> Plane:
    aim = polar(150, 0.6, level)
    probe = _chest(heart, 0.65 * level + 0.35 * 0.5 * heart.length)
    return Plane.look(probe, aim, polar(30, 1, 0), heart.chest + 10.6)


def short_mitral(heart: Heart) -> Plane:
    """Across the mitral leaflets."""
    return _short(heart, heart.length - 1.35)


def short_papillary(heart: Heart) -> Plane:
    """Across the papillary muscles."""
    return _short(heart, 0.54 * heart.length)


def short_apical(heart: Heart) -> Plane:
    """Near the apex."""
    return _short(heart, 0.17 * heart.length)


def _base(heart: Heart, aim: Array, reach: float) -> Plane:
    """The short axis at the aortic valve, tilted to the base so that it holds tricuspid and pulmonary valve too."""
    probe, valve = _chest(heart, heart.length - 2.5), heart.landmarks["aortic"] + [0, 0, 0.7]
    right = polar(30, 1, 0.3)
    normal = np.cross(valve - probe, right)
    normal /= np.linalg.norm(normal)
    return Plane.look(probe, aim - normal * (normal @ (aim - probe)), right, reach)


def short_aortic(heart: Heart) -> Plane:
    """Across the aortic valve, the right heart wrapped around it."""
    return _base(heart, heart.landmarks["aortic"], heart.chest + 10.5)


def short_tricuspid(heart: Heart) -> Plane:
    """The same plane, aimed at the tricuspid valve."""
    mark = heart.landmarks
    return _base(heart, 0.35 * mark["aortic"] + 0.65 * mark["tricuspid"], heart.chest + 9.8)


def outflow(heart: Heart) -> Plane:
    """The same plane, aimed at the right ventricle's outflow and the pulmonary valve."""
    mark = heart.landmarks
    return _base(heart, 0.25 * mark["aortic"] + 0.75 * mark["pulmonary artery"], heart.chest + 8.4)


def pulmonary_long(heart: Heart) -> Plane:
    """Outflow tract, pulmonary valve and trunk lengthwise, as far as the bifurcation."""
    mark = heart.landmarks
    normal = np.cross(mark["pulmonary"] - mark["outflow"], mark["bifurcation"] - mark["outflow"])
    normal /= np.linalg.norm(normal)
    lift = np.array([0.1, 1.0, 0.0])
    lift = lift - normal * (normal @ lift)
    middle = 0.5 * mark["pulmonary"] + 0.5 * mark["pulmonary artery"]
    probe = mark["pulmonary"] + (2.2 + heart.chest) * lift / np.linalg.norm(lift)
    right = mark["pulmonary artery"] - mark["outflow"]
    return Plane.look(probe, middle, right, heart.chest + 8.4)


def right_inflow(heart: Heart) -> Plane:
    """Right ventricle, tricuspid valve and right atrium; no left heart."""
    mark = heart.landmarks
    probe = polar(127, 7.2 * heart.right + 0.4 * heart.chest, 0.55 * heart.length)
    aim = 0.6 * mark["tricuspid"] + 0.4 * mark["right ventricle"]
    return Plane.look(probe, aim, mark["right atrium"] - mark["right ventricle"], heart.chest + 10.5)


def vena_cava(heart: Heart) -> Plane:
    """Under the ribs: the inferior vena cava lengthwise, liver above it, the right atrium on the right."""
    middle = heart.landmarks["cava"]
    up = polar(120, 1, -0.3)
    up = up - CAUDAL * (up @ CAUDAL)
    probe = middle + 5.2 * up / np.linalg.norm(up) + 1.5 * CAUDAL
    return Plane.look(probe, middle - 1.0 * CAUDAL, -CAUDAL, 13.5)


def suprasternal(heart: Heart) -> Plane:
    """Above the sternum: the aortic arch, the right pulmonary artery in its bend."""
    mark = heart.landmarks
    across = mark["descending"] - mark["arch start"]
    probe = mark["arch"] + np.array([-0.2, 0.3, 3.0])
    return Plane.look(probe, mark["arch"] - np.array([0.1, 0, 2]), across, 11.5)


def subcostal_four(heart: Heart) -> Plane:
    """Not of the 38: four chambers through the liver, apex to the right."""
    probe = polar(205, 9.5, 0.38 * heart.length)
    return Plane.look(probe, polar(330, 0.2, 0.72 * heart.length), [0.2, 0.2, -1], 17.0)


def subcostal_short(heart: Heart) -> Plane:
    """Not of the 38: the ventricles' short axis through the liver."""
    probe = polar(222, 9.5, 0.5 * heart.length)
    return Plane.look(probe, polar(150, 0.5, 0.52 * heart.length), polar(330, 1, 0), 16.0)


def right_parasternal(heart: Heart) -> Plane:
    """Not of the 38: the ascending aorta lengthwise from the right of the sternum."""
    mark = heart.landmarks
    return Plane.look(
        mark["ascending"] + polar(150, 6.0, 1.0), mark["ascending"] + [0.2, 0.3, 0.6], [0.2, 0.2, 1], 12.5
    )


PLANES: dict[str, Callable[[Heart], Plane]] = {
    f.__name__: f
    for f in (
        apical_four, apical_five, apical_two, apical_three, right_focus, long_axis, short_mitral, short_papillary,
        short_apical, short_aortic, short_tricuspid, outflow, pulmonary_long, right_inflow, vena_cava, suprasternal,
        subcostal_four, subcostal_short, right_parasternal,
    )
}  # fmt: skip
