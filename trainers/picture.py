"""`progress.png`: loss, the validation figure and the learning rate over the epochs of a run, as far as it is."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yacs.config import CfgNode

from echoviewclip.utils.distributed import is_main
from echoviewclip.utils.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "progress.png"
REST = 5.0  # seconds between two drawings; an epoch of the small tower on few videos takes less than its picture
BLUE, ORANGE, RED, GREEN, PURPLE = "#2f6fde", "#e07b00", "#c2325f", "#0b8f82", "#7a4fc4"
INK, SOFT, GRID = "#17202b", "#5b6776", "#dfe3e8"

TERMS = (BLUE, ORANGE, GREEN, PURPLE, RED)  # of the loss and its terms
OTHER = {"lr", "grad_norm", "bad_videos", "bad_steps"}  # under `train`, beside losses

Line = dict[str, Any]  # of metrics.jsonl
Points = tuple[list[float], list[float]]  # epochs, and the values there


class ProgressPicture:
    """Draws a run's picture from its metrics.jsonl, in the main process."""

    def __init__(self, config: CfgNode, steps_per_epoch: int) -> None:
        self.config, self.steps = config, steps_per_epoch
        self._drawn_at = time.monotonic()

    def draw(self, epoch: int, figure: str, last: bool) -> None:
        """Draws what there is after so many epochs, unless it was drawn a moment ago and this is not the `last` time.

        `figure` is the one that chooses best.pth. Raises UserError where the file cannot be written.
        """
        if not is_main() or (not last and time.monotonic() - self._drawn_at < REST):
            return
        epochs, data = self.config.TRAIN.EPOCHS, self.config.DATA.DATASET
        title = f"stage {self.config.STAGE}, {data}: epoch {epoch} of {epochs}"
        draw_progress(Path(self.config.OUTPUT), title, figure, self.steps, epochs)
        self._drawn_at = time.monotonic()


def draw_progress(folder: Path, title: str, figure: str, steps_per_epoch: int, epochs: int) -> None:
    """Writes `folder/progress.png` from `folder/metrics.jsonl`, a step of which is a share of an epoch."""
    picture = make_picture(_lines(folder / "metrics.jsonl"), title, figure, steps_per_epoch, epochs)
    with atomic_path(folder / NAME) as temporary:
        # Without the version of matplotlib: the same run leaves the same bytes.
        picture.savefig(temporary, format="png", metadata={"Software": None})


def make_picture(lines: list[Line], title: str, figure: str, steps_per_epoch: int, epochs: int) -> Figure:
    """Three drawings side by side: loss and its terms, the figure on validation videos, the learning rate."""
    # Here, since it takes half a second to load; and no pyplot, whose windows and state belong to the caller.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = Figure(figsize=(12, 3.6), dpi=100, facecolor="white")
    FigureCanvasAgg(picture)
    picture.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK, parse_math=False)
    picture.subplots_adjust(left=0.045, right=0.985, top=0.8, bottom=0.14, wspace=0.17)
    loss, quality, rate = picture.subplots(1, 3, width_ratios=[1.2, 1.2, 0.8])

    names = {name for line in lines for name in line.get("train", {})} - OTHER
    colours = dict(zip(sorted(names, key=lambda name: (name != "loss", name)), TERMS, strict=False))
    for name, colour in colours.items():
        _curve(loss, _points(lines, "train", name, steps_per_epoch), colour, name, wide=name == "loss")
    _dress(loss, "Loss on training clips", epochs, legend=len(colours) > 1)

    found = _points(lines, "val", figure, steps_per_epoch)
    _curve(quality, found, RED, figure, wide=True, dots=True)
    _mark_best(quality, found)
    _dress(quality, f"{figure} on validation videos", epochs, legend=False)

    _curve(rate, _points(lines, "train", "lr", steps_per_epoch), GREEN, "lr", wide=True)
    _dress(rate, "Learning rate", epochs, legend=False)
    rate.yaxis.set_major_formatter("{x:.1e}")
    return picture


def _lines(file: Path) -> list[Line]:
    """The lines of metrics.jsonl; what is none of a run's own, say of a file that somebody changed, is left out."""
    found = []
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            found.append(line)
    return found


def _points(lines: list[Line], group: str, name: str, steps_per_epoch: int) -> Points:
    found = [(line["step"] / steps_per_epoch, line[group][name]) for line in lines if name in line.get(group, {})]
    return [x for x, _ in found], [y for _, y in found]


def _curve(axes: Axes, points: Points, colour: str, name: str, wide: bool, dots: bool = False) -> None:
    few = len(points[0]) <= 60
    marker = "o" if few and (dots or len(points[0]) == 1) else ""
    axes.plot(*points, color=colour, label=name, linewidth=2 if wide else 1.2, marker=marker, markersize=4)


def _mark_best(axes: Axes, points: Points) -> None:
    """A ring around the best evaluation, with its value; the first of several."""
    known = [(y, -x) for x, y in zip(*points, strict=True) if math.isfinite(y)]
    if not known:
        return
    value, place = max(known)
    axes.plot(-place, value, marker="o", markersize=10, markerfacecolor="none", markeredgecolor=INK)
    text = f"best {value:.4f}, epoch {-place:.0f}"
    axes.annotate(text, (1, 1.02), xycoords="axes fraction", ha="right", fontsize=9, color=SOFT)


def _dress(axes: Axes, title: str, epochs: int, legend: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel("epoch", fontsize=9, color=SOFT)
    axes.set_xlim(0, max(epochs, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.08)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.tick_params(labelsize=9, colors=SOFT, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    if legend:
        axes.legend(fontsize=8, frameon=False, labelcolor=INK)
