"""Far outsiders: what reaches an echocardiography archive without being an echocardiogram.

Other organs pass through the same speckle, compression and screen as the heart; the rest (a natural scene, a page of
text) only shares the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import cos, sin

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.machine import STYLES, font
from echoviewclip.phantom.probe import bmode
from echoviewclip.phantom.probe.receiver import Receiver, scan_converter
from echoviewclip.phantom.probe.shot import Grid, Shot

Rng = np.random.Generator


def _finish(shot: Shot, echo: Array, grid: Grid, rng: Rng) -> Iterator[tuple[slice, Array]]:
    """Speckle, defects and compression of the strengths `echo` [T, D, B]: grey levels, a few frames at a time."""
    shape, soft = echo.shape[1:], shot.quality["blur"]
    field = (rng.standard_normal(shape, np.float32) + 1j * rng.standard_normal(shape, np.float32)).astype(np.complex64)
    draw = shot.setting.clutter.receiver if shot.setting else Receiver.draw
    receiver = draw(len(echo), grid.radii, shape[1], shot.quality, shot.patient.gain, rng)
    passes = (2 + round(6 * soft), 2 + round(8 * soft))
    for frames in grid.parts(len(echo)):
        yield frames, receiver.receive(bmode.speckle(field * echo[frames], passes), frames)


def _plane(shot: Shot) -> tuple[Grid, Array, Array]:
    """A sector's grid and its samples' coordinates in cm: `x` to the right and `y` down, both [D, B]."""
    grid = Grid.of(shot.sector, shot.size)
    radius, angle = 14 * grid.radii[:, None].astype(np.float32), grid.angles[None, :].astype(np.float32)
    return grid, radius * np.sin(angle), radius * np.cos(angle)


def _show(shot: Shot, echo: Array, grid: Grid, rng: Rng) -> Array:
    converter = scan_converter(shot.sector, shot.size, len(grid.radii), len(grid.angles))
    frames = np.zeros((len(echo), shot.size, shot.size, 3), np.uint8)
    for part, grey in _finish(shot, echo, grid, rng):
        shot.tint(converter.pixels(grey), out=frames[(part, *converter.box)])
    return frames


def _breathing(shot: Shot) -> Array:
    return 0.5 * np.sin(2 * np.pi * shot.times / 4.0)[:, None, None].astype(np.float32)


def liver(shot: Shot, rng: Rng) -> Array:
    """Even texture, a few vessels, the diaphragm as a bright deep arc."""
    grid, x, y = _plane(shot)
    y = y[None] + _breathing(shot)
    echo = np.full_like(y, 0.16) * (0.85 + 0.3 * bmode.smooth_noise(rng, x.shape, 20))
    for _ in range(6):
        cx, cy, length, angle = rng.uniform(-4, 4), rng.uniform(3, 9), rng.uniform(0.3, 2.5), rng.uniform(0, 3.1)
        u, v = (x - cx) * cos(angle) + (y - cy) * sin(angle), (y - cy) * cos(angle) - (x - cx) * sin(angle)
        distance = np.hypot(np.maximum(np.abs(u) - length, 0), v) - rng.uniform(0.2, 0.45)
        echo += bmode.inside(distance, 0.15) * (0.01 - echo)
    arc = np.hypot(x, y + 4) - 15.5
    echo = np.maximum(echo * (arc < 0) + 0.03, bmode.rim(arc, 0, 0.25) * 0.9)
    return _show(shot, echo, grid, rng)


def fetal_head(shot: Shot, rng: Rng) -> Array:
    """An oval skull with the midline echo and dark ventricles, floating in fluid."""
    grid, x, y = _plane(shot)
    y = y[None] + 0.3 * _breathing(shot) - rng.uniform(6.6, 7.4)
    angle = rng.uniform(-0.5, 0.5)
    u, v = x * cos(angle) + y * sin(angle), y * cos(angle) - x * sin(angle)
    skull = (np.hypot(u / 4.4, v / 3.4) - 1) * 3.8
    echo = 0.02 + 0.2 * bmode.inside(4.2 + y, 0.5) + 0.14 * bmode.inside(3.7 - y, 0.4)
    echo = echo + bmode.inside(skull, 0.2) * (0.07 - echo)
    echo = np.maximum(echo, bmode.rim(skull, 0, 0.3) * 1.0)
    echo = np.maximum(echo, 0.6 * bmode.rim(v, 0, 0.14) * (np.abs(u) < 3.0))
    for side in (-1, 1):
        echo = echo + bmode.inside(np.hypot((u - 0.8) / 1.5, (v - side * 1.2) / 0.42) - 1, 0.3) * (0.01 - echo)
    return _show(shot, echo, grid, rng)


def calibration(shot: Shot, rng: Rng) -> Array:
    """A tissue-mimicking block: rows of wires, dark and bright cylinders."""
    grid, x, y = _plane(shot)
    echo = np.full((1, *x.shape), np.float32(0.12))
    for k in range(1, 13):
        echo = np.maximum(echo, 1.2 * np.exp(-(((x - 0.0) / 0.14) ** 2 + ((y - k) / 0.12) ** 2)))
    for k in range(-4, 5):
        echo = np.maximum(echo, 1.2 * np.exp(-(((x - k) / 0.14) ** 2 + ((y - 8) / 0.12) ** 2)))
    for cx, cy, value in ((-2.6, 5.2, 0.008), (2.6, 5.2, 0.4), (-3.2, 10.6, 0.008), (3.2, 10.6, 0.03)):
        echo = echo + bmode.inside(np.hypot(x - cx, y - cy) - 0.9, 0.1) * (value - echo)
    return np.repeat(_show(shot, echo, grid, rng), len(shot.times), axis=0)


def kidney(shot: Shot, rng: Rng) -> Array:
    """A frozen frame of a kidney, measured with two callipers."""
    grid, x, y = _plane(shot)
    u, v = x - rng.uniform(-0.6, 0.6), y - rng.uniform(6.4, 7.4)
    u, v = u * 0.95 + v * 0.3, v * 0.95 - u * 0.3
    cortex = (np.hypot(u / 5.0, v / 2.5) - 1) * 3
    echo = np.full((1, *x.shape), np.float32(0.17)) + bmode.inside(cortex, 0.2) * -0.1
    echo = echo + bmode.inside((np.hypot(u / 3.0, v / 1.0) - 1) * 1.5, 0.5) * 0.5
    frames = _show(shot, np.maximum(echo, bmode.rim(cortex, 0, 0.2) * 0.5), grid, rng)
    image = Image.fromarray(frames[0])
    draw, s = ImageDraw.Draw(image), shot.size
    for cx, cy in ((0.24, 0.55), (0.74, 0.44)):
        draw.line(((cx - 0.02) * s, cy * s, (cx + 0.02) * s, cy * s), fill=(250, 250, 90))
        draw.line((cx * s, (cy - 0.02) * s, cx * s, (cy + 0.02) * s), fill=(250, 250, 90))
    return np.repeat(np.array(image)[None], len(shot.times), axis=0)


def _linear(shot: Shot, echo: Array, rng: Rng) -> Array:
    """The rectangle of a linear probe in the middle of a frame, from strengths [T, D, B]."""
    depths, beams = echo.shape[1:]
    grid = Grid(np.linspace(0, 1, depths), np.zeros(beams))
    size = shot.size
    height, width = round(0.82 * size), round(0.72 * size)
    rows, columns = np.linspace(0, depths - 1, height).astype(int), np.linspace(0, beams - 1, width).astype(int)
    frames = np.zeros((len(echo), size, size, 3), np.uint8)
    top, left = round(0.08 * size), round(0.14 * size)
    for part, grey in _finish(shot, echo, grid, rng):
        window = frames[part, top : top + height, left : left + width]
        shot.tint(grey[:, rows[:, None], columns[None, :]], out=window)
    return frames


def _rectangle(depth: float, depths: int, half: float) -> tuple[Array, Array]:
    """Coordinates of a linear probe's samples in cm, `y` down and `x` to the right, [D, B] each."""
    y, x = np.linspace(0, depth, depths, dtype=np.float32), np.linspace(-half, half, 120, dtype=np.float32)
    return np.meshgrid(y, x, indexing="ij")


def carotid(shot: Shot, rng: Rng) -> Array:
    """A pulsating vessel lengthwise under layers of muscle, through a linear probe."""
    y, x = _rectangle(4, 150, 2)
    pulse = 1 + 0.08 * shot.patient.heart.cycle.contraction(shot.times)[:, None, None].astype(np.float32)
    middle = rng.uniform(1.7, 2.3) + rng.uniform(-0.12, 0.12) * x
    wall = np.abs(y - middle)[None] - 0.38 * pulse
    layers = 0.1 + 0.12 * (0.5 + 0.5 * np.sin(9 * y + 1.5 * x)) * bmode.smooth_noise(rng, x.shape, 8)
    echo = layers[None] + bmode.inside(wall, 0.05) * (0.006 - layers)
    echo = np.maximum(echo, 0.8 * bmode.rim(wall, 0.0, 0.06))
    return _linear(shot, np.maximum(echo, 0.35 * bmode.rim(wall, 0.14, 0.05)), rng)


def lung(shot: Shot, rng: Rng) -> Array:
    """Two ribs with shadows, the sliding pleural line between them and its reverberations."""
    y, x = _rectangle(9, 160, 2.5)
    slide = 0.25 * np.sin(2 * np.pi * shot.times / 3.0)[:, None, None].astype(np.float32)
    pleura = 2.1 + 0.06 * np.sin(7 * (x + slide))
    echo = 0.12 * (0.4 + bmode.smooth_noise(rng, x.shape, 10)) * np.exp(-0.35 * np.maximum(y - 2, 0))[None] + 0 * slide
    for k in range(1, 5):
        echo = np.maximum(echo, bmode.rim(y - k * pleura, 0, 0.12) * 1.1 / k**1.4)
    for at in rng.uniform(-1.3, 1.3, rng.integers(0, 3)):
        echo = echo + 0.22 * np.exp(-(((x + slide - at) / 0.16) ** 2)) * (y > 2.1)
    for side in (-1, 1):
        rib = np.hypot((x - side * 2.1) / 0.8, (y - 1.5) / 0.35) - 1
        shadow = (np.abs(x - side * 2.1) < 0.7) & (y > 1.4)
        echo = np.maximum(echo * np.where(shadow, 0.08, 1), 0.9 * bmode.rim(rib, 0, 0.25) * (y < 1.5))
    return _linear(shot, echo, rng)


def scene(shot: Shot, rng: Rng) -> Array:
    """A natural-looking video: sky, hills, drifting clouds, something that crosses the picture."""
    size = shot.size
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    sky = np.stack([0.45 + 0.35 * y, 0.62 + 0.25 * y, 0.92 - 0.1 * y], -1)
    puff = gaussian_filter(rng.standard_normal((size, 3 * size)), (0.05 * size, 0.12 * size))
    puff = np.clip(puff / puff.std() * 0.4 + 0.05, 0, 1).astype(np.float32)
    ridge = 0.62 + 0.08 * np.sin(5 * x + rng.uniform(0, 6)) + 0.03 * np.sin(17 * x + rng.uniform(0, 6))
    blades = (0.7 + 0.6 * gaussian_filter(rng.random((size, size)), 1))[..., None].astype(np.float32)
    grass = np.array([0.2, 0.45, 0.15], np.float32) * blades
    speed, start = rng.uniform(0.3, 0.9), rng.uniform(0.0, 0.3)
    frames = []
    for share in np.linspace(0, 1, len(shot.times)).tolist():
        shift = round(share * 0.8 * size)
        cloud = puff[:, shift : shift + size, None]
        image = np.where((y > ridge)[..., None], grass, sky * (1 - cloud) + cloud)
        ball = np.hypot(x - start - speed * share, y - 0.78 + 0.1 * abs(sin(9 * share))) < 0.06
        image[ball] = (0.85, 0.2, 0.15)
        frames.append((255 * np.clip(image, 0, 1)).astype(np.uint8))
    return np.stack(frames)


def page(shot: Shot, rng: Rng) -> Array:
    """A black screen with lines of text."""
    image = Image.new("RGB", (shot.size, shot.size))
    draw, step = ImageDraw.Draw(image), 0.075 * shot.size
    words = ["atrium", "diameter", "volume", "index", "mean", "peak", "gradient", "report", "area", "aorta", "septum"]
    for k in range(11):
        line = f"{' '.join(rng.choice(words, 2))} {rng.uniform(0, 99):.1f}"
        draw.text(
            (0.08 * shot.size, (k + 1) * step),
            line,
            fill=STYLES[shot.patient.machine.style].text,
            font=font(max(8, round(step * 0.75))),
        )
    return np.repeat(np.array(image)[None], len(shot.times), axis=0)


FAR: dict[str, Callable[[Shot, Rng], Array]] = {
    "liver": liver,
    "carotid artery": carotid,
    "lung": lung,
    "fetal head": fetal_head,
    "frozen kidney": kidney,
    "calibration phantom": calibration,
    "natural scene": scene,
    "page of text": page,
}
