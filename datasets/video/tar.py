"""Files inside `.tar` archives, addressed as if the archive were a folder: `videos.tar/a.avi`.

The archive is never unpacked: its index of names and places is read once by each process, then members are read
from where they lie.
"""

from __future__ import annotations

import io
import os
import tarfile
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache, partial
from typing import BinaryIO

from echoviewclip.datasets.video.reasons import Unreadable

MAX_MEMBER_BYTES = 1 << 30


def open_member(path: str) -> BinaryIO | list[tuple[str, Callable[[], BinaryIO]]] | None:
    """What `path` names inside an archive; None where no part of it is an archive.

    A file's content, or for a folder the name and an opener of each file directly in it. Raises Unreadable where the
    archive has no such member.
    """
    found = _archive_of(path)
    if found is None:
        return None
    archive, member, names, places = found
    if (at := _place(names, member)) is not None:
        return _read(archive, *places[at])
    inside: list[tuple[str, Callable[[], BinaryIO]]] = []
    prefix = member.rstrip("/") + "/"
    at = bisect_left(names, prefix)
    while at < len(names) and names[at].startswith(prefix):
        if "/" not in (name := names[at][len(prefix) :]):
            inside.append((name, partial(_read, archive, *places[at])))
        at += 1
    if not inside:
        raise Unreadable(f"no such member of {archive}")
    return inside


def exists(path: str) -> bool | None:
    """Whether the archive that `path` leads into has such a file or folder; None where no part of it is an archive."""
    found = _archive_of(path)
    if found is None:
        return None
    _, member, names, _ = found
    if _place(names, member) is not None:
        return True
    folder = member.rstrip("/") + "/"
    at = bisect_left(names, folder)
    return at < len(names) and names[at].startswith(folder)


def _place(names: list[str], member: str) -> int | None:
    """Where a name stands among sorted names."""
    at = bisect_left(names, member)
    return at if at < len(names) and names[at] == member else None


def _archive_of(path: str) -> tuple[str, str, list[str], list[tuple[int, int]]] | None:
    """The archive that `path` leads into, the name inside, and the archive's index; None where there is no archive."""
    head, separator, member = path.partition(".tar/")
    archive = head + ".tar"
    if not separator or not os.path.isfile(archive):
        return None
    return archive, member, *_index(archive, os.stat(archive).st_mtime_ns)


@lru_cache(maxsize=8)
def _index(archive: str, modified: int) -> tuple[list[str], list[tuple[int, int]]]:
    """Sorted names of the files in it, and offset and size of each in bytes."""
    with tarfile.open(archive, "r:") as tar:
        files = sorted((m.name.removeprefix("./"), m.offset_data, m.size) for m in tar if m.isreg())
    return [name for name, _, _ in files], [(offset, size) for _, offset, size in files]


def _read(archive: str, offset: int, size: int) -> BinaryIO:
    if size > MAX_MEMBER_BYTES:
        raise Unreadable("a member of more than 1 GB; unpack it")
    with open(archive, "rb") as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise Unreadable("the archive is cut short")
    return io.BytesIO(content)
