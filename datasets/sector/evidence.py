"""What in a picture speaks for ultrasound: cells that move, and cells that have its grain.

A recording is looked at in square cells, about CELLS along its short side. Speckle fills its cells with light in every
frame; a trace that sweeps or scrolls lights each of its cells in few frames, and writing is thin and still.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from echoviewclip.datasets.sector.text import LIGHT, Strokes

CELLS = 256  # along the short side
LEAST_CHANGE = 4.0  # grey levels over time, mean of a cell; compression makes still writing tremble by less
LIT = 0.3  # share of a cell's pixels and frames that is lit where there is speckle
BLOCK, RINGING = 8, 0.1  # pixels, and the share of what is bright that rings around it
RINGING_MEAN = 0.3  # of that, in the mean of a cell
FAINT = 0.7  # grey levels between background and what is dark in an image, mean of a cell
CLEAR = 2.5  # times what rings: certainly none of it
NOISIEST = 8.0  # grey levels that compression spreads a background over, at most
SOFT, LEAST_GROUND, EXACT = 2, 200, 0.95  # pixels: the edge of a stroke, ground around strokes; share of it
FEW = 3.5  # cells of three by three: fewer are a line or specks
LEAST_LIGHT = 0.003  # of the picture, light and flat: less has no room for a line of letters
FLAT = 2  # grey levels between neighbours: less is a flat panel, not grain

Mask = np.ndarray  # bool [H, W], of pixels or of cells


@dataclass(frozen=True)
class Evidence:
    """Cells [h, w] of a recording; `cell` is their side in pixels, `shape` that of the picture in pixels.

    `faint` is all that is not background, panels of menus and what rings around writing included. `writing` are words
    and traces; `ink` is what is drawn of them, in pixels. `light` are pixels that are no ringing of what is near.
    """

    shape: tuple[int, int]
    cell: int
    moves: Mask
    grain: Mask
    faint: Mask
    writing: Mask
    ink: Mask
    light: Mask

    @property
    def is_still(self) -> bool:
        """Whether nothing moves but, at most, traces, clocks and what compression makes tremble."""
        return self.moves.mean() < 0.005


def gather(frames: np.ndarray) -> Evidence:
    """The evidence in uint8 frames [T, H, W, 3]."""
    luma = _luma(frames)
    usual, (change, brightest) = luma[len(luma) // 2], _change(luma)
    cell = max(1, round(min(usual.shape) / CELLS))
    ground, noise = _background(usual, change)
    halo = _halo(brightest, ground, noise)
    light = _lit_share(luma, ground, halo)
    strokes, rough = Strokes.of(usual), _roughness(usual)
    words = strokes.words()
    writing, ink = words | strokes.traces(), strokes.mask
    if ((usual >= LIGHT) & (rough < FLAT)).mean() > LEAST_LIGHT:  # bars and frames that may be written on
        dark = Strokes.dark_of(usual)
        writing, ink = writing | dark.words(), ink | dark.mask
    moves, share = _cell_means(change, cell), _cell_means(light, cell)
    exact = _is_exact(rough, words, strokes)
    if exact:
        halo, noise = np.zeros_like(halo), 0.0
    grainy = (rough >= FLAT) & _departs(usual, ground, halo) & ~writing
    moves = (moves > max(LEAST_CHANGE, 0.1 * np.percentile(moves, 95))) & (share > LIT)
    grain = _cell_means(grainy.astype(np.float32), cell)
    grain = grain > 0 if exact else _without_ridges(grain > LIT, _cell_means(_above(usual, ground), cell), cell)
    mean = luma.mean(0, dtype=np.float32)
    faint = np.abs(_cell_means(mean, cell) - ground)
    faint = faint > np.maximum(FAINT, RINGING_MEAN * _cell_means(halo, cell))
    light = (np.abs(mean - ground) > FLAT if exact else _light(mean, ground, noise)) & ~writing
    return Evidence(usual.shape, cell, moves, grain, faint, _cell_means(writing, cell) > 0, writing & ink, light)


def _luma(frames: np.ndarray) -> np.ndarray:
    """The brightest channel [T, H, W]: colour Doppler is bright in one only."""
    luma = np.maximum(frames[..., 0], frames[..., 1])
    return np.maximum(luma, frames[..., 2], out=luma)


def _change(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far [T, H, W] goes over time, one outlying frame on either side aside, and how high: uint8 [H, W]."""
    first, second = np.zeros((2, *luma.shape[1:]), np.uint8), np.full((2, *luma.shape[1:]), 255, np.uint8)
    for frame in luma:
        np.maximum(first[1], np.minimum(first[0], frame), out=first[1])
        np.maximum(first[0], frame, out=first[0])
        np.minimum(second[1], np.maximum(second[0], frame), out=second[1])
        np.minimum(second[0], frame, out=second[0])
    kept = int(len(luma) >= 5)
    return first[kept] - second[kept], first[0]


def _background(usual: np.ndarray, change: np.ndarray) -> tuple[int, float]:
    """The grey level around images, and how far compression carries single pixels away from it."""
    flat = usual[(_roughness(usual) < FLAT) & (change <= LEAST_CHANGE)]
    if len(flat) < 0.02 * usual.size:
        return 0, NOISIEST
    ground = int(np.bincount(flat, minlength=256).argmax())
    near = np.abs(ndimage.uniform_filter(usual, 9).astype(np.int16) - ground) <= 3
    spread = np.abs(usual[near].astype(np.int16) - ground)
    return ground, float(np.clip(np.percentile(spread, 97) + 1.5, 2, NOISIEST)) if near.any() else NOISIEST


def _roughness(usual: np.ndarray) -> np.ndarray:
    """How much a pixel differs from the one to its right and the one below: the larger, int16 [H, W]."""
    signed = usual.astype(np.int16)
    rough = np.zeros_like(signed)
    rough[:-1] = np.abs(np.diff(signed, axis=0))
    rough[:, :-1] = np.maximum(rough[:, :-1], np.abs(np.diff(signed, axis=1)))
    return rough


def _is_exact(rough: np.ndarray, words: Mask, strokes: Strokes) -> bool:
    """Whether nothing rings around writing, so that the picture was never compressed with loss."""
    ground = rough[words & ~ndimage.binary_dilation(strokes.mask, np.ones((3, 3)), iterations=SOFT)]
    return len(ground) >= LEAST_GROUND and bool((ground == 0).mean() > EXACT)


def _without_ridges(grain: Mask, above: np.ndarray, cell: int) -> Mask:
    """Grain without dim lines of one cell beside what is bright, as ringing ends in at the border of a block.

    `above` is how far from the ground cells are, their mean.
    """
    dense = ndimage.uniform_filter(grain.astype(np.float32), 3, mode="constant") > FEW / 9
    near = ndimage.maximum_filter(above, 2 * (BLOCK // cell + 1) + 1)
    return grain & (dense | (above > CLEAR * RINGING * near))


def _halo(brightest: np.ndarray, ground: int, noise: float) -> np.ndarray:
    """How far from the ground a pixel must be to be lit, uint8 [H, W]: compression rings around what is bright."""
    faint = np.full(brightest.shape, noise, np.uint8)
    bright = _brightest_near(_above(brightest, ground))
    return np.maximum(faint, (RINGING * bright).astype(np.uint8), out=faint)


def _light(mean: np.ndarray, ground: int, noise: float) -> Mask:
    """Which pixels of the mean over time are so far from the ground that they ring for nothing."""
    above = np.abs(mean - ground).astype(np.uint8)
    return (above > noise) & (above > CLEAR * RINGING * _brightest_near(above))


def _brightest_near(above: np.ndarray) -> np.ndarray:
    """The maximum of a picture uint8 [H, W] over the blocks around each pixel."""
    for axis in (0, 1):
        above = ndimage.maximum_filter1d(above, 2 * BLOCK + 1, axis)
    return above


def _above(frame: np.ndarray, ground: int) -> np.ndarray:
    """How far from the ground pixels are, uint8 [H, W]."""
    return np.abs(frame.astype(np.int16) - ground).astype(np.uint8)


def _departs(frame: np.ndarray, ground: int, faint: np.ndarray) -> Mask:
    return np.abs(frame.astype(np.int16) - ground) > faint


def _lit_share(luma: np.ndarray, ground: int, faint: np.ndarray) -> np.ndarray:
    """In how many of the frames a pixel is not background, a share [H, W] float32."""
    low, high = (np.clip(ground + sign * faint.astype(np.int16), 0, 255).astype(np.uint8) for sign in (-1, 1))
    count = np.zeros(luma.shape[1:], np.uint16)
    for frame in luma:
        count += (frame > high) | (frame < low)
    return count.astype(np.float32) / len(luma)


def _cell_means(picture: np.ndarray, cell: int) -> np.ndarray:
    """Means of square cells; those at the right and lower border may be smaller. Float32 [h, w]."""
    height, width = picture.shape
    rows, columns = np.arange(0, height, cell), np.arange(0, width, cell)
    kind = np.float32 if picture.dtype.kind == "f" else np.uint32
    sums = np.add.reduceat(np.add.reduceat(picture, rows, 0, dtype=kind), columns, 1, dtype=kind)
    sizes = np.outer(np.diff(np.append(rows, height)), np.diff(np.append(columns, width)))
    return (sums / sizes).astype(np.float32)
