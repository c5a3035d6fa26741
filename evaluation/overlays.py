"""Why a model decided, over the pictures that it saw: maps in [0, 1] as colours, the same on every page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

# Lightness rises with the value in either scale, blue to green for, purple to yellow against: also without colour.
SCALES = {
    "for": ("#10264f", "#20518f", "#1f83a8", "#2fb5a0", "#8be08a", "#f2ffc4"),
    "against": ("#2b0f4a", "#6b1b6e", "#ad2f63", "#e2593f", "#f99a2c", "#fff0a8"),
}
FAINT, SHOWN, MOST = 0.06, 0.45, 0.72  # values that are not shown, those that are shown in full, and their opacity


@dataclass(frozen=True)
class Why:
    """What spoke for and against the view that a model named, in frames of one clip of a video.

    Attributes:
        frames: int64 [n], where in the video each frame was, increasing.
        pictures: uint8 [n, S, S, 3], the frames as the model saw them.
        spoke_for: float32 [n, rows, columns] in [0, 1], a number a patch.
        spoke_against: the same against it; None without a negative branch.
    """

    frames: np.ndarray
    pictures: np.ndarray
    spoke_for: np.ndarray
    spoke_against: np.ndarray | None

    @property
    def sides(self) -> dict[str, np.ndarray]:
        """The maps by the name of their scale."""
        return {"for": self.spoke_for} | ({} if self.spoke_against is None else {"against": self.spoke_against})


def lay_over(pictures: np.ndarray, maps: np.ndarray, scale: str) -> np.ndarray:
    """Pictures uint8 [n, H, W, 3] under maps float32 [n, rows, columns] in the colours of one of SCALES."""
    height, width = pictures.shape[1:3]
    table = colour_table(scale)
    grey = [Image.fromarray((255 * one).round().astype(np.uint8)).resize((width, height), 2) for one in maps]
    colours = table[np.stack([np.asarray(one) for one in grey])]
    opacity = colours[..., 3:] / 255
    return (pictures * (1 - opacity) + colours[..., :3] * opacity).round().astype(np.uint8)


def colour_table(scale: str) -> np.ndarray:
    """Red, green, blue and opacity of each grey value, float64 [256, 4] in [0, 255]."""
    stops = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in SCALES[scale]])
    value = np.arange(256) / 255
    colours = [np.interp(value, np.linspace(0, 1, len(stops)), part) for part in stops.T]
    return np.stack([*colours, 255 * MOST * ((value - FAINT) / (SHOWN - FAINT)).clip(0, 1)], axis=1)
