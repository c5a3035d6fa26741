"""How a sonographer orders views: by where the probe stands, then by how the video is recorded; from labels/*.yaml."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echoviewclip.utils.errors import UserError, quoted
from echoviewclip.utils.files import find_own
from echoviewclip.utils.yaml_text import read_yaml_file

KEYS = ("windows", "modes", "views")
STANDARD = "labels/ultracls.yaml"
OTHER = "Other views"  # the window of views that no file orders


@dataclass(frozen=True)
class ViewGroups:
    """The order of views.

    Attributes:
        windows: where the probe stands, in order.
        modes: how a video is recorded, in order.
        places: window and mode by the view's name, in the order of an examination.
    """

    windows: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    places: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def place(self, view: str | None) -> tuple[str, str]:
        """Window and mode of a view; (OTHER, "") of one that is not ordered."""
        return self.places.get(view or "", (OTHER, ""))

    def order(self, view: str) -> tuple[int, int, int]:
        """What views are sorted by; those that are not ordered come last."""
        if view not in self.places:
            return len(self.windows), 0, 0
        window, mode = self.places[view]
        return self.windows.index(window), self.modes.index(mode), list(self.places).index(view)


def find_groups(label_list: str | Path, views: Sequence[str]) -> ViewGroups:
    """The order of `views` (names): the yaml file beside their label list, else the standard one, that names them all.

    Without one nothing is ordered. Raises UserError for a file that is not as it should be.
    """
    for file in (find_own(Path(label_list).with_suffix(".yaml")), find_own(STANDARD)):
        if os.path.isfile(file):
            groups = read_groups(file)
            if set(views) <= set(groups.places):
                return groups
    return ViewGroups()


def read_groups(file: str | Path) -> ViewGroups:
    """Reads a file of the form of labels/ultracls.yaml. Raises UserError."""
    file = Path(file)
    content = read_yaml_file(file)
    if not isinstance(content, dict) or set(content) != set(KEYS):
        raise UserError(f"{file}: expected the keys {', '.join(KEYS)}, as in {STANDARD}")
    windows, modes = (_names(file, key, content[key]) for key in KEYS[:2])
    if not isinstance(content["views"], dict):
        raise UserError(f"{file}: views: expected `name: [window, mode]` lines, found {quoted(content['views'])}")
    places = {}
    for view, place in content["views"].items():
        known = isinstance(place, list) and len(place) == 2 and place[0] in windows and place[1] in modes
        if not isinstance(view, str) or not known:
            expected = "[window, mode] out of windows and modes"
            raise UserError(f"{file}: views: {quoted(view)}: expected {expected}, found {quoted(place)}")
        places[view] = (place[0], place[1])
    return ViewGroups(windows, modes, places)


def _names(file: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise UserError(f"{file}: {key}: expected a list of names, found {quoted(value)}")
    return tuple(value)
