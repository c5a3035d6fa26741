"""Label lists: the file that says which class has which id and name."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from echoviewclip.utils.errors import UserError, quoted
from echoviewclip.utils.files import find_own

MAX_NAME = 200  # characters; a prompt holds fewer


def read_names(file: str | Path, count: int | None = None, key: str = "") -> list[str]:
    """Names of a label list (`id,name` per line after that header; `find_own`), in order of id.

    Raises UserError where the file is missing, the ids are not 0, 1, 2, …, a name is there twice (but for case and
    blanks) or reads as another id, or the number of names is not `count` (the value of the setting `key`).
    """
    file = find_own(file)
    if not os.path.isfile(file):
        raise UserError(f"{file}: no such label list (DATA.LABEL_LIST, DATA.QUALITY_LIST)")
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.reader(lines))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not UTF-8 text: {error}; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    if not rows or [cell.strip() for cell in rows[0]] != ["id", "name"]:
        raise UserError(f"{file}:1: a label list begins with the line id,name")
    names: list[str] = []
    line_of: dict[str, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != 2 or row[0].strip() != str(len(names)) or not row[1].strip():
            raise UserError(f"{file}:{number}: expected `{len(names)},name`, found {quoted(','.join(row))}")
        name = row[1].strip()
        if len(name) > MAX_NAME or not name.isprintable():
            raise UserError(f"{file}:{number}: the name {quoted(name)} is no text of at most {MAX_NAME} characters")
        first = line_of.setdefault(" ".join(name.split()).casefold(), number)
        if first != number:
            raise UserError(f"{file}:{number}: the name {name!r} is already in line {first}; each class needs its own")
        if name.isdecimal() and name != str(len(names)):
            raise UserError(f"{file}:{number}: the name {name!r} reads as an id; write a word with it: 'grade {name}'")
        names.append(name)
    if count is not None and len(names) != count:
        raise UserError(f"{key} is {count}, but {file} names {len(names)}; make them agree")
    return names
