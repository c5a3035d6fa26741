"""Drawings for the report as inline SVG: no library, no file beside the page, colours from the page's style sheet.

Colours are the classes c0 … c4, so that a page in the dark restyles them; all text is escaped.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

WIDTH, HEIGHT = 400, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 386, 26, 230


@dataclass(frozen=True)
class Line:
    """A named curve through the points `x`, `y`, each `[n]`; points that are not finite are left out.

    `colour` is c0 … c4; `dots` `[n]` in [0, 1] also draws a dot of that area at each point.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: int = 0
    dots: np.ndarray | None = None


class _Axes:
    """Maps data to the picture, and draws the grid with its numbers."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float], x_label: str, y_label: str) -> None:
        self.x_range, self.y_range = _widened(x_range), _widened(y_range)
        self.labels = x_label, y_label

    def x(self, value: np.ndarray | float) -> np.ndarray:
        low, high = self.x_range
        return _LEFT + (np.asarray(value, float) - low) / (high - low) * (_RIGHT - _LEFT)

    def y(self, value: np.ndarray | float) -> np.ndarray:
        low, high = self.y_range
        return _BOTTOM - (np.asarray(value, float) - low) / (high - low) * (_BOTTOM - _TOP)

    def path(self, x: np.ndarray, y: np.ndarray) -> str:
        """Path data through the finite points; those that fall on the same tenth of a pixel are drawn once."""
        finite = np.isfinite(x) & np.isfinite(y)
        points = np.stack([self.x(np.asarray(x)[finite]), self.y(np.asarray(y)[finite])], axis=1).round(1)
        points = points[np.r_[True, (np.diff(points, axis=0) != 0).any(axis=1)][: len(points)]]
        return "M" + "L".join(f"{a:g} {b:g}" for a, b in points) if len(points) else ""

    def drawn(self, *parts: str, title: str) -> Markup:
        """The whole picture: grid, labels, then `parts` in their order."""
        grid = []
        for tick in ticks(*self.y_range):
            y = self.y(tick).round(1)
            grid.append(f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}"/>')
            grid.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:.4g}</text>')
        for tick in ticks(*self.x_range):
            grid.append(f'<text x="{self.x(tick):.1f}" y="{_BOTTOM + 17}" text-anchor="middle">{tick:.4g}</text>')
        x_label, y_label = map(escape, self.labels)
        grid.append(f'<text x="{(_LEFT + _RIGHT) / 2}" y="{_BOTTOM + 36}" text-anchor="middle">{x_label}</text>')
        grid.append(f'<text x="2" y="12">{y_label}</text>')
        return svg(WIDTH, HEIGHT, *grid, *parts, title=title)


def svg(width: float, height: float, *parts: str, title: str, style: str = "") -> Markup:
    """An SVG element that scales with the page; `parts` are SVG, `title` is what a screen reader says."""
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}" style="{style}">'
    return Markup(head + "".join(parts) + "</svg>")


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
) -> Markup:
    """Curves over shared axes with their legend; ranges not given are those of the data, y from 0."""
    x_range = x_range or _range([line.x for line in lines])
    y_range = y_range or _range([np.zeros(1), *(line.y for line in lines)])
    axes = _Axes(x_range, y_range, x_label, y_label)
    parts = []
    if diagonal:
        ends = np.array([max(x_range[0], y_range[0]), min(x_range[1], y_range[1])])
        parts.append(f'<path class="line guide" d="{axes.path(ends, ends)}"/>')
    for line in lines:
        faint = "" if line.dots is None else " faint"
        parts.append(f'<path class="line c{line.colour}{faint}" d="{axes.path(line.x, line.y)}"/>')
        for x, y, area in zip(line.x, line.y, () if line.dots is None else line.dots, strict=False):
            if np.isfinite(x) and np.isfinite(y):
                at = f'cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="{2 + 10 * math.sqrt(area):.1f}"'
                parts.append(f'<circle class="dot c{line.colour}" {at}/>')
    return axes.drawn(*parts, title=f"{y_label} over {x_label}") + _legend({line.name: line.colour for line in lines})


def histogram(groups: dict[str, np.ndarray], x_label: str, tau: float | None, bins: int = 40) -> Markup:
    """Share of each group's values per bin, the groups laid over each other, with a line at τ."""
    groups = {name: values[np.isfinite(values)] for name, values in groups.items()}
    low, high = _widened(_range(list(groups.values())))
    edges = np.linspace(low, high, bins + 1)
    shares = {name: np.histogram(values, edges)[0] / max(len(values), 1) for name, values in groups.items()}
    axes = _Axes((low, high), (0, max(share.max() for share in shares.values())), x_label, "share of the set")
    parts = []
    for i, share in enumerate(shares.values()):
        outline = axes.path(np.repeat(edges, 2), np.r_[0, np.repeat(share, 2), 0])
        parts.append(f'<path class="area c{i}" d="{outline}"/>')
    if tau is not None and low <= tau <= high:
        x = axes.x(tau).round(1)
        side, anchor = (-5, "end") if x > WIDTH / 2 else (5, "start")
        parts.append(f'<line class="line mark" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_BOTTOM}"/>')
        parts.append(f'<text class="mark" x="{x + side}" y="{_TOP + 12}" text-anchor="{anchor}">τ = {tau:.4g}</text>')
    return axes.drawn(*parts, title=f"Histogram of {x_label}") + _legend({name: i for i, name in enumerate(groups)})


def scatter(x: np.ndarray, y: np.ndarray, x_label: str, y_label: str, levels: dict[str, float]) -> Markup:
    """A dot per video, with horizontal lines at the named `levels`."""
    finite = {name: level for name, level in levels.items() if level is not None and np.isfinite(level)}
    axes = _Axes(_range([x]), _range([y, np.array(list(finite.values()))]), x_label, y_label)
    dots = "".join(f"M{a:g} {b:g}h0" for a, b in zip(axes.x(x).round(1), axes.y(y).round(1), strict=True))
    parts = [f'<path class="dots c0" d="{dots}"/>']
    for name, level in finite.items():
        at = axes.y(level).round(1)
        parts.append(f'<line class="line mark" x1="{_LEFT}" x2="{_RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(
            f'<text class="mark" x="{_RIGHT}" y="{at - 4}" text-anchor="end">{escape(name)} {level:.2f}</text>'
        )
    return axes.drawn(*parts, title=f"{y_label} over {x_label}")


def matrix(counts: np.ndarray, names: Sequence[str]) -> Markup:
    """A confusion matrix `[K, K]`: rows are labels, columns predictions by number, shade the share of the row."""
    size = len(counts)
    cell, left, top = max(15, min(40, 420 // max(size, 1))), 24, 20
    side, css = size * cell, "small" if cell < 22 else ""
    parts = [f'<rect class="grid" fill="none" x="{left}" y="{top}" width="{side}" height="{side}"/>']
    for k, name in enumerate(names):
        middle = (k + 0.5) * cell
        parts.append(f'<text class="{css}" x="{left + middle}" y="{top - 6}" text-anchor="middle">{k}</text>')
        parts.append(f'<text class="{css}" x="{left - 5}" y="{top + middle + 4}" text-anchor="end">{k}</text>')
        parts.append(f'<text x="{left + side + 8}" y="{top + middle + 4}">{escape(name)}</text>')
    for row, column in zip(*np.nonzero(counts), strict=True):
        count, share = int(counts[row, column]), counts[row, column] / counts[row].sum()
        x, y = left + column * cell, top + row * cell
        area = f'x="{x}" y="{y}" width="{cell}" height="{cell}" fill-opacity="{0.15 + 0.85 * share:.2f}"'
        parts.append(f"<g><title>{escape(names[row])} → {escape(names[column])}: {count} ({share:.0%})</title>")
        parts.append(f'<rect class="fill {"c0" if row == column else "c4"}" {area}/>')
        if cell >= 22:
            at = f'x="{x + cell / 2}" y="{y + cell / 2 + 4}" text-anchor="middle"'
            parts.append(f'<text class="{"on" if share > 0.5 else ""}" {at}>{count}</text>')
        parts.append("</g>")
    width, height = left + side + 16 + 6.6 * max(map(len, names), default=0), top + side + 4
    title = "Confusion matrix: rows are labels, columns predictions"
    least = width if size > 15 else 0  # a page narrower than this scrolls the drawing rather than shrinking it
    return svg(width, height, *parts, title=title, style=f"min-width:{least:.0f}px;max-width:{1.25 * width:.0f}px")


def film(frames: np.ndarray, weights: list[np.ndarray], first: int, peak: int) -> Markup:
    """Frames uint8 `[n, H, W, 3]` side by side; under each, bars of the attention in the share of the clip it shows.

    `weights` holds n arrays of weights, in units of the clip's largest; `first` is the place in the clip of the first
    weight, and `peak` the place of the largest, which is marked.
    """
    height, bars = 112, 40
    image, width = _side_by_side(frames, height)
    parts, place = [image], first
    for i, group in enumerate(weights):
        for j, weight in enumerate(group):
            step, tall = width / len(group), max(1.0, float(weight) * (bars - 4))
            wide, colour = min(step - 2, 14), "c1" if place == peak else "c0"
            parts.append(
                f'<rect class="fill {colour}" x="{i * width + (j + 0.5) * step - wide / 2:.1f}" '
                f'y="{height + bars - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'
            )
            place += 1
    title = "Frames with the attention over time under them"
    return svg(width * len(frames), height + bars, *parts, title=title, style=_no_wider(width * len(frames)))


def _no_wider(width: int) -> str:
    """The style of a picture that a wide page does not blow up."""
    return f"max-width:{1.5 * width:.0f}px"


def strip(frames: np.ndarray, title: str) -> Markup:
    """Frames uint8 `[n, H, W, 3]` side by side."""
    height = 112
    image, width = _side_by_side(frames, height)
    return svg(width * len(frames), height, image, title=title, style=_no_wider(width * len(frames)))


def _side_by_side(frames: np.ndarray, height: int) -> tuple[str, int]:
    """An SVG image of frames of this height, and the width of each."""
    width = max(1, round(height * frames.shape[2] / frames.shape[1]))
    together = Image.new("RGB", (width * len(frames), height))
    for i, frame in enumerate(frames):
        together.paste(Image.fromarray(frame).resize((width, height)), (i * width, 0))
    data = io.BytesIO()
    together.save(data, "JPEG", quality=75)
    source = "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
    return f'<image href="{source}" width="{together.width}" height="{height}"/>', width


def _legend(colours: dict[str, int]) -> Markup:
    items = "".join(f'<span><i class="c{colour}"></i>{escape(name)}</span>' for name, colour in colours.items())
    return Markup(f'<div class="legend">{items}</div>')


def _range(values: Sequence[np.ndarray]) -> tuple[float, float]:
    every = np.concatenate([np.asarray(v, float).reshape(-1) for v in values])
    every = every[np.isfinite(every)]
    return (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)


def _widened(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def ticks(low: float, high: float) -> np.ndarray:
    """At most six round numbers between the bounds: multiples of 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10((high - low) / 5))
    step = next(m * power for m in (1, 2, 5, 10, 20) if (high - low) / (m * power) <= 5)
    return np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
