"""What folders, patterns and tables say of the files of an archive: patient, label or grade."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from echoviewclip.datasets.intake.find import LISTS
from echoviewclip.datasets.labels import Labels
from echoviewclip.datasets.rows import NOTHING_KNOWN, Row, read_rows
from echoviewclip.utils.errors import UserError

FOLDER = re.compile(r"folder(?::(\d+))?$")


@dataclass(frozen=True)
class Folder:
    """The folder of a path that says something.

    Attributes:
        level: 1 is the folder directly under SRC; None the deepest that is a known name, or without names the deepest.
        known: names that it may have.
    """

    level: int | None = None
    known: Labels = NOTHING_KNOWN

    def place(self, name: str) -> int | None:
        """Which part of the path it is; None where there is none."""
        folders = name.split("/")[:-1]
        if self.level is not None:
            return self.level - 1 if self.level <= len(folders) else None
        for place in reversed(range(len(folders))):
            if not self.known.names or self._is_known(folders[place]):
                return place
        return None

    def _is_known(self, folder: str) -> bool:
        try:
            return bool(self.known.ids(spoken(folder)))
        except ValueError:
            return False

    def __call__(self, name: str) -> str:
        place = self.place(name)
        return "" if place is None else name.split("/")[place]


def spoken(folder: str) -> str:
    """The name of a folder as words: `Apical_4C_2D` is Apical 4C 2D."""
    return folder.replace("_", " ")


def read_origin(
    text: str, option: str, column: str, root: Path | str, known: Labels = NOTHING_KNOWN, level: int | None = None
) -> Callable[[str], str]:
    """A function from a file's name, relative to `root`, to what `text` says of it; empty where it says nothing.

    `text` is `folder` (at `level`, see `Folder`), `folder:N`, a list with a column `column`, or a regular expression
    that is searched for in the name and whose first group, or whole match, counts. `option` names it in errors.
    Raises UserError.
    """
    if found := FOLDER.match(text):
        if found[1] == "0":
            raise UserError(f"{option} {text}: levels count from 1, the folders directly under SRC")
        return Folder(int(found[1]) if found[1] else level, known)
    if text.lower().endswith(LISTS):
        if not Path(text).is_file():
            raise UserError(f"{option} {text}: no such table")
        rows = read_table(Path(text), root, column, known)
        return lambda name: getattr(rows[name], column) if name in rows else ""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"{option} {text}: neither folder, nor a table, nor a regular expression: {error}") from None

    def first_group(name: str) -> str:
        hit = pattern.search(name)
        return next(filter(None, hit.groups() or [hit[0]]), "") if hit else ""

    return first_group


def read_table(file: Path, root: Path | str, column: str, known: Labels = NOTHING_KNOWN) -> dict[str, Row]:
    """Rows of a list by the name of the file, relative to `root`. Raises UserError where `column` is empty throughout,
    or a file is there twice and two different things are said of it."""
    rows: dict[str, Row] = {}
    target = "quality" if column == "quality" else "class"
    for row in read_rows(file, target, known):
        if row.fault or not row.path:
            raise UserError(f"{file}:{row.line}: {row.fault or 'no path'}")
        name = os.path.relpath(row.path, root) if os.path.isabs(row.path) else row.path.replace("\\", "/")
        name = os.path.normpath(name)
        first = rows.setdefault(name, row)
        if getattr(first, column) != getattr(row, column):
            raise UserError(f"{file}:{row.line}: says another {column} of the file that line {first.line} names")
    if not any(getattr(row, column) for row in rows.values()):
        raise UserError(f"{file}: has no column `{column}`, or it is empty")
    return rows


def read_all(origin: Callable[[str], str], names: Sequence[str], option: str) -> dict[str, str]:
    """What `origin` says of each of `names`, of those that it says something of. Raises UserError where it is none."""
    found = {name: value for name in names if (value := origin(name))}
    if not found:
        raise UserError(f"{option}: says nothing of any of the {len(names)} files; paths are relative to SRC")
    return found
