"""Writes docs/config.md from the keys: PYTHONPATH=src python -m echoviewclip.utils.config.reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import GenericAlias
from typing import Any, get_args

from echoviewclip.utils.config.key import Key, Section
from echoviewclip.utils.config.schema import KEYS, SECTIONS
from echoviewclip.utils.files import write_text

PAGE = Path(__file__).resolve().parents[2] / "docs" / "config.md"
INTRODUCTION = """\
# Configuration

Every key with its default, the values that it may have, its meaning, and when it has no effect.
`PYTHONPATH=src python -m echoviewclip.utils.config.reference` writes this page from the keys in
`utils/config/sections/`; do not edit it by hand.

A configuration is the defaults, the yaml files that `BASE` names, the yaml file of `-cfg`, and `--opts KEY VALUE …`,
each over the one before. In a file, `DATA.ROOT` is the key `ROOT` of the group `DATA`. An unknown key, a value of
another type and a value that a key may not have are one line that names the key, with exit code 2.

A training logs, before it begins, each setting that has no effect: of the keys that the command line and the file of
`-cfg` itself set (not a file under its `BASE`), and of all keys that are not at their default. 0, False and empty mean
off, and are not logged where that is what happens anyway.
"""
TYPES = {bool: "True, False", int: "whole number", float: "number", str: "text"}
NAME = re.compile(rf"(?<![\w`.])(?:{'|'.join(map(re.escape, sorted(KEYS, key=len, reverse=True)))})(?![\w`])")


def page() -> str:
    """The text of docs/config.md."""
    return "\n".join([INTRODUCTION, *(line for section in SECTIONS for line in _section(section))])


def _section(section: Section) -> list[str]:
    rows = [_row(key) for key in section.keys]
    head = ["| key | default | values | meaning | no effect when |", "|---|---|---|---|---|"]
    return [f"## {section.name or 'Top level'}", "", _mark_keys(section.about), "", *head, *rows, ""]


def _row(key: Key) -> str:
    """A line of the table; keys stand without their group's name, which is the heading."""
    conditions = "; or ".join(rule.condition or rule.reason for rule in key.no_effect)
    cells = [
        f"`{key.name.split('.')[-1]}`",
        _format(key.default),
        _values(key),
        _mark_keys(key.meaning),
        _mark_keys(conditions),
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(key: Key) -> str:
    """Type, choices and bounds."""
    item = get_args(key.kind)[0] if isinstance(key.kind, GenericAlias) else key.kind
    values = ", ".join(map(_format, key.choices)) or ", ".join([TYPES[item], *(bound.shown for bound in key.bounds)])
    return values if item is key.kind else f"list: {values}"


def _format(value: Any) -> str:
    """A value about as yaml writes it."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"`[{', '.join(map(str, value))}]`"
    return '`""`' if value == "" else f"`{value}`"


def _mark_keys(text: str) -> str:
    """The text with the names of keys as code."""
    return NAME.sub(r"`\g<0>`", text)


if __name__ == "__main__":
    write_text(PAGE, page())
    print(PAGE)
