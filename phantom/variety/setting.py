"""A setting: how one recording of a study is set up, drawn in the same way whatever the view."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from echoviewclip.phantom.variety.clutter import Clutter
from echoviewclip.phantom.variety.flow import Flow
from echoviewclip.phantom.variety.layout import Layout, draw_layout
from echoviewclip.phantom.variety.look import Look
from echoviewclip.phantom.variety.spectra import Spectral
from echoviewclip.phantom.variety.texture import Texture
from echoviewclip.phantom.variety.tone import Tone

STILLS = 0.15  # share of recordings that are one picture


@dataclass(frozen=True)
class Setting:
    """What is drawn once a recording."""

    look: Look
    tone: Tone
    texture: Texture
    layout: Layout
    clutter: Clutter
    flow: Flow
    spectral: Spectral
    stretch: float  # of the depth
    beats: float  # that a loop spans
    still: bool
    compared: bool  # two pictures of the view side by side

    @classmethod
    def draw(cls, look: Look, rng: np.random.Generator) -> Setting:
        """A recording on the machine of `look`, a little readjusted."""
        tone = replace(look.tone, gamma=look.tone.gamma * float(np.exp(rng.uniform(-0.15, 0.15))))
        down, across = look.texture.passes
        texture = replace(
            look.texture, passes=(max(1, down + int(rng.integers(-1, 2))), across + int(rng.integers(0, 2)))
        )
        return cls(
            look=look,
            tone=tone,
            texture=texture,
            layout=draw_layout(look.scan, look.framing, rng),
            clutter=Clutter.draw(rng),
            flow=Flow.draw(look.colours, rng),
            spectral=Spectral.draw(rng),
            stretch=float(np.exp(rng.uniform(-0.14, 0.3))),
            beats=float(np.exp(rng.uniform(np.log(0.6), np.log(3.0)))),
            still=bool(rng.random() < STILLS),
            compared=bool(rng.random() < 0.06),
        )
