"""What each sample of a plane lies in, for a few moments of the beat at a time.

Structures (`vessels`, `chambers`, `valves`) are functions of a cut. Each measures once what stays, and yields functions
that add to a `Scene` what moves: so the same work is not done again for every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from echoviewclip.phantom.heart.anatomy import Array, Pose
from echoviewclip.phantom.heart.cut import Cut, Patch, Pools

Add = Callable[["Scene"], None]


class Scene(Pools):
    """The pools at T moments, and what is drawn by itself: distances to leaflets and annuli (`valves`), and to the left
    ventricle's `cavity` and `muscle`, None where the plane misses it."""

    def __init__(self, cut: Cut, moving: Sequence[Add], t: Array):
        shape = (len(t), *cut.points.shape[1:])
        super().__init__(*(np.broadcast_to(still, shape).copy() for still in vars(cut.still).values()))
        self.cut, self.pose = cut, Pose.at(cut.heart, t)
        self.valves: list[Patch] = []
        self.cavity: Patch | None = None
        self.muscle: Patch | None = None
        for add in moving:
            add(self)

    def material(self) -> tuple[Array, Array, Array]:
        """Where the tissue at each sample lies at end-diastole, so that speckle travels with it: x, y, z in cm."""
        pose, heart = self.pose, self.cut.heart
        x, y, z = self.cut.points
        sideways, upwards, pull = self.cut.follow
        grow = heart.radius / pose.radius - 1
        x, y = sideways * grow + x, upwards * grow + y
        roof = heart.length + 5.0
        above = (roof - heart.length) / (roof - pose.length)
        along = z * (above - 1)  # above the base; below it the other line is the lower one
        along += heart.length - above * pose.length
        np.minimum(along, z * (heart.length / pose.length - 1), out=along)
        along *= pull
        along += z
        return x, y, along
