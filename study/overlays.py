"""Why the model decided, as pictures that lie over the films of a page."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from echoviewclip.inference.explain import Explanation
from echoviewclip.study.films import Film, lay_out


@dataclass(frozen=True)
class Overlay:
    """What spoke for and against the view of a film, where in its frames; grey, brighter where it counted more.

    Attributes:
        at: the frames of the film that have a map, by their places in `Film.frames`.
        side: height and width of a map.
        columns: maps in a row of a sheet.
        spoke_for, spoke_against: lossless WebP, the maps side by side; None without a negative branch.
    """

    at: tuple[int, ...]
    side: int
    columns: int
    spoke_for: bytes
    spoke_against: bytes | None


def make_overlay(why: Explanation, film: Film) -> Overlay:
    """The maps of a video's explanation over those frames of its film that they belong to."""
    places = {frame: place for place, frame in enumerate(film.frames)}
    columns = math.ceil(math.sqrt(len(why.frames)))
    return Overlay(
        tuple(places[frame] for frame in why.frames.tolist()),
        why.spoke_for.shape[1],
        columns,
        _sheet(why.spoke_for, columns),
        None if why.spoke_against is None else _sheet(why.spoke_against, columns),
    )


def _sheet(maps: np.ndarray, columns: int) -> bytes:
    """Maps float32 [n, S, S] in [0, 1] as one picture."""
    grey = (255 * maps).round().astype(np.uint8)[..., None].repeat(3, axis=-1)
    data = io.BytesIO()
    Image.fromarray(lay_out(grey, columns)).save(data, "WEBP", lossless=True, method=4)
    return data.getvalue()
