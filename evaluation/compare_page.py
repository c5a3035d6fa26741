"""The page of a comparison: figures side by side, differences with their intervals drawn, settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape

from echoviewclip.evaluation.compare import Difference, Run, changed_settings
from echoviewclip.evaluation.figures import svg
from echoviewclip.evaluation.pages import hide_folders, page_environment
from echoviewclip.utils.files import write_text

WIDTH, ROW, LEFT, TOP = 640, 26, 200, 8


def write_comparison(path: Path, runs: Sequence[Run], found: Sequence[dict[str, Difference]]) -> Path:
    """Writes the page of `runs`, whose differences to the first are `found`, and returns its path."""
    titles = list(dict.fromkeys(title for run in runs for title in run.titles))
    page = page_environment(difference=shown_difference)
    settings = {key: [hide_folders(value) for value in values] for key, values in changed_settings(runs).items()}
    drawings = [(run.name, draw_differences(one)) for run, one in zip(runs[1:], found, strict=True)]
    text = page.get_template("compare.html").render(
        runs=runs, titles=titles, found=found, settings=settings, drawings=drawings
    )
    write_text(path, text)
    return path


def draw_differences(found: dict[str, Difference]) -> Markup:
    """A dot for each difference with a bar for its interval, around a line at 0; all on one scale."""
    ends = [end for one in found.values() for end in (one.value, *(one.interval or ())) if np.isfinite(end)]
    reach = max(map(abs, ends), default=0.0) or 0.01
    scale = (WIDTH - LEFT - 20) / 2 / reach
    zero = LEFT + (WIDTH - LEFT - 20) / 2
    bottom = TOP + ROW * len(found)
    parts = [f'<line class="grid" x1="{zero}" x2="{zero}" y1="{TOP}" y2="{bottom}"/>']
    for place, (title, one) in enumerate(found.items()):
        y, x = TOP + ROW * (place + 0.5), zero + scale * one.value
        colour = "c0" if one.clear else "guide"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{escape(title)}</text>')
        if one.interval:
            low, high = (zero + scale * end for end in one.interval)
            parts.append(f'<path class="line {colour}" d="M{low:.1f} {y:.1f}H{high:.1f}"/>')
        parts.append(f'<circle class="fill {colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    for end, anchor in ((-reach, "start"), (reach, "end")):
        parts.append(
            f'<text x="{zero + scale * end:.0f}" y="{bottom + 16}" text-anchor="{anchor}">{shown_change(end)}</text>'
        )
    parts.append(f'<text x="{zero}" y="{bottom + 16}" text-anchor="middle">0</text>')
    return svg(WIDTH, bottom + 24, *parts, title="Differences with their 95 % intervals")


def shown_change(value: float) -> str:
    """With its sign, and three decimals."""
    return f"{value:+.3f}".replace("-", "−") if np.isfinite(value) else "–"


def shown_difference(one: Difference | None) -> str:
    """`+0.013 [−0.004, +0.030]`, with a star where the interval leaves 0 out."""
    if one is None:
        return "–"
    around = f" [{shown_change(one.interval[0])}, {shown_change(one.interval[1])}]" if one.interval else ""
    return shown_change(one.value) + around + " *" * one.clear
