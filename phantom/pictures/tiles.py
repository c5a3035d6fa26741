"""Pictures made of frames with titles, in few bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.machine import font
from echoviewclip.utils.files import atomic_path

GREYS, COLOURED = 96, 160  # colours of a picture


def tile(image: Array, title: str) -> Array:
    """A frame [size, size, 3] uint8 under its title, which may take two lines."""
    size = len(image)
    height = max(9, size // 15)
    bar = round(2.5 * height)
    canvas = Image.new("RGB", (size + 4, size + bar + 4), (24, 26, 30))
    letters, lines = font(height), [""]
    for word in title.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if letters.getlength(longer) > size - 4:
            lines.append(word)
        else:
            lines[-1] = longer
    ImageDraw.Draw(canvas).text((3, 0), "\n".join(lines), fill=(240, 240, 240), font=letters, spacing=1)
    canvas.paste(Image.fromarray(image), (2, bar + 2))
    return np.array(canvas)


def write_tiles(path: Path, rows: list[list[Array]]) -> None:
    """Writes rows of tiles of one size as a picture; a short row is filled up with black."""
    width, blank = max(map(len, rows)), np.zeros_like(rows[0][0])
    picture = np.concatenate([np.concatenate(row + [blank] * (width - len(row)), axis=1) for row in rows])
    with atomic_path(path) as temporary:
        _small(picture).save(temporary, optimize=True)


def _small(image: Array) -> Image.Image:
    """The picture in 256 colours, a third of the bytes: a ramp of greys, and what suits the coloured pixels best."""
    colours = np.linspace(0, 255, GREYS).round().astype(int).repeat(3).tolist()
    coloured = image[image.max(-1).astype(int) - image.min(-1) > 48]
    if len(coloured):
        suited = Image.fromarray(coloured[None]).quantize(COLOURED).getpalette()
        assert suited is not None  # a quantized picture has a palette
        colours += suited[: 3 * COLOURED]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours)
    return Image.fromarray(image).quantize(palette=palette, dither=Image.Dither.NONE)
