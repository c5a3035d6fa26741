"""Screens whose image is known: phantom ultrasound of every outline, with the writing of a machine around it.

A `Screen` is drawn from (layout, state, seed) alone. Names and dates are invented.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image

from echoviewclip.datasets.video.regions import Region
from tests.datasets.intake.chrome import dress
from tests.datasets.intake.outlines import FRAMES, LAYOUTS, Rng

STATES = ("moving", "frozen", "single")
TAGS = ("none", "right", "whole", "around")
SIZES = ((600, 800), (480, 640), (768, 1024), (240, 320), (720, 1280), (480, 480))


@dataclass(frozen=True)
class Screen:
    """Frames uint8 [T, H, W, 3] and the truth: where the image is and where writing stands beside it (bool [H, W])."""

    frames: np.ndarray
    image: np.ndarray
    writing: np.ndarray
    regions: tuple[Region, ...] = ()


def draw_screen(layout: str, state: str, seed: int, tags: str = "none") -> Screen:
    """The screen of `layout` in a `state`, drawn from `seed`; every other one has been through lossy compression."""
    screen, parts = _untagged(layout, state, seed)
    rng = np.random.default_rng([seed, list(LAYOUTS).index(layout), 1])
    return replace(screen, regions=_tags(tags, layout, parts, rng))


@lru_cache(maxsize=1)
def _untagged(layout: str, state: str, seed: int) -> tuple[Screen, list[np.ndarray]]:
    """The screen without region tags, and the parts of its image."""
    rng = np.random.default_rng([seed, list(LAYOUTS).index(layout)])
    height, width = SIZES[int(rng.integers(len(SIZES)))]
    frames, parts = LAYOUTS[layout](rng, height, width)
    image = np.any(parts, axis=0)
    if state != "moving":
        frames = frames[FRAMES // 2 :][:1].repeat(1 if state == "single" else FRAMES, 0)
    writing = dress(frames, image, rng, live=state == "moving", extra=layout)
    if rng.random() < 0.5:
        quality = int(rng.integers(75, 95))
        frames = np.stack([_jpeg(frame, quality) for frame in frames])
    return Screen(frames, image, writing), parts


def _jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _tags(tags: str, layout: str, parts: list[np.ndarray], rng: Rng) -> tuple[Region, ...]:
    """Region tags: none, a box around each part, one box as large as the picture, or boxes around too much."""
    height, width = parts[0].shape
    if tags == "none":
        return ()
    if tags == "whole":
        return (Region(0, 0, width, height, "2d", "tissue"),)
    regions = []
    for number, part in enumerate(parts):
        rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
        edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        if tags == "around":
            edges = edges + (np.array([-width, -height, width, height]) * rng.uniform(0.02, 0.12, 4)).astype(int)
            edges = np.clip(edges, 0, [width, height, width, height])
        strip = layout == "strip_alone" or (number == 1 and layout in ("doppler", "m_mode"))
        kind = (("m-mode", "tissue") if layout == "m_mode" else ("spectral", "pw")) if strip else ("2d", "tissue")
        regions.append(Region(*edges.tolist(), *kind))
    return tuple(regions)
