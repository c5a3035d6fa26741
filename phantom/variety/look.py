"""A look: what one laboratory's machine shows in all recordings of a study."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from echoviewclip.phantom.machine import Colour
from echoviewclip.phantom.variety.flow import ColourMap
from echoviewclip.phantom.variety.layout import Framing, Scan
from echoviewclip.phantom.variety.texture import Texture
from echoviewclip.phantom.variety.tone import Tone

INKS: tuple[Colour, ...] = (
    (230, 230, 230), (170, 190, 255), (235, 235, 150), (150, 230, 180), (240, 190, 120), (140, 200, 240),
    (255, 255, 255),
)  # fmt: skip
TRACES: tuple[Colour, ...] = (
    (60, 230, 90), (60, 230, 90), (240, 220, 70), (90, 210, 240), (230, 230, 230), (240, 90, 90), (60, 180, 170)
)  # fmt: skip


@dataclass(frozen=True)
class Chrome:
    """A maker's screen: text's colour and height, and the shares of recordings that show each thing."""

    ink: Colour
    trace: Colour
    letters: float  # height of text, a share of the screen's
    texts: float
    bars: float
    traced: float
    ticks: float
    mark: str  # the probe's mark: disc, letter, ring or none
    header: bool
    side: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Chrome:
        """A maker's screen."""
        return cls(
            ink=INKS[rng.integers(len(INKS))],
            trace=TRACES[rng.integers(len(TRACES))],
            letters=float(rng.uniform(0.018, 0.036)),
            texts=float(rng.choice([0.0, 0.5, 1.0], p=[0.15, 0.15, 0.7])),
            bars=float(rng.choice([0.0, 0.7, 1.0])),
            traced=float(rng.choice([0.0, 0.6, 1.0], p=[0.15, 0.25, 0.6])),
            ticks=float(rng.choice([0.0, 0.7, 1.0])),
            mark=str(rng.choice(["disc", "letter", "ring", "none"])),
            header=bool(rng.random() < 0.3),
            side=int(rng.integers(2)),
        )


@dataclass(frozen=True)
class Look:
    """What is drawn once a study."""

    tone: Tone
    texture: Texture
    scan: Scan
    framing: Framing
    colours: ColourMap
    chrome: Chrome

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        """A laboratory's machine."""
        return cls(
            Tone.draw(rng), Texture.draw(rng), Scan.draw(rng), Framing.draw(rng), ColourMap.draw(rng), Chrome.draw(rng)
        )

    @classmethod
    def draw_elsewhere(cls, rng: np.random.Generator) -> Look:
        """A machine that `draw` never draws: green greys, long speckle, colours and letters of its own, no marks."""
        look = cls.draw(rng)
        return replace(
            look,
            tone=replace(look.tone, hue="green", tint=1.0),
            texture=replace(look.texture, passes=(4, 3)),
            colours=replace(look.colours, name="opal", border=(210, 120, 210)),
            chrome=replace(look.chrome, ink=(110, 240, 110), trace=(240, 120, 240), mark="none"),
        )
