"""A protocol: the views that a study should hold, and the measurements that its clips should allow."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoviewclip.utils.errors import UserError, quoted
from echoviewclip.utils.files import find_own
from echoviewclip.utils.yaml_text import read_yaml_file

FOLDER = "labels/protocols"
DEFAULT = "adult-tte"
REQUIRED = ("name", "guideline", "views")
KEYS = (*REQUIRED, "optional", "measurements")
OF_MEASUREMENT = ("name", "views", "beats", "seconds")


@dataclass(frozen=True)
class Measurement:
    """What is measured on a clip of each of some views.

    Attributes:
        name: what is measured.
        views: names.
        beats: heart beats that a clip needs.
        seconds: that it needs where the heart rate is not known.
    """

    name: str
    views: tuple[str, ...]
    beats: float
    seconds: float


@dataclass(frozen=True)
class Protocol:
    """What a study should hold.

    Attributes:
        name, guideline: what it is and what it follows, as people read it.
        views: names of those that must be there.
        optional: names of those that are shown where they are there.
        measurements: what is measured.
    """

    name: str
    guideline: str
    views: tuple[str, ...]
    optional: tuple[str, ...] = ()
    measurements: tuple[Measurement, ...] = ()

    @property
    def named(self) -> Iterator[str]:
        """All views that it names."""
        yield from (*self.views, *self.optional)
        for measurement in self.measurements:
            yield from measurement.views


def choose_protocol(asked: str | None, views: Sequence[str]) -> Protocol | None:
    """The protocol `asked` for, by name (of labels/protocols) or file; None asks for the standard one.

    `views` are those of the checkpoint. Where it does not know those of the standard protocol, there is none. Raises
    UserError for a protocol that is not there, is not as it should be, or names a view that the checkpoint lacks.
    """
    file = _find(asked or DEFAULT)
    protocol = read_protocol(file)
    unknown = [view for view in protocol.named if view not in views]
    if not unknown:
        return protocol
    if asked is None:
        return None
    near = difflib.get_close_matches(unknown[0], views, 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise UserError(f"{file}: {unknown[0]!r} is none of the checkpoint's {len(views)} views{meant}")


def _find(asked: str) -> Path:
    if asked.endswith((".yaml", ".yml")) or os.sep in asked:
        file = find_own(asked)
        if not os.path.isfile(file):
            raise UserError(f"{asked}: no such protocol (--protocol)")
        return file
    file = find_own(f"{FOLDER}/{asked}.yaml")
    if not os.path.isfile(file):
        names = sorted(path.stem for path in find_own(FOLDER).glob("*.yaml"))
        raise UserError(f"--protocol {quoted(asked)}: no such protocol; {', '.join(names)}, or a yaml file")
    return file


def read_protocol(file: str | Path) -> Protocol:
    """Reads a file of labels/protocols. Raises UserError."""
    file = Path(file)
    content = read_yaml_file(file)
    _check_keys(file, "", content, KEYS, REQUIRED)
    views = _views(file, "views", content["views"])
    optional = _views(file, "optional", content["optional"]) if content.get("optional") else ()
    twice = sorted(set(views) & set(optional))
    if twice:
        raise UserError(f"{file}: optional: {twice[0]!r} is among the views, too; leave it in one of them")
    measured = content.get("measurements") or []
    if not isinstance(measured, list):
        raise UserError(f"{file}: measurements: expected a list, found {quoted(measured)}")
    return Protocol(
        _text(file, "name", content["name"]),
        _text(file, "guideline", content["guideline"]),
        views,
        optional,
        tuple(_measurement(file, f"measurements: {number}: ", one) for number, one in enumerate(measured, start=1)),
    )


def _measurement(file: Path, where: str, content: Any) -> Measurement:
    _check_keys(file, where, content, OF_MEASUREMENT, OF_MEASUREMENT)
    lengths = []
    for key in ("beats", "seconds"):
        value = content[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise UserError(f"{file}: {where}{key}: expected a number of 0 or more, found {quoted(value)}")
        lengths.append(float(value))
    name, views = _text(file, f"{where}name", content["name"]), _views(file, f"{where}views", content["views"])
    return Measurement(name, views, *lengths)


def _check_keys(file: Path, where: str, content: Any, known: Sequence[str], required: Sequence[str]) -> None:
    if not isinstance(content, dict):
        raise UserError(f"{file}: {where}expected the keys {', '.join(known)}, found {quoted(content)}")
    for key in content:
        if key not in known:
            raise UserError(f"{file}: {where}unknown key {quoted(key)}; it may have {', '.join(known)}")
    for key in required:
        if key not in content:
            raise UserError(f"{file}: {where}{key} is missing")


def _text(file: Path, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{file}: {key}: expected a text, found {quoted(value)}")
    return " ".join(value.split())


def _views(file: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise UserError(f"{file}: {key}: expected a list of names of views, found {quoted(value)}")
    for name in value:
        if value.count(name) > 1:
            raise UserError(f"{file}: {key}: {name!r} is there twice")
    return tuple(value)
