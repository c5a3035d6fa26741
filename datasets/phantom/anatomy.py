"""One beating heart in three dimensions, as signed distances that any plane can be cut from.

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

from datasets.phantom.cycle import Cycle

Array = np.ndarray
FAR = np.float32(4.0)  # cm: a distance beyond every structure's reach
CAUDAL = np.array([-0.66, -0.66, -0.35]) / np.linalg.norm([0.66, 0.66, 0.35])
WALL = {"atrium": 0.22, "right ventricle": 0.38, "vessel": 0.18}  # cm


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


def _irregular(points: Array, heart: Heart) -> Array:
    """Bends space by a millimetre or two, so that no wall is a perfect ellipsoid; the bends are the patient's own."""
    x, y, z = points
    a, b = heart.radius * 40.0, heart.length * 13.0  # phases
    return np.stack(
        [
            x + 0.16 * np.sin(0.8 * y + 0.7 * z + a) + 0.07 * np.sin(2.1 * z - 1.7 * y + b),
            y + 0.16 * np.sin(0.9 * z + 0.6 * x + b) + 0.07 * np.sin(2.3 * x + 1.6 * z + a),
            z + 0.12 * np.sin(0.9 * x + 0.7 * y - a) + 0.06 * np.sin(2.2 * y - 1.9 * x - b),
        ]
    ).astype(np.float32)


class Scene:
    """What each sample of a scan plane lies in: signed distances in cm, negative inside, [T, D, B] float32.

    `points` are the samples' heart coordinates, three arrays [D, B]. Structures are evaluated only in the window of
    the plane that their bounding sphere reaches.
    """

    def __init__(self, heart: Heart, points: Array, t: Array):
        self.heart, self.points = heart, _irregular(points, heart)
        self.pose = Pose.at(heart, t)
        shape = (len(t), *points.shape[1:])
        self.blood = np.full(shape, FAR, np.float32)
        self.outside = np.full(shape, FAR, np.float32)
        self.valves = np.full(shape, FAR, np.float32)
        self.muscle = np.full(shape, FAR, np.float32)
        self.cavity = np.full(shape, FAR, np.float32)
        self._vessels()
        self._left_ventricle()
        self._right_ventricle()
        self._atria()
        self._valves()

    def _window(self, centre: Array, reach: float) -> tuple | None:
        """The part of the plane within `reach` cm of `centre`, as an index, or None."""
        offset = self.points - np.asarray(centre, np.float32)[:, None, None]
        near = np.einsum("cdb,cdb->db", offset, offset) < reach * reach
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if not len(rows):
            return None
        return slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def _at(self, window: tuple) -> Array:
        return self.points[window]

    def _add(self, window: tuple, distance: Array, wall: float) -> None:
        """Adds a blood pool and the wall around it."""
        np.minimum(self.blood[window], distance, out=self.blood[window])
        np.minimum(self.outside[window], distance - np.float32(wall), out=self.outside[window])

    def _ellipsoid(self, at: Array, centre: tuple, axes: tuple, angle: float = 0.0) -> Array:
        """Approximate distance to an ellipsoid turned by `angle` degrees about z."""
        c, s = np.float32(np.cos(np.radians(angle))), np.float32(np.sin(np.radians(angle)))
        x, y, z = at[0] - centre[0], at[1] - centre[1], at[2] - centre[2]
        u, v, w = (x * c + y * s) / axes[0], (y * c - x * s) / axes[1], z / axes[2]
        k0 = np.sqrt(u * u + v * v + w * w) + np.float32(1e-4)
        u, v, w = u / axes[0], v / axes[1], w / axes[2]
        k1 = np.sqrt(u * u + v * v + w * w) + np.float32(1e-4)
        return k0 * (k0 - 1) / k1

    def _tube(self, points: list, radii: list, wall: float, store: Array | None = None, clear: bool = False) -> None:
        """A chain of tapering tubes; `clear` keeps it out of the left ventricle and the aorta."""
        for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
            a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
            axis = b - a
            span = float(np.linalg.norm(axis))
            window = self._window((a + b) / 2, span / 2 + float(np.max(ra)) + 0.9)
            if window is None:
                continue
            at = self._at(window)
            share = np.einsum("cdb,c->db", at - a[:, None, None], axis) / span**2
            share = np.clip(share, 0, 1).astype(np.float32)
            offset = at - a[:, None, None] - axis[:, None, None] * share
            distance = np.sqrt(np.einsum("cdb,cdb->db", offset, offset)) - (ra + share * (rb - ra))
            distance = np.broadcast_to(distance, self.blood[window].shape)
            if clear:
                distance = np.maximum(distance, 0.22 - self.keep[window])
            if store is not None:
                np.minimum(store[window], distance, out=store[window])
            self._add(window, distance, wall)

    def _vessels(self) -> None:
        heart, mark = self.heart, self.heart.landmarks
        size, base = heart.vessels, heart.length
        self.keep = np.full_like(self.blood, FAR)  # what other chambers make room for
        root = mark["aortic"]
        lift = np.array([0, 0, 0.9])
        out = [root - lift, root, root + lift, mark["ascending"], mark["arch start"]]
        arch = [mark["arch start"], [0.6, 1.6, base + 7.2], mark["arch"], [2.0, -2.9, base + 7.4], mark["arch end"]]
        down = [mark["arch end"], mark["descending"], mark["descending"] + 9 * CAUDAL * [1, 1, 0.2]]
        self._tube(out, [1.0 * size, 1.0 * size, 1.32 * size, 1.2 * size, 1.3 * size], WALL["vessel"], self.keep)
        self._tube(arch, [1.3 * size, 1.2 * size, 1.1 * size, 1.0 * size, 1.0 * size], WALL["vessel"])
        self._tube(down, [1.05 * size, 1.05 * size, 1.0 * size], WALL["vessel"])
        for start, tip in (
            ([0.7, 1.2, 7.8], [-0.8, 2.4, 12]),
            ([1.4, -0.5, 8.6], [1.1, -0.2, 12.5]),
            ([1.8, -2.0, 8.1], [2.5, -2.6, 12.5]),
        ):
            lift = np.array([0, 0, base])
            self._tube([np.array(start) + lift, np.array(tip) + lift], [0.42, 0.36], 0.12)
        branch = mark["bifurcation"]
        self._tube(
            [branch, [1.5, 0.0, base + 5.3], [-2.6, -0.8, base + 5.5]], [0.95, 0.85, 0.8], WALL["vessel"], clear=True
        )
        self._tube([branch, branch + np.array([2.4, -1.4, 1.0])], [0.95, 0.85], WALL["vessel"])
        entry = mark["right atrium"] + 1.2 * CAUDAL
        cava = self.pose.cava
        self._tube([entry, entry + 12 * CAUDAL], [cava, cava], 0.12)
        joint = entry + 3.2 * CAUDAL
        self._tube([joint, joint + polar(120, 2.2, 0) + 3.2 * CAUDAL], [0.42, 0.22], 0.05)

    def _left_ventricle(self) -> None:
        pose = self.pose
        window = self._window([0, 0, 0.55 * self.heart.length], 0.62 * self.heart.length + 2.5)
        if window is None:
            return
        at = self._at(window)
        a, length, h = pose.radius, pose.length, pose.wall
        centre = 0.7 * length
        cavity = self._ellipsoid(at, (0, 0, centre), (a, a, centre))
        cavity = np.maximum(cavity, at[2] - length)
        thick = centre + 0.75 * h
        muscle = self._ellipsoid(at, (0, 0, centre), (a + h, a + h, thick))
        muscle = np.maximum(muscle, at[2] - length - 0.25)
        self.cavity[window] = cavity
        self.muscle[window] = muscle
        np.minimum(self.keep[window], muscle, out=self.keep[window])
        np.minimum(self.outside[window], muscle, out=self.outside[window])
        np.minimum(self.blood[window], cavity, out=self.blood[window])
        self._papillary(window, at)

    def _papillary(self, window: tuple, at: Array) -> None:
        """Two papillary muscles stand on the wall: blood gives way to them."""
        pose, heart = self.pose, self.heart
        for angle in (20, 250):
            x, y, _ = polar(angle, 0.74, 0)
            u, v = at[0] - pose.radius * np.float32(x), at[1] - pose.radius * np.float32(y)
            w = (at[2] - 0.52 * pose.length) / np.float32(0.17 * heart.length)
            size = np.float32(0.2 * heart.radius)
            bump = np.sqrt(u * u + v * v + (w * size) ** 2) - size
            np.maximum(self.blood[window], -bump, out=self.blood[window])

    def _right_ventricle(self) -> None:
        heart, pose, mark = self.heart, self.pose, self.heart.landmarks
        size, base = heart.right, pose.right
        squeeze = 1 - 0.24 * pose.contraction
        x, y, _ = polar(155, 4.15, 0)
        window = self._window([x, y, 0.6 * heart.length], 0.55 * heart.length + 2.6)
        if window is not None:
            at = self._at(window)
            reach = 0.62 * pose.length
            lean = np.float32(0.5) + np.float32(0.5) * np.clip(at[2] / heart.length, 0, 1)
            axes = (2.45 * size * squeeze, 3.3 * size * (0.5 + 0.5 * squeeze), reach)
            free = self._ellipsoid(at, (x * lean, y * lean, base - 0.28 * reach), axes, 155)
            free = np.maximum(free, at[2] - base)
            np.minimum(self.outside[window], free - np.float32(WALL["right ventricle"]), out=self.outside[window])
            cavity = np.maximum(free, 0.05 - self.keep[window])
            np.minimum(self.blood[window], cavity, out=self.blood[window])
        out = [polar(135, 4.4, 0.62 * heart.length), mark["outflow"], mark["pulmonary"]]
        trunk = [mark["pulmonary"], mark["pulmonary artery"], mark["bifurcation"]]
        self._tube(out, [1.5 * squeeze, 1.3 * squeeze, 1.12 * heart.vessels], 0.3, clear=True)
        self._tube(trunk, [1.12 * heart.vessels, 1.3 * heart.vessels, 1.15 * heart.vessels], WALL["vessel"], clear=True)

    def _atria(self) -> None:
        heart, pose = self.heart, self.pose
        fill = heart.atria * (0.9 + 0.14 * pose.contraction)
        for angle, offset, axes, annulus in (
            (300, 0.95, (2.05, 2.25), pose.length),
            (185, 4.6, (2.1, 2.2), pose.right),
        ):
            x, y, _ = polar(angle, offset, 0)
            window = self._window([x, y, heart.length + 2], 5.0)
            if window is None:
                continue
            at = self._at(window)
            roof = np.float32(heart.length + 1.0 + 3.6 * heart.atria)
            tall = 0.62 * (roof - annulus)
            atrium = self._ellipsoid(at, (x, y, roof - tall), (axes[0] * fill, axes[1] * fill, tall), angle)
            atrium = np.maximum(atrium, annulus + 0.15 - at[2])
            atrium = np.maximum(atrium, 0.2 - self.keep[window])
            self._add(window, atrium, WALL["atrium"])

    def _valves(self) -> None:
        heart, pose, mark = self.heart, self.pose, self.heart.landmarks
        shut = pose.inflow
        self._inlet(mark["mitral"], 120, 1.5, (2.0, 1.5), pose.length, 0.32 + 1.05 * shut)
        self._inlet(mark["tricuspid"], 180, 1.65 * heart.right, (1.75, 1.6), pose.right, 0.25 + 1.05 * shut)
        shift = pose.length - np.float32(heart.length)
        along = mark["pulmonary artery"] - mark["outflow"]
        self._outlet(mark["aortic"], np.array([0, 0, 1.0]), 1.05 * heart.vessels, shift)
        self._outlet(mark["pulmonary"], along / np.linalg.norm(along), 1.12 * heart.vessels, 0.4 * shift)

    def _inlet(self, centre: Array, angle: float, radius: float, lengths: tuple, base: Array, tilt: Array) -> None:
        """Two leaflets hinged on a round annulus at height `base`, tilted `tilt` radians into the ventricle."""
        window = self._window(centre - [0, 0, 0.8], radius + 2.2)
        if window is None:
            return
        at = self._at(window)
        c, s = np.float32(np.cos(np.radians(angle))), np.float32(np.sin(np.radians(angle)))
        x, y, w = at[0] - centre[0], at[1] - centre[1], base - at[2]
        u, v = (x * c + y * s).astype(np.float32), (y * c - x * s).astype(np.float32)
        hinge = np.sqrt(np.maximum(radius**2 - v * v, 0)).astype(np.float32)
        beyond = np.maximum(np.abs(v) - radius, 0) ** 2
        orifice = np.sqrt(u * u + v * v) - np.float32(radius - 0.1)
        orifice = np.maximum(orifice, np.abs(w) - 0.5)
        np.minimum(self.blood[window], orifice, out=self.blood[window])
        for side, length in zip((1, -1), lengths, strict=True):
            ct, st = np.cos(tilt), np.sin(tilt)
            du = hinge - side * u
            along = np.clip(du * ct + w * st, 0, length * hinge / radius)
            distance = np.sqrt((du - along * ct) ** 2 + (w - along * st) ** 2 + beyond)
            np.minimum(self.valves[window], distance, out=self.valves[window])
        ring = np.sqrt((np.sqrt(u * u + v * v) - np.float32(radius + 0.1)) ** 2 + w * w) - np.float32(0.14)
        np.minimum(self.valves[window], ring, out=self.valves[window])

    def _outlet(self, centre: Array, axis: Array, radius: float, shift: Array) -> None:
        """Three cusps: a cone that opens into the vessel, and the star in which closed cusps meet."""
        window = self._window(centre, radius + 1.2)
        if window is None:
            return
        at = self._at(window)
        x, y, z = at[0] - centre[0], at[1] - centre[1], at[2] - (centre[2] + shift)
        w = x * axis[0] + y * axis[1] + z * axis[2]
        x, y, z = x - w * axis[0], y - w * axis[1], z - w * axis[2]
        rho = np.sqrt(x * x + y * y + z * z)
        opened = self.pose.outflow
        tilt = 0.12 + 1.3 * opened
        ct, st = np.cos(tilt), np.sin(tilt)
        inward = radius - rho
        along = np.clip(inward * ct + w * st, 0, radius)
        cone = np.sqrt((inward - along * ct) ** 2 + (w - along * st) ** 2)
        side = np.cross(axis, [0.36, -0.48, 0.8])
        side /= np.linalg.norm(side)
        other = np.cross(axis, side)
        u, v = x * side[0] + y * side[1] + z * side[2], x * other[0] + y * other[1] + z * other[2]
        star = np.full_like(rho, FAR)
        for k in range(3):
            ca, sa = np.cos(2.1 * k + 0.5), np.sin(2.1 * k + 0.5)
            ray = np.where(u * ca + v * sa > 0, np.abs(v * ca - u * sa), rho)
            star = np.minimum(star, ray)
        star = np.maximum(1.5 * star, np.abs(w - 0.35) - 0.4) + 2 * opened
        star = np.maximum(star, rho - radius)
        distance = np.minimum(cone, star).astype(np.float32)
        np.minimum(self.valves[window], distance, out=self.valves[window])

    def material(self) -> tuple[Array, Array, Array]:
        """Where the tissue at each sample lies at end-diastole, so that speckle travels with it, cm."""
        pose, heart = self.pose, self.heart
        x, y, z = self.points
        roof = heart.length + 5.0
        below = z * (heart.length / pose.length)
        above = heart.length + (z - pose.length) * ((roof - heart.length) / (roof - pose.length))
        apart = x * x + y * y
        along = np.where(z < pose.length, below, above) - z
        along /= 1 + (apart / 36.0) ** 3  # what lies beside the heart hardly follows it
        grow = 1 + (heart.radius / pose.radius - 1) / (1 + (apart / (heart.radius + 0.6) ** 2) ** 2)
        return x * grow, y * grow, z + along
