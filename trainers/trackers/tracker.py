"""What a tracker is: a place outside a run where people follow it, told each line of metrics.jsonl."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from yacs.config import CfgNode

from echoviewclip.utils.config.schema import KEYS, value_of
from echoviewclip.utils.files import write_text

RUN_IDS = "trackers.json"  # in the run's folder: name of a tracker → what it calls the run


@dataclass(frozen=True)
class Line:
    """A line of metrics.jsonl: its number from 0, the optimiser step, and numbers by `group/name`."""

    number: int
    step: int
    values: Mapping[str, float]

    @classmethod
    def of(cls, number: int, record: Mapping[str, Any]) -> Line:
        """`record` maps `step` to the step, and groups (`train`, `val`) to their name → number dicts."""
        groups = {name: values for name, values in record.items() if isinstance(values, dict)}
        numbers = {
            f"{group}/{name}": value
            for group, values in groups.items()
            for name, value in values.items()
            if isinstance(value, int | float)
        }
        return cls(number, int(record["step"]), numbers)


class Tracker(Protocol):
    """One run in one place.

    Attributes:
        lines: how many lines the place holds already, which it is not told again.
        place: where the run is, for the log; empty where nobody has to be told.
    """

    lines: int
    place: str

    def tell(self, line: Line) -> None:
        """Takes one more line."""

    def close(self, finished: bool) -> None:
        """Waits until all lines have arrived; `finished`: the training has come to its end."""


@dataclass(frozen=True)
class Run:
    """What a tracker has to know of a run.

    Attributes:
        folder: of the run.
        project, name: what it is called, and what it belongs to.
        settings: of the run, for whoever compares runs (`shareable`).
        kept: lines that it goes on after.
        first_step: the optimiser step that it goes on with.
        same: whether it goes on with the run that the folder holds, from its last checkpoint or from nothing. One that
            goes on from an earlier checkpoint, or in another folder, is a new run to the trackers.
    """

    folder: Path
    project: str
    name: str
    settings: Mapping[str, bool | int | float | str]
    kept: int
    first_step: int
    same: bool

    def known_as(self, tracker: str) -> str | None:
        """What a tracker calls this run, where it knows it."""
        return self._ids().get(tracker) if self.same else None

    def keep_id(self, tracker: str, name: str) -> None:
        """Keeps what a tracker calls this run, for the time after a resume."""
        write_text(self.folder / RUN_IDS, json.dumps(self._ids() | {tracker: name}, indent=2) + "\n")

    def _ids(self) -> dict[str, str]:
        try:
            return dict(json.loads((self.folder / RUN_IDS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}


def shareable(config: CfgNode) -> dict[str, bool | int | float | str]:
    """Every setting by its dotted name, lists as text, and of paths outside the current folder the last name alone.

    Folders tell who works where, and may tell more.
    """
    found: dict[str, bool | int | float | str] = {}
    for name in KEYS:
        value = value_of(config, name)
        found[name] = value if isinstance(value, bool | int | float) else _without_folders(value)
    return found


def _without_folders(value: str | list) -> str:
    """Text, or the items of a list, as text; items are told apart by commas, as in DATA.OOD_FILE."""
    text = ",".join(map(str, value)) if isinstance(value, list) else value
    return ",".join(_last_name(item) if _leads_out(item.strip()) else item for item in text.split(","))


def _leads_out(path: str) -> bool:
    return path.startswith("~") or os.path.isabs(path) or ".." in path.split("/")


def _last_name(path: str) -> str:
    return path.rstrip("/ ").rpartition("/")[2]
