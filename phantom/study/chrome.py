"""A varied study's screen: text, marks, scales, electrocardiogram and measurements, whatever the view.

What stands there is drawn from the look and the recording's own random numbers. The numbers at a strip's axis alone are
true; they belong to the strip.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoviewclip.phantom import machine
from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.probe.shot import Shot
from echoviewclip.phantom.variety.flow import table
from echoviewclip.phantom.variety.setting import Setting

RNG = np.random.Generator
COLUMN = (
    "2D", "C 50", "P Low", "HGen", "HPen", "CF", "PW", "CW", "TDI", "M-mode", "Res", "Gen", "Pen", "DR 60", "Map 3",
    "WF 250Hz", "2.5MHz", "SV4.0mm", "1.7/3.4", "X5-1", "S5-1", "M5S", "4V", "FR", "Zoom", "Adult Echo", "TIS0.8",
    "MI 1.2",
)  # fmt: skip
MEASURES = (
    "Vmax", "Vel", "PG", "Dist", "Area", "TAPSE", "LVIDd", "E/A", "VTI", "e' sept", "EF", "LAd", "Ao", "IVC", "Mean PG",
)  # fmt: skip
UNITS = ("cm/s", "mmHg", "cm", "m/s", "cm2", "ml", "%", "ms")
HEADERS = (
    "ECHO LAB", "Cardiology", "General Hospital", "TTE Adult", "Heart Centre", "ID 000000", "01/01/2020 10:24:08",
)  # fmt: skip


def dress_varied(frames: Array, shot: Shot, rng: RNG) -> Array:
    """Puts a screen around and over the image, in place, and returns the frames."""
    setting = shot.setting
    assert setting is not None
    still = Image.new("RGB", (shot.size, shot.size))
    draw = ImageDraw.Draw(still)
    if not setting.look.framing.tight:
        _texts(draw, setting, shot.size, rng)
    _mark(draw, setting, shot, rng)
    _scale(draw, setting, shot, rng)
    if rng.random() < 0.22:
        _measurement(draw, setting, shot.size, rng)
    picture = np.array(still)
    if shot.is_strip:
        _axis(picture, shot, rng)
    if rng.random() < setting.look.chrome.bars and not setting.look.framing.tight:
        _bar(picture, setting, rng)
    lit = picture.any(-1)
    frames[:, lit] = picture[lit]
    if rng.random() < setting.look.chrome.traced:
        _trace(frames, shot, setting)
    return frames


def _font(setting: Setting, size: int, factor: float = 1.0) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return machine.font(max(6, round(factor * setting.look.chrome.letters * setting.look.framing.scale * size)))


def _texts(draw: ImageDraw.ImageDraw, setting: Setting, size: int, rng: RNG) -> None:
    """Columns of settings left and right, a patient's bar on top, the heart rate below."""
    framing, chrome = setting.look.framing, setting.look.chrome
    letters, step = _font(setting, size), 1.25 * chrome.letters
    for column, often in ((0.01, chrome.texts), (0.9, 0.5 * chrome.texts)):
        if rng.random() < often:
            lines = [f"{rng.integers(12, 180)}Hz", f"{rng.integers(6, 25)}cm", *rng.permutation(COLUMN)]
            x, y = framing.x(column * framing.aspect) * size, framing.y(rng.uniform(0.05, 0.2)) * size
            for line in lines[: int(rng.integers(2, 16))]:
                draw.text((x, y), line, fill=chrome.ink, font=letters)
                y += step * framing.scale * size * (1.6 if rng.random() < 0.15 else 1)
    if chrome.header:
        x = framing.x(0.02 * framing.aspect) * size
        for word in rng.permutation(HEADERS)[:4]:
            draw.text((x, framing.y(0.005) * size), word, fill=chrome.ink, font=letters)
            x += 0.24 * framing.aspect * framing.scale * size
    if rng.random() < chrome.texts:
        at = framing.x(0.88 * framing.aspect) * size, framing.y(0.955) * size
        draw.text(at, f"{rng.integers(45, 140)} bpm", fill=chrome.ink, font=letters)


def _mark(draw: ImageDraw.ImageDraw, setting: Setting, shot: Shot, rng: RNG) -> None:
    """The probe's mark beside the apex."""
    kind, sector = setting.look.chrome.mark, shot.sector
    r = max(2.0, 0.011 * shot.size)
    side = (-1 if setting.look.scan.mirror else 1) * (0.06 if sector.radius > 0.5 else 0.1)
    row, column = sector.place(np.array(0.02), np.array(side))
    x, y = float(column) * shot.size, float(row) * shot.size
    colour = (70, 100, 170) if kind == "disc" else setting.look.chrome.ink
    if kind == "disc":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif kind == "ring":
        draw.ellipse((x - r, y - r, x + r, y + r), outline=colour)
    elif kind == "letter":
        draw.text((x - r, y - r), "V", fill=colour, font=_font(setting, shot.size))


def _scale(draw: ImageDraw.ImageDraw, setting: Setting, shot: Shot, rng: RNG) -> None:
    """Ticks of depth at the sector's side or in a column beside it."""
    if rng.random() >= setting.look.chrome.ticks:
        return
    sector, size, ink = shot.sector, shot.size, setting.look.chrome.ink
    steps = np.arange(1, int(rng.integers(8, 19))) / 18
    if rng.random() < 0.4:
        rows, columns = sector.place(steps * np.cos(sector.half + 0.03), steps * np.sin(sector.half + 0.03))
    else:
        top, bottom, _, right = sector.bounds()
        rows, columns = np.linspace(top, bottom, len(steps)), np.full(len(steps), min(right + 0.02, 0.985))
    letters = _font(setting, size, 0.9)
    for number, (row, column) in enumerate(zip(rows * size, columns * size, strict=True)):
        draw.line((column, row, column + (0.012 if number % 5 == 0 else 0.004) * size, row), fill=ink)
        if number % 5 == 0 and sector.radius > 0.5:
            draw.text((column + 0.016 * size, row - 0.01 * size), str(number), fill=ink, font=letters)


def _measurement(draw: ImageDraw.ImageDraw, setting: Setting, size: int, rng: RNG) -> None:
    """Results in a corner, and callipers with a dotted line anywhere."""
    framing, ink = setting.look.framing, setting.look.chrome.ink
    letters, step = _font(setting, size), 1.3 * setting.look.chrome.letters * framing.scale * size
    x, y = rng.choice([0.05, 0.62]) * size, rng.uniform(0.03, 0.3) * size
    for number in range(int(rng.integers(1, 5))):
        line = f"+ {rng.choice(MEASURES)} {rng.uniform(0.3, 120):.1f} {rng.choice(UNITS)}"
        draw.text((x, y + number * step), line, fill=ink, font=letters)
    first = rng.uniform(0.25, 0.8, 2) * size
    second = first + rng.uniform(-0.25, 0.25, 2) * size
    r = 0.012 * size
    for px, py in (first, second)[: int(rng.integers(1, 3))]:
        draw.line((px - r, py, px + r, py), fill=ink)
        draw.line((px, py - r, px, py + r), fill=ink)
    if rng.random() < 0.5:
        draw.point([tuple(first + share * (second - first)) for share in np.linspace(0, 1, 24)], fill=ink)


def _axis(picture: Array, shot: Shot, rng: RNG) -> None:
    """Numbers and ticks at the strip's right side, ticks of time below, in place; nothing of it leaves the two."""
    setting = shot.setting
    assert setting is not None
    size, (rows, columns), ink = shot.size, shot.strip, setting.look.chrome.ink
    still = Image.new("RGB", (size, size))
    draw, letters = ImageDraw.Draw(still), _font(setting, size, 0.9)
    depth = shot.plane.reach * shot.patient.size
    low, high = (depth, 0.0) if shot.view.mode == "mmode" else (100 * shot.scale[0], 100 * shot.scale[1])
    span, height = abs(high - low), rows.stop - rows.start
    step = 10.0 ** np.floor(np.log10(span / 3))
    step *= 5 if span / step > 12 else 2 if span / step > 6 else 1
    for number in np.arange(np.ceil(min(low, high) / step), max(low, high) // step + 1) * step:
        y = rows.start + (high - number) / (high - low) * height
        draw.line((columns.stop, y, columns.stop + 0.012 * size, y), fill=ink)
        draw.text((columns.stop + 0.016 * size, y - 0.012 * size), f"{number:g}", fill=ink, font=letters)
    if rng.random() < setting.look.chrome.ticks:
        pace = max((columns.stop - columns.start) / shot.sweep / 5, 2)  # a fifth of a second
        for k in range(int((columns.stop - columns.start) / pace)):
            x = columns.start + k * pace
            draw.line((x, rows.stop - (0.02 if k % 5 == 0 else 0.01) * size, x, rows.stop), fill=ink)
    top, bottom, left, right = (round(edge * size) for edge in setting.layout.axis)
    for box in ((slice(top, bottom), slice(left, right)), (rows, columns)):
        np.maximum(picture[box], np.asarray(still)[box], out=picture[box])


def _bar(picture: Array, setting: Setting, rng: RNG) -> None:
    """A bar of greys or colours, whatever the picture shows."""
    size, framing = len(picture), setting.look.framing
    top, bottom = round(framing.y(0.06) * size), round(framing.y(rng.uniform(0.2, 0.42)) * size)
    column = 0.955 if setting.look.chrome.side else 0.86
    left = round(framing.x(column * framing.aspect) * size)
    if not 0 <= top < bottom <= size or not 0 <= left < size - 4:
        return
    ramp = np.linspace(255, 0, bottom - top).astype(np.uint8)
    rgb = np.empty((len(ramp), 3), np.uint8)
    setting.tone.paint(ramp, rgb) if rng.random() < 0.5 else np.copyto(rgb, table(setting.flow.colours.name)[ramp])
    picture[top:bottom, left : left + max(2, round(0.02 * size))] = rgb[:, None]


def _trace(frames: Array, shot: Shot, setting: Setting) -> None:
    """The electrocardiogram, in place."""
    size, edges = shot.size, setting.layout.strip_trace if shot.is_strip else setting.layout.trace
    top, bottom, left, right = (round(edge * size) for edge in edges)
    if bottom - top < 4 or right - left < 8:
        return
    seconds = shot.sweep * (right - left) / max(shot.strip_size()[1], 1) if shot.is_strip else 2.4
    lines = machine.trace(shot.patient.heart.cycle, shot.times, (bottom - top, right - left), seconds)
    frames[:, top:bottom, left:right][lines] = setting.look.chrome.trace
