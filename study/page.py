"""The page of a study, and the page over many: one offline file each, in the look of the other reports."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Template
from markupsafe import Markup

from echoviewclip.evaluation import overlays
from echoviewclip.evaluation.figures import svg
from echoviewclip.evaluation.pages import page_environment
from echoviewclip.study.clips import Clip
from echoviewclip.study.films import Film
from echoviewclip.study.findings import Findings, ViewClips
from echoviewclip.study.protocol import Protocol
from echoviewclip.utils.files import atomic_path

TEMPLATES = Path(__file__).parent / "templates"
WIDTH, HEIGHT, EDGE = 240, 40, 5  # of the drawing of the attention, and what it leaves free, in its own units
ASSUMED_FPS = 30  # at which videos are played that state no rate


@dataclass(frozen=True)
class Facts:
    """What holds for all studies of a run.

    Attributes:
        columns: what the checkpoint answers (`PredictionTable.columns`).
        views, grades: names; grades worst first.
        score, tau: what decides; None where nothing does.
        protocol: what the studies are held against.
    """

    columns: tuple[str, ...]
    views: tuple[str, ...]
    grades: tuple[str, ...]
    score: str | None
    tau: float | None
    protocol: Protocol | None


def write_study(file: Path, found: Findings, facts: Facts, index: str = "") -> None:
    """Writes the page of a study; `index` is the address of the page over all, where there is one."""
    windows: dict[str, dict[str, list[ViewClips]]] = {}
    for view in found.views:
        windows.setdefault(view.window, {}).setdefault(view.mode, []).append(view)
    template = _template("study.html")
    page = template.render(found=found, facts=facts, windows=windows, index=index, overlays=overlays)
    _write(file, page)


def write_index(file: Path, found: Sequence[Findings], pages: Sequence[str], facts: Facts) -> None:
    """Writes the page over several studies; `pages` are the addresses of theirs."""
    page = _template("studies.html").render(studies=list(zip(found, pages, strict=True)), facts=facts)
    _write(file, page)


def _write(file: Path, page: str) -> None:
    # Names of files may hold bytes that are no text.
    with atomic_path(file) as path:
        path.write_text(page, encoding="utf-8", errors="backslashreplace")


def _template(name: str) -> Template:
    return page_environment(
        TEMPLATES,
        number=shown_number,
        base64=_encode,
        attention=draw_attention,
        length=shown_length,
        shade=shade,
        times=times,
        places=places,
    ).get_template(name)


def _encode(data: bytes) -> Markup:
    """Base64, which needs no escaping: that would take its time."""
    return Markup(base64.b64encode(data).decode())


def shown_number(value: float | None, digits: int = 4) -> str:
    """A number as people write it; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}g}".replace("-", "−")


def shown_length(clip: Clip) -> str:
    """`1.2 s, 1.4 beats`, as far as it is known."""
    timing = clip.timing
    if timing.frames == 1:
        return "still image"
    parts = [f"{timing.seconds:.1f} s"] if timing.seconds else [f"{timing.frames} frames"] if timing.frames else []
    return ", ".join([*parts, f"{timing.beats:.1f} beats"] if timing.beats else parts)


def shade(grade: int | None, grades: Sequence[str]) -> str:
    """The class of a grade's colour: the best, the worst, one between."""
    if grade is None:
        return ""
    return "best" if grade == len(grades) - 1 else "worst" if grade == 0 else "middle"


def times(film: Film) -> str:
    """When each frame is shown, in ms from the video's beginning, and the video's length, with spaces between."""
    fps = film.timing.fps or ASSUMED_FPS
    return " ".join(f"{1000 * frame / fps:.0f}" for frame in (*film.frames, film.timing.frames))


def places(film: Film) -> str:
    """Where each frame lies in the drawing of the attention, with spaces between."""
    return " ".join(f"{place_of(frame, film):.1f}" for frame in film.frames)


def place_of(frame: int, film: Film) -> float:
    """Where a frame lies in the drawing of the attention."""
    return EDGE + (WIDTH - 2 * EDGE) * frame / max(film.timing.frames - 1, 1)


def draw_attention(film: Film) -> Markup:
    """The attention over the video: a curve through its frames, the most attended one marked, a line for playing."""
    top = max(film.weights)
    points = [
        (place_of(frame, film), HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * weight / max(top, 1e-12))
        for frame, weight in zip(film.frames, film.weights, strict=True)
    ]
    floor = HEIGHT - EDGE
    curve = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = "".join(f'<circle class="fill c0" cx="{x:.1f}" cy="{y:.1f}" r="1.6"/>' for x, y in points)
    x, y = points[film.peak]
    return svg(
        WIDTH,
        HEIGHT,
        f'<path class="area c0" d="M{points[0][0]:.1f} {floor}L{curve}L{points[-1][0]:.1f} {floor}Z"/>',
        dots,
        f'<line class="cursor" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}"/>',
        f'<circle class="peak" cx="{x:.1f}" cy="{y:.1f}" r="3.6"/>',
        title=f"Attention over the frames; the most in frame {film.frames[film.peak]}",
    )
