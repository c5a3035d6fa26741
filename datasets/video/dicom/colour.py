"""Three values a pixel as RGB, and whether they are what their label says."""

from __future__ import annotations

import numpy as np
from pydicom.pixels import convert_color_space

NEUTRAL = 8  # how far the colours of a grey pixel may lie apart, of 255
LOOKED_AT = 128  # rows of a picture

# The inverse of the matrix in PS3.3 C.7.6.3.1.2 for YBR_PARTIAL_422 (ITU-R BT.601, 16 to 235 and 240)
PARTIAL = np.array([[1.1644, 0, 1.596], [1.1644, -0.3918, -0.813], [1.1644, 2.0172, 0]], np.float32)


def to_rgb(values: np.ndarray, meaning: str, bits: int) -> np.ndarray:
    """Values [H, W, 3] of `bits` bits that mean RGB, YBR_FULL or YBR_PARTIAL → uint8 [H, W, 3] RGB."""
    values = to_bytes(values, 0, 2.0**bits - 1)
    if meaning == "YBR_FULL":
        return convert_color_space(values, "YBR_FULL", "RGB")
    if meaning == "YBR_PARTIAL":
        return to_bytes((values - np.array([16, 128, 128], np.float32)) @ PARTIAL.T, 0, 255)
    return values


def to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8 of the same shape: 0 at `low`, 255 at `high`."""
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    scaled = np.subtract(values, low, dtype=np.float32)
    scaled *= 255 / (high - low)
    scaled += 0.5
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def true_meaning(values: np.ndarray, meaning: str, bits: int) -> str:
    """What the values [H, W, 3] of a picture can only be, where that is sure; else `meaning`.

    Much of what is RGB lies outside the RGB cube if it is taken for YCbCr: black first of all. The two colours of
    YCbCr stay near their middle while its brightness does not, as those of RGB do in no picture of ultrasound.
    """
    y, cb, cr = _sample(values, bits)
    if meaning == "YBR_FULL":
        red, blue = y + 1.402 * cr, y + 1.772 * cb
        outside = np.maximum.reduce([red - 255, -red, blue - 255, -blue]) > 32
        return "RGB" if outside.mean() > 0.2 else meaning
    if meaning == "RGB":
        dark, bright = np.percentile(y, [5, 95])
        tame = (np.abs(cb) <= 24) & (np.abs(cr) <= 24)
        is_gray = gray_share(values, "RGB", bits) > 0.25
        return "YBR_FULL" if tame.mean() > 0.9 and bright - dark > 60 and not is_gray else meaning
    return meaning


def gray_share(values: np.ndarray, meaning: str, bits: int) -> float:
    """Share of the pixels [H, W, 3] that are grey, if the values are what `meaning` says."""
    first, second, third = _sample(values, bits)
    if meaning != "RGB":
        return float(((np.abs(second) <= NEUTRAL) & (np.abs(third) <= NEUTRAL)).mean())
    colours = np.stack([first, second + 128, third + 128])
    return float((colours.max(0) - colours.min(0) <= NEUTRAL).mean())


def _sample(values: np.ndarray, bits: int) -> np.ndarray:
    """Some rows of a picture as float32 [3, n], of 255; the second and third value less 128."""
    rows = values[:: max(1, len(values) // LOOKED_AT)].reshape(-1, 3).astype(np.float32)
    return (rows * (255 / (2.0**bits - 1)) - np.array([0, 128, 128], np.float32)).T
