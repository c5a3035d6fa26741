"""Files inside `.tar` archives, addressed as if the archive were a folder: `videos.tar/a.avi`.

The archive is never unpacked: its index of names and places is read once by each process, from the `.idx` file beside
it or from the archive itself, then members are read from where they lie.
"""

from __future__ import annotations

import io
import os
import tarfile
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from operator import itemgetter
from typing import BinaryIO, NamedTuple

from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.datasets.video.tar_index import Entry, read_index

MAX_MEMBER_BYTES = 1 << 30
HEADER = tarfile.BLOCKSIZE  # bytes before each member's content, which name it
INDEXES = 64  # archives whose index a process keeps


class Place(NamedTuple):
    """Where a file lies.

    Attributes:
        archive, name: the archive and the file's name in there.
        offset, size: of the content, in bytes.
        listed: a `.idx` file says so, which may be older than the archive.
    """

    archive: str
    name: str
    offset: int
    size: int
    listed: bool


class Moved(Unreadable):
    """The archive has something else where its `.idx` file says that a member is."""


def open_member(path: str) -> BinaryIO | list[tuple[str, Callable[[], BinaryIO]]] | None:
    """What `path` names inside an archive; None where no part of it is an archive.

    A file's content, or for a folder the name and an opener of each file directly in it. Raises Unreadable where the
    archive has no such member.
    """
    found = _archive_of(path)
    if found is None:
        return None
    if (place := found.place()) is not None:
        return _open(place)
    inside: list[tuple[str, Callable[[], BinaryIO]]] = [(name, partial(_open, place)) for name, place in found.inside()]
    if not inside:
        raise Unreadable(f"no such member of {found.archive}")
    return inside


def find_member(path: str) -> Place | None:
    """Where the file lies that `path` names inside an archive; None where it names none."""
    found = _archive_of(path)
    return found.place() if found else None


def exists(path: str) -> bool | None:
    """Whether the archive that `path` leads into has such a file or folder; None where no part of it is an archive."""
    found = _archive_of(path)
    return None if found is None else found.is_there()


def is_archive(path: str) -> bool:
    """Whether `path` leads to an archive."""
    return path.endswith(".tar") and os.path.isfile(path)


def is_in_archive(path: str) -> bool:
    """Whether `path` leads to a file or a folder in an archive that can be read."""
    try:
        return bool(exists(path))
    except (OSError, tarfile.TarError):
        return False


def files_of(archive: str) -> list[str]:
    """Paths of the files in an archive, in the order in which they lie; of one that is cut short those before the cut.

    Raises OSError and tarfile.TarError.
    """
    entries = _index(archive, os.stat(archive).st_mtime_ns, by_file=True).entries
    return [f"{archive}/{name}" for name, *_ in sorted(entries, key=itemgetter(1))]


def is_cut_short(archive: str) -> bool:
    """Whether files may be missing at the end of an archive; what its `.idx` file lists is missed when it is read.

    Raises OSError and tarfile.TarError.
    """
    return _index(archive, os.stat(archive).st_mtime_ns, by_file=True).cut


def split_path(path: str) -> tuple[str, str] | None:
    """The archive that `path` leads into and the name inside, by its words alone; None where it leads into none."""
    head, separator, member = path.partition(".tar/")
    return (head + ".tar", member) if separator else None


def archive_of(path: str) -> str:
    """The archive that `path` leads into, by its words alone; empty where it leads into none."""
    parts = split_path(path)
    return parts[0] if parts else ""


def read_member(file: BinaryIO, place: Place) -> bytes:
    """The content of a member; the open archive stands at the member's header, HEADER bytes before the content.

    Raises Unreadable where the archive is cut short, and Moved where an index file is wrong.
    """
    if place.size > MAX_MEMBER_BYTES:
        raise Unreadable("a member of more than 1 GB; unpack it")
    header, content = file.read(HEADER), file.read(place.size)
    if len(content) < place.size:
        raise Unreadable("the archive is cut short")
    if place.listed and not _heads(header, place):
        raise Moved(f"{place.archive} has something else where its .idx file says that it is; write that file again")
    return content


class _Index:
    """The files of an archive, sorted by name; `listed`: as a `.idx` file says; `cut`: its end is not there."""

    def __init__(self, entries: list[Entry], listed: bool, cut: bool = False) -> None:
        self.entries, self.listed, self.cut = sorted(entries), listed, cut
        self.names = [name for name, _, _ in self.entries]


class _Member(NamedTuple):
    """What a path names in an archive: a file, a folder or nothing."""

    archive: str
    name: str
    files: _Index

    def place(self) -> Place | None:
        """Where the file of this name lies, if there is one."""
        at = bisect_left(self.files.names, self.name)
        found = at < len(self.files.names) and self.files.names[at] == self.name
        return self._at(at) if found else None

    def inside(self) -> list[tuple[str, Place]]:
        """The files directly in the folder of this name."""
        names, prefix = self.files.names, self.name.rstrip("/") + "/"
        at, found = bisect_left(names, prefix), []
        while at < len(names) and names[at].startswith(prefix):
            if "/" not in (name := names[at][len(prefix) :]):
                found.append((name, self._at(at)))
            at += 1
        return found

    def is_there(self) -> bool:
        """Whether it is a file or a folder."""
        prefix = self.name.rstrip("/") + "/"
        at = bisect_left(self.files.names, prefix)
        return self.place() is not None or any(name.startswith(prefix) for name in self.files.names[at : at + 1])

    def _at(self, at: int) -> Place:
        return Place(self.archive, *self.files.entries[at], self.files.listed)


def _archive_of(path: str) -> _Member | None:
    """What `path` names in an archive; None where no part of it is an archive."""
    parts = split_path(path)
    if parts is None or not os.path.isfile(parts[0]):
        return None
    archive, name = parts
    modified = os.stat(archive).st_mtime_ns
    found = _Member(archive, name, _index(archive, modified, by_file=True))
    if found.files.listed and not found.is_there():  # its .idx file may be older than the archive
        return _Member(archive, name, _index(archive, modified, by_file=False))
    return found


@lru_cache(maxsize=INDEXES)
def _index(archive: str, modified: int, by_file: bool) -> _Index:
    """The files in an archive; `by_file`: as its `.idx` file says, where there is one."""
    if by_file and (entries := read_index(archive)) is not None:
        return _Index(entries, listed=True)
    entries, end = [], b""
    with tarfile.open(archive, "r:") as tar, suppress(tarfile.ReadError):  # cut short: those before the cut are there
        for member in tar:
            if member.isreg():
                entries.append((member.name.removeprefix("./"), member.offset_data, member.size))
        with open(archive, "rb") as file:
            file.seek(tar.offset)
            end = file.read(tarfile.BLOCKSIZE)  # empty where nothing says that the archive ends here
    return _Index(entries, listed=False, cut=end != tarfile.NUL * tarfile.BLOCKSIZE)


def _open(place: Place) -> BinaryIO:
    with open(place.archive, "rb") as file:
        try:
            return io.BytesIO(_read_at(file, place))
        except Moved:
            own = _index(place.archive, os.fstat(file.fileno()).st_mtime_ns, by_file=False)
            if (there := _Member(place.archive, place.name, own).place()) is None:
                raise
            return io.BytesIO(_read_at(file, there))


def _read_at(file: BinaryIO, place: Place) -> bytes:
    file.seek(place.offset - HEADER)
    return read_member(file, place)


def _heads(header: bytes, place: Place) -> bool:
    """Whether this is the header of the member; of long and foreign names it does not hold all."""
    try:
        found = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    held_elsewhere = len(place.name) > tarfile.LENGTH_NAME or not place.name.isascii()
    return found.size == place.size and (held_elsewhere or found.name.removeprefix("./") == place.name)
