"""What machines write around an image: names, values, scales, bars, logos, an electrocardiogram."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Rng = np.random.Generator
NAMES = (
    "DOE^JANE 1960-01-02",
    "Roe, Richard",
    "ID 0815-4711",
    "SMITHSON MARY",
    "MERCY HOSPITAL",
    "29/02/2024 10:31:07",
)
VALUES = ("Adult Echo", "48Hz", "16cm", "2D", "HGen", "Gn 60", "C 50", "MI 1.1", "TIS 0.7", "P Low", "66 bpm", "S5-1")
COLOURS = ((255, 255, 255), (255, 255, 0), (120, 220, 255), (200, 200, 200), (250, 190, 90))


class _Chrome:
    """A still picture that grows by what does not touch the image."""

    def __init__(self, image: np.ndarray, rng: Rng):
        self.rng = rng
        self.taken = ndimage.binary_dilation(image, iterations=max(2, min(image.shape) // 120))
        self.pixels = np.zeros((*image.shape, 3), np.uint8)
        self.writing = np.zeros_like(image)

    def add(self, drawn: Image.Image, force: bool = False) -> bool:
        """Adds a picture as large as the screen, unless it would touch what is there."""
        pixels = np.asarray(drawn)
        lit = pixels.any(-1)
        if not lit.any() or ((lit & self.taken).any() and not force):
            return False
        lit = lit & ~self.taken
        self.pixels[lit] = pixels[lit]
        self.taken |= ndimage.binary_dilation(lit, iterations=2)
        self.writing |= lit
        return True

    def canvas(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        picture = Image.new("RGB", self.taken.shape[::-1])
        return picture, ImageDraw.Draw(picture)

    def text(self, x: float, y: float, lines: list[str], size: int, colour: tuple[int, int, int]) -> None:
        """Lines of text, each where there is room."""
        font = ImageFont.load_default(size=size) if size > 9 else ImageFont.load_default(size=None)
        for number, line in enumerate(lines):
            picture, draw = self.canvas()
            draw.text((x, y + number * 1.25 * size), line, fill=colour, font=font)
            self.add(picture)


def dress(frames: np.ndarray, image: np.ndarray, rng: Rng, live: bool, extra: str = "") -> np.ndarray:
    """Writes around the image of frames [T, H, W, 3], in place; returns where, bool [H, W].

    `live` traces move; `extra` may be "ecg" (close below the image) or "logo" (textured, with a name on it).
    """
    chrome = _Chrome(image, rng)
    height, width = image.shape
    size = max(9, round(rng.uniform(0.022, 0.034) * height))
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    trace = (
        _trace_rows(rows[-1] + 1, size, height, close=extra == "ecg") if rng.random() < 0.7 or extra == "ecg" else None
    )
    if trace is not None:
        chrome.taken[trace[0] - 2 : trace[1] + 2] = True
    if extra == "logo":
        _textured_logo(chrome, height, width)
    _names(chrome, size, height, width)
    _values(chrome, size, rows, columns, width)
    _scales(chrome, rows, columns, height, width)
    still = np.where(chrome.writing[..., None], chrome.pixels, 0)
    np.copyto(frames, still, where=(chrome.writing & ~image)[..., None])
    writing = chrome.writing & ~image
    if trace is not None:
        writing = writing | _write_trace(frames, image, trace, rng, live)
    return writing


def _names(chrome: _Chrome, size: int, height: int, width: int) -> None:
    rng = chrome.rng
    if rng.random() < 0.25:  # a panel along the top
        picture, draw = chrome.canvas()
        draw.rectangle((0, 0, width, 1.3 * size), fill=(30, 45, 110))
        draw.text(
            (6, 1),
            f"{rng.choice(NAMES)}   {rng.choice(NAMES)}",
            fill=(230, 230, 230),
            font=ImageFont.load_default(size),
        )
        chrome.add(picture, force=True)
    colour = COLOURS[rng.integers(len(COLOURS))]
    chrome.text(4, 2, list(rng.choice(NAMES, 2)), size, colour)
    chrome.text(0.68 * width, 2, list(rng.choice(NAMES, 2)), size, colour)
    if rng.random() < 0.6:
        chrome.text(4, height - 2.6 * size, list(rng.choice(NAMES, 2)), size, COLOURS[rng.integers(len(COLOURS))])


def _values(chrome: _Chrome, size: int, rows: np.ndarray, columns: np.ndarray, width: int) -> None:
    """A column of settings, often in the corner of the image's box."""
    rng = chrome.rng
    left = rng.choice([4, max(4, columns[0] + 2)])
    chrome.text(
        left, rows[0] + rng.uniform(0, 2) * size, list(rng.choice(VALUES, rng.integers(3, 9))), size, (210, 210, 210)
    )
    if rng.random() < 0.5:
        right = min(width - 5 * size, columns[-1] - 5 * size)
        chrome.text(right, rows[0] + size, list(rng.choice(VALUES, rng.integers(2, 5))), size, (210, 210, 210))


def _scales(chrome: _Chrome, rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> None:
    """Depth ticks, a grey or colour bar, the mark of the probe."""
    rng = chrome.rng
    picture, draw = chrome.canvas()
    x = min(width - 8, columns[-1] + rng.integers(6, 20))
    for y in np.linspace(rows[0], rows[-1], int(rng.integers(6, 14))):
        draw.line((x, y, x + 5, y), fill=(220, 220, 220))
    chrome.add(picture, force=True)
    if rng.random() < 0.6:
        picture, _ = chrome.canvas()
        pixels = np.asarray(picture).copy()
        top, low = round(0.12 * height), round(0.42 * height)
        ramp = np.linspace(1, -1, low - top)[:, None]
        red, blue = 255 * np.maximum(ramp, 0), 255 * np.maximum(-ramp, 0)
        grey = 127.5 * (ramp + 1)
        bar = np.stack([red, 60 * np.abs(ramp), blue] if rng.random() < 0.5 else [grey] * 3, -1)
        left = width - round(0.035 * width)
        pixels[top:low, left : left + round(0.02 * width)] = bar
        chrome.add(Image.fromarray(pixels))
    picture, draw = chrome.canvas()
    r = 0.012 * height
    x, y = (columns[0] + columns[-1]) / 2 + 3 * r, rows[0] - 2.4 * r
    draw.ellipse((x, y, x + 2 * r, y + 2 * r), fill=(60, 200, 90))
    chrome.add(picture)


def _textured_logo(chrome: _Chrome, height: int, width: int) -> None:
    """A picture with a name on it, in a corner below."""
    rows = round(chrome.rng.uniform(0.1, 0.2) * height)
    y, x = np.mgrid[:rows, : 2 * rows]
    logo = np.stack(
        [128 + 100 * np.sin(x / 9) * np.cos(y / 7), 90 + 60 * np.sin((x + y) / 11), 120 + 90 * np.cos(x / 13)], -1
    )
    card = Image.fromarray(logo.clip(1, 255).astype(np.uint8))
    ImageDraw.Draw(card).text((6, rows // 2 - 6), "DOE^JANE 1960", fill=(255, 255, 255))
    left = 4 if chrome.rng.random() < 0.5 else width - 2 * rows - 4
    picture, _ = chrome.canvas()
    picture.paste(card, (left, height - rows - 4))
    chrome.add(picture, force=True)


def _trace_rows(bottom: int, size: int, height: int, close: bool) -> tuple[int, int] | None:
    """The rows of an electrocardiogram below an image that ends at `bottom`."""
    tall = round(1.6 * size)
    top = bottom + 3 if close else max(bottom + 3, height - round(4.4 * size))
    return (top, top + tall) if top + tall < height - 2 else None


def _write_trace(frames: np.ndarray, image: np.ndarray, rows: tuple[int, int], rng: Rng, live: bool) -> np.ndarray:
    """An electrocardiogram that sweeps, or scrolls."""
    height, width = image.shape
    top, low = rows
    sweeps, colour, beat = rng.random() < 0.5, COLOURS[rng.integers(len(COLOURS))], 0.16 * width
    x = np.arange(round(0.06 * width), round(0.92 * width))
    written = np.zeros_like(image)
    for number, frame in enumerate(frames):
        shift = 0 if sweeps or not live else number * 0.03 * width
        phase = (x + shift) % beat / beat
        y = (
            low
            - 4
            - (low - top - 6) * (np.exp(-(((phase - 0.3) / 0.03) ** 2)) + 0.25 * np.exp(-(((phase - 0.6) / 0.08) ** 2)))
        )
        shown = x[: round(len(x) * (number + 1) / len(frames))] if sweeps and live else x
        picture = Image.new("L", (width, height))
        ImageDraw.Draw(picture).line(
            list(zip(shown.tolist(), y.tolist(), strict=False)), fill=255, width=max(1, height // 300)
        )
        line = (np.asarray(picture) > 0) & ~image
        frame[line] = colour
        written |= line
    return written
