"""A video of a study with all that is known of it, and which of two is the better one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from echoviewclip.inference.explain import Explanation
from echoviewclip.inference.prediction import Prediction, PredictionTable
from echoviewclip.study.films import Film, Timing
from echoviewclip.study.groups import ViewGroups
from echoviewclip.study.overlays import Overlay, make_overlay

UNTIMED = Timing(0, None, None)
NOT_EXPLAINED: Mapping[int, Explanation] = MappingProxyType({})


@dataclass(frozen=True)
class Clip:
    """One video of a study.

    Attributes:
        number: its place in the list of videos, from 0.
        name: as the page shows it: below the study's folder.
        answer: what the model says.
        window, mode: where its view belongs.
        grade: place of its grade among the grades, worst first; None where it has none.
        film: what the model saw; None where nothing was read.
        why: what spoke for and against its view; None where nobody asked, and without a view.
    """

    number: int
    name: str
    answer: Prediction
    window: str
    mode: str
    grade: int | None
    film: Film | None
    why: Overlay | None = None

    @property
    def timing(self) -> Timing:
        """How long it is."""
        return self.film.timing if self.film else UNTIMED

    @property
    def rejected(self) -> bool:
        """Whether it is taken for none of the views; never where the checkpoint does not decide."""
        return self.answer.decision == "rejected"

    @property
    def found(self) -> bool:
        """Whether it counts as a clip of its view."""
        return self.answer.view is not None and not self.answer.error and not self.rejected


def best_first(clips: Iterable[Clip]) -> list[Clip]:
    """Accepted before rejected ones, then the better grade, then the likelier view, then the order of the list."""

    def badness(clip: Clip) -> tuple[bool, int, float, int]:
        return clip.rejected, -(clip.grade or 0), -(clip.answer.probability or 0.0), clip.number

    return sorted(clips, key=badness)


@dataclass(frozen=True)
class Study:
    """The videos of a study.

    Attributes:
        name: the folder, as it was given.
        clips: its videos, in the order of the list.
    """

    name: str
    clips: list[Clip]


def divide(paths: Sequence[str], files: Sequence[str]) -> dict[str, list[int]]:
    """Which of `files` belong to which study: the given folder that they lie in, the innermost of several.

    Videos that are named by themselves belong to the folder that holds them. Returns places in `files` by the study's
    name, in the order of the first of each; a name is a path as it was given.
    """
    given = sorted((path for path in map(Path, paths) if path.is_dir()), key=lambda path: -len(path.parts))
    studies: dict[str, list[int]] = {}
    for place, file in enumerate(map(Path, files)):
        folder = next((path for path in given if path in file.parents), file.parent)
        studies.setdefault(str(folder), []).append(place)
    return studies


def to_studies(
    table: PredictionTable,
    films: Mapping[int, Film],
    paths: Sequence[str],
    groups: ViewGroups,
    grades: Sequence[str],
    explanations: Mapping[int, Explanation] = NOT_EXPLAINED,
) -> list[Study]:
    """The videos of a table by study; `films` and `explanations` by place in the table, `grades` worst first."""

    def clip(place: int, folder: str) -> Clip:
        row = table[place]
        name = os.path.relpath(row.file, folder)
        grade = grades.index(row.quality) if row.quality in grades else None
        film, why = films.get(place), explanations.get(place)
        overlay = make_overlay(why, film) if why and film else None
        return Clip(place, name, row, *groups.place(row.view), grade, film, overlay)

    studies = divide(paths, [row.file for row in table])
    return [Study(name, [clip(place, name) for place in places]) for name, places in studies.items()]
