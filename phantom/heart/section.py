"""A cut with all structures of the heart in it."""

from __future__ import annotations

from echoviewclip.phantom.heart import chambers, devices, valves, vessels
from echoviewclip.phantom.heart.anatomy import Array, Heart
from echoviewclip.phantom.heart.cut import Cut
from echoviewclip.phantom.heart.scene import Scene


class Section(Cut):
    """A cut with all structures of the heart measured; `moving` adds those that move to a scene, in this order."""

    def __init__(self, heart: Heart, points: Array):
        super().__init__(heart, points)
        vessels.add_still(self)
        self.moving = [*vessels.cava(self), *chambers.left(self), *chambers.right(self), *vessels.outflow(self),
                       *chambers.atria(self), *valves.inlets(self), *valves.outlets(self),
                       *devices.wire(self), *devices.prosthesis(self)]  # fmt: skip

    def at(self, t: Array) -> Scene:
        """The scene at the moments `t` [T], seconds after an R wave."""
        return Scene(self, self.moving, t)
