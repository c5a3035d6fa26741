"""What each sample of a plane lies in, for a few moments of the beat at a time."""

from __future__ import annotations

import numpy as np

from datasets.phantom import chambers, valves, vessels
from datasets.phantom.anatomy import Array, Heart, Pose
from datasets.phantom.cut import Cut, Patch, Pools


class Section(Cut):
    """A cut with all structures of the heart measured; `moving` adds those that move to a scene, in this order."""

    def __init__(self, heart: Heart, points: Array):
        super().__init__(heart, points)
        vessels.add_still(self)
        self.moving = [*vessels.cava(self), *chambers.left(self), *chambers.right(self), *vessels.outflow(self),
                       *chambers.atria(self), *valves.inlets(self), *valves.outlets(self)]  # fmt: skip


class Scene(Pools):
    """The pools at T moments, and what is drawn by itself: distances to leaflets and annuli (`valves`), and to the left
    ventricle's `cavity` and `muscle`, None where the plane misses it."""

    def __init__(self, section: Section, t: Array):
        shape = (len(t), *section.points.shape[1:])
        super().__init__(*(np.broadcast_to(still, shape).copy() for still in vars(section.still).values()))
        self.section, self.pose = section, Pose.at(section.heart, t)
        self.valves: list[Patch] = []
        self.cavity: Patch | None = None
        self.muscle: Patch | None = None
        for add in section.moving:
            add(self)

    def material(self) -> tuple[Array, Array, Array]:
        """Where the tissue at each sample lies at end-diastole, so that speckle travels with it: x, y, z in cm."""
        pose, heart = self.pose, self.section.heart
        x, y, z = self.section.points
        sideways, upwards, pull = self.section.follow
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
