"""Clips and studies made by hand."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from echoviewclip.inference.explain import Explanation
from echoviewclip.inference.prediction import Prediction
from echoviewclip.study.clips import Clip, Study
from echoviewclip.study.films import Film, Timing, make_film
from echoviewclip.study.groups import ViewGroups, read_groups
from echoviewclip.study.overlays import make_overlay

GRADES = ("very bad", "not good", "good")
COLUMNS = ("file", "view", "probability", "decision", "score", "tau", "score_name", "quality", "quality_score")
COLUMNS = (*COLUMNS, "frame", "warnings", "error")
A4C, A2C, PLAX = "Apical 4C 2D", "Apical 2C 2D", "Parasternal Long Axis 2D"
BEAT = Timing(60, 30.0, 60.0)  # two seconds, two beats


@lru_cache
def groups() -> ViewGroups:
    """Those of the 38 views."""
    return read_groups("labels/ultracls.yaml")


def film(timing: Timing = BEAT, frames: int = 4, size: int = 8) -> Film:
    """Grey pictures, brighter from frame to frame, the last the most attended."""
    pictures = (
        np.full((1, frames, size, size, 3), 0, np.uint8) + np.arange(0, 40 * frames, 40, np.uint8)[:, None, None, None]
    )
    places = np.linspace(0, timing.frames - 1, frames).astype(np.int64)
    weights = np.arange(1, frames + 1, dtype=np.float32) / sum(range(1, frames + 1))
    return make_film(pictures, places, weights, 1, timing)


def clip(number: int, view: str | None = A4C, p: float | None = 0.9, grade: int | None = 2, **changes: Any) -> Clip:
    """An accepted, good clip of two beats; `changes` are of the answer, but for `timing` and `name`."""
    timing, name = changes.pop("timing", BEAT), changes.pop("name", f"{number:03d}.avi")
    answer: dict[str, Any] = {"file": f"s/{name}", "view": view, "probability": p, "decision": "accepted", "score": 1.5}
    answer |= {"tau": 1.0, "score_name": "msp", "frame": 59}
    answer |= {
        "quality": None if grade is None else GRADES[grade],
        "quality_score": None if grade is None else grade / 2,
    }
    answer |= changes
    shown = None if answer.get("error") else film(timing)
    return Clip(number, name, Prediction(**answer), *groups().place(answer["view"]), grade, shown)


def explained(of: Clip, against: bool = True) -> Clip:
    """The clip with maps on all frames but its first: their left half spoke for its view, their right half against."""
    assert of.film is not None
    halves = np.zeros((2, len(of.film.frames) - 1, 8, 8), np.float32)
    halves[0, :, :, :4] = halves[1, :, :, 4:] = 1
    why = Explanation(np.array(of.film.frames[1:]), halves[0], halves[1] if against else None)
    return replace(of, why=make_overlay(why, of.film))


def rejected(number: int, view: str = A4C, **changes: Any) -> Clip:
    """A clip that looks most like a view, and is taken for none."""
    return clip(number, view, **({"decision": "rejected", "score": 0.5} | changes))


def unreadable(number: int, **changes: Any) -> Clip:
    """A video without an answer."""
    nothing = {name: None for name in ("decision", "score", "frame")}
    return clip(number, None, None, None, **(nothing | {"error": "holds no frames"} | changes))


def study(*clips: Clip, name: str = "s") -> Study:
    """The clips as a study."""
    return Study(name, list(clips))


def pixels(webp: bytes) -> np.ndarray:
    """What a picture of a page shows, uint8 [H, W, 3]."""
    return np.asarray(Image.open(io.BytesIO(webp)).convert("RGB"))
