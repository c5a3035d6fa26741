"""Files that a pattern names, `archive/**/*.dcm`, one by one as they are found, on the disk or at a URL.

`*`, `?` and `[…]` stand for parts of a name, `**` for any folders; at a URL `?` begins something else and stands for
nothing. Names that begin with a dot are not meant unless the pattern says so. A folder is listed when its turn comes,
files before folders, by name: the order is the same in every process and on every machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from echoviewclip.datasets.remote.store import names_in
from echoviewclip.utils.urls import is_url, join

Listed = tuple[list[str], list[str]]
"""Names of the files and of the folders in a folder."""

_LOCAL, _REMOTE = re.compile(r"[*?[]"), re.compile(r"[*[]")


def is_glob(path: str) -> bool:
    """Whether a path is a pattern: it has a sign of one, and no file or folder has that very name."""
    if is_url(path):
        return _REMOTE.search(path.partition("?")[0]) is not None
    return _LOCAL.search(path) is not None and not os.path.lexists(path)


def matches(pattern: str) -> Iterator[str]:
    """Paths of all files, not folders, that a pattern names. Raises Unreadable where a URL cannot be listed."""
    sign = _REMOTE if is_url(pattern) else _LOCAL
    parts = pattern.split("/") if is_url(pattern) else list(PurePosixPath(pattern).parts)
    first = next(at for at, part in enumerate(parts) if sign.search(part))
    base = "/".join(parts[:first]) if is_url(pattern) else os.path.join("", *parts[:first])
    yield from dict.fromkeys(_below(base, parts[first:])) if parts.count("**") > 1 else _below(base, parts[first:])


def _below(folder: str, parts: Sequence[str], listed: Listed | None = None) -> Iterator[str]:
    """What lies below a folder and fits: `parts` are those of a path that remain; `listed` is the folder, if known."""
    part, *rest = parts
    files, folders = listed = listed or _list(folder)
    if part == "**":
        yield from _below(folder, rest or ["*"], listed)
        for name in folders:
            if not name.startswith("."):
                yield from _below(_joined(folder, name), parts)
    elif rest:
        for name in filter(lambda name: _fits(name, part), folders):
            yield from _below(_joined(folder, name), rest)
    else:
        yield from (_joined(folder, name) for name in files if _fits(name, part))


def _fits(name: str, part: str) -> bool:
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))


def _joined(folder: str, name: str) -> str:
    return join(folder, name) if folder else name


def _list(folder: str) -> Listed:
    """Names of the files and of the folders in a folder, sorted; links to folders are neither."""
    if is_url(folder):
        return names_in(folder)
    files, folders = [], []
    try:
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                if not entry.is_dir():
                    files.append(entry.name)
                elif not entry.is_symlink():
                    folders.append(entry.name)
    except OSError:  # not there, or not to be listed
        pass
    return sorted(files), sorted(folders)
