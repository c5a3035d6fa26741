"""How well the ultrasound image is found on screens whose truth is known, by layout, state and region tags.

PYTHONPATH=src python -m tests.datasets.intake.score_masks [--seeds 3] [--first 0] [--layouts pointed ecg …]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from echoviewclip.datasets.sector import MOSTLY_IMAGE, find_image
from tests.datasets.intake.outlines import LAYOUTS
from tests.datasets.intake.screens import STATES, TAGS, Screen, draw_screen

GOOD_OVERLAP, MOST_CUT, MOST_TEXT = 0.95, 0.01, 0.01
SEEN = 16  # grey levels from which a cut pixel would be missed


@dataclass(frozen=True)
class Score:
    """What became of one screen; all shares are in [0, 1]."""

    layout: str
    state: str
    tags: str
    seed: int
    overlap: float  # intersection over union of the mask and the image
    cut: float  # share of the image that is painted black and is not black
    text: float  # share of the writing beside the image that stays
    masked: bool  # whether the mask is sure enough to be used
    warned: bool
    seconds: float  # of processor time

    @property
    def is_silent(self) -> bool:
        """Whether writing stays without a warning."""
        return self.text > MOST_TEXT and not self.warned


def score(screen: Screen, layout: str, state: str, tags: str, seed: int) -> Score:
    """Finds the image of one screen as preparing does, and compares it with the truth."""
    start = time.process_time()
    found = find_image(screen.frames, screen.regions)
    seconds = time.process_time() - start
    masked = found.confidence >= MOSTLY_IMAGE
    mask = found.mask if masked else np.ones_like(found.mask)
    seen = screen.image & (screen.frames.max((0, 3)) > SEEN)
    return Score(
        layout,
        state,
        tags,
        seed,
        overlap=float((mask & screen.image).sum() / (mask | screen.image).sum()),
        cut=float((seen & ~mask).sum() / screen.image.sum()),
        text=float((screen.writing & mask).sum() / max(1, screen.writing.sum())),
        masked=masked,
        warned=bool(found.warnings),
        seconds=seconds,
    )


def scores(layouts: Iterable[str], seeds: Iterable[int]) -> Iterator[Score]:
    """The scores of every layout in every state with every kind of tags."""
    seeds = list(seeds)
    for layout in layouts:
        for state in STATES:
            for seed in seeds:
                for tags in TAGS:  # of one drawing
                    yield score(draw_screen(layout, state, seed, tags), layout, state, tags, seed)


def table(found: list[Score]) -> str:
    """Shares of files that reach each target, as a table in Markdown."""
    lines = [
        "| screens | files | IoU ≥ 0.95 | cut ≤ 1 % | writing gone | masked | writing stays silently | ms, median |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: list[tuple[str, Callable[[Score], bool]]] = [("all", lambda s: True)]
    groups += [(state, lambda s, state=state: s.state == state) for state in STATES]
    groups += [(f"tags: {tags}", lambda s, tags=tags: s.tags == tags) for tags in TAGS]
    groups += [(layout, lambda s, layout=layout: s.layout == layout) for layout in LAYOUTS]
    for name, chosen in groups:
        rows = [one for one in found if chosen(one)]
        if rows:
            lines.append(f"| {name} | {len(rows)} | " + " | ".join(_figures(rows)) + " |")
    return "\n".join(lines)


def _figures(rows: list[Score]) -> list[str]:
    shares = [
        [row.overlap >= GOOD_OVERLAP for row in rows],
        [row.cut <= MOST_CUT for row in rows],
        [row.text <= MOST_TEXT for row in rows],
        [row.masked for row in rows],
    ]
    silent = str(sum(row.is_silent for row in rows))
    median = f"{1000 * np.median([row.seconds for row in rows]):.0f}"
    return [f"{100 * np.mean(share):.1f} %" for share in shares] + [silent, median]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="screens of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), default=list(LAYOUTS))
    options = parser.parse_args()
    found = []
    for one in scores(options.layouts, range(options.first, options.first + options.seeds)):
        found.append(one)
        if one.overlap < GOOD_OVERLAP or one.cut > MOST_CUT or one.text > MOST_TEXT:
            print(one, file=sys.stderr)
    print(table(found))


if __name__ == "__main__":
    main()
