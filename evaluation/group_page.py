"""The section of the report that shows figures by group: a drawing of each with its largest gap, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from echoviewclip.evaluation.bootstrap import Interval
from echoviewclip.evaluation.figures import svg, ticks
from echoviewclip.evaluation.groups import SHOWN, Gap, Group, Grouping
from echoviewclip.evaluation.summary import Summary
from echoviewclip.evaluation.titles import figure_title
from echoviewclip.utils.errors import shortened

WIDTH, ROW, LEFT, TOP = 400, 22, 132, 8
LETTERS = 18  # of a group's name that fit beside a drawing


@dataclass(frozen=True)
class GroupTable:
    """What the page shows of a column.

    Attributes:
        column: its name.
        groups: its groups.
        titles: what the page calls each figure that a group has, by flat name.
        drawings: title and drawing of each, with its largest gap where two groups have it.
    """

    column: str
    groups: list[Group]
    titles: dict[str, str]
    drawings: list[tuple[str, Markup, Gap | None]]


def group_table(grouping: Grouping, summary: Summary) -> GroupTable:
    """What the page shows of a column of `summary.by_group`."""
    groups = grouping["groups"]
    names = dict.fromkeys(name for group in groups for name in group["metrics"])
    titles = {name: figure_title(name, summary.score) for name in names}
    rows = {name: [_row(group, name) for group in groups] for name in names}
    drawings = [
        (title, draw_groups(rows[name], summary.metrics.get(name, np.nan), title), grouping["gaps"].get(name))
        for name, title in titles.items()
        if any(np.isfinite(value) for _, value, _ in rows[name])
    ]
    return GroupTable(grouping["column"], groups, titles, drawings)


def _row(group: Group, name: str) -> tuple[str, float, Interval | None]:
    value = group["metrics"].get(name)
    return group["name"], np.nan if value is None else value, group["intervals"].get(name)


def draw_groups(rows: Sequence[tuple[str, float, Interval | None]], overall: float, title: str) -> Markup:
    """Of each group its name, a dot for its figure and a bar for its interval; a line for the figure of all videos."""
    ends = [end for _, value, interval in rows for end in (value, *(interval or ()))]
    ends = [end for end in (*ends, overall) if np.isfinite(end)]
    low, high = min(ends), max(ends)
    margin = max(0.05 * (high - low), 0.01)
    low, high = low - margin, high + margin
    bottom = TOP + ROW * len(rows)

    def place(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - 14)

    parts = []
    for tick in ticks(low, high):
        x = f"{place(tick):.1f}"
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 15}" text-anchor="middle">{tick:.4g}</text>')
    if np.isfinite(overall):
        x = f"{place(overall):.1f}"
        parts.append(f'<line class="line guide" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>')
    for number, (name, value, interval) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        label = escape(shortened(name, LETTERS))
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{label}</text>')
        if interval:
            parts.append(f'<path class="line c0" d="M{place(interval[0]):.1f} {y:.1f}H{place(interval[1]):.1f}"/>')
        if np.isfinite(value):
            said = escape(f"{shortened(name, SHOWN)}: {value:.3f}")
            dot = f'<circle class="fill c0" cx="{place(value):.1f}" cy="{y:.1f}" r="4"/>'
            parts.append(f"<g><title>{said}</title>{dot}</g>")
    return svg(WIDTH, bottom + 22, *parts, title=f"{title} by group")
