"""A recording on the wide screen of its machine, smaller than it, off the centre, between columns of settings."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from echoviewclip.phantom import machine
from echoviewclip.phantom.heart.anatomy import Array

SHARE = (0.6, 0.95)  # of the screen's height that the recording takes
ASPECTS = (4 / 3, 1.4, 16 / 10, 16 / 9)
SETTINGS = ("FR", "Depth", "Gain", "Comp", "Freq", "Pwr", "DR", "Pers", "HR", "MI", "TIS", "Zoom", "Map", "Filt")


def on_screen(frames: Array, style: str, rng: np.random.Generator) -> tuple[Array, int, int]:
    """Square frames uint8 [T, S, S, 3] on a screen [T, H, W, 3] with even sides; returns it, and left and top of them.

    `style` is the machine's (`machine.STYLES`).
    """
    size = frames.shape[1]
    height = 2 * round(size / rng.uniform(*SHARE) / 2)
    width = 2 * round(height * rng.choice(ASPECTS) / 2)
    left, top = (round(rng.uniform(0.2, 0.8) * (side - size)) for side in (width, height))
    still = Image.new("RGB", (width, height))
    draw, colour = ImageDraw.Draw(still), machine.STYLES[style].text
    letters = machine.font(max(7, round(0.032 * height)))
    for x in (0.01 * width, left + size + 0.02 * width):
        for row, word in enumerate(rng.permutation(SETTINGS)[: rng.integers(4, 11)]):
            y = (0.08 + 0.05 * row) * height
            draw.text((x, y), f"{word} {rng.integers(1, 99)}", fill=colour, font=letters)
    screen = np.repeat(np.asarray(still)[None], len(frames), axis=0)
    screen[:, top : top + size, left : left + size] = frames
    return screen, left, top
