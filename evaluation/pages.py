"""What all pages share: their templates and head, how they write numbers, what they hide."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader

from echoviewclip.evaluation.titles import score_title
from echoviewclip.evaluation.worst import shown_name

TEMPLATES = Path(__file__).parent / "templates"


@cache
def page_environment(*folders: Path, **filters: Callable[..., Any]) -> Environment:
    """The templates of `folders` and of this one, with the filters of figures and further ones.

    Each template is compiled once in a process.
    """
    loader = FileSystemLoader([str(folder) for folder in (*folders, TEMPLATES)])
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": shown_figure, "interval": shown_interval, "score": score_title} | filters
    return environment


def shown_figure(value: float | None) -> str:
    """Three decimals, or a dash where the figure is not defined."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.3f}".replace("-", "−")


def shown_interval(bounds: list[float] | None) -> str:
    """`0.812 to 0.902`; empty where there is none."""
    return f"{shown_figure(bounds[0])} to {shown_figure(bounds[1])}" if bounds else ""


def hide_folders(value: object) -> object:
    """A setting, or a tree of them; of absolute paths only a file's own name, since folders may name a patient."""

    def without_folders(part: str) -> str:
        name = shown_name(part.strip())
        return part if name == part.strip() else f"…/{name}" if "." in name else "…"

    if isinstance(value, dict):
        return {key: hide_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hide_folders(item) for item in value]
    return ",".join(map(without_folders, value.split(","))) if isinstance(value, str) else value
