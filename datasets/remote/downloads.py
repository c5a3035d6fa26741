"""Local copies of files that lie elsewhere, in a folder of bounded size: the least recently used leave.

    FOLDER/3f2/3f2a…-VERSION.avi    a copy, under a hash of its URL; accessed when it was last used, modified when it
                                    was last seen to be what lies at the source
    FOLDER/3f2/.lock                held by the process that fetches a file into this part of the folder
    FOLDER/.lock, FOLDER/.size      bytes of all copies, changed under the lock

Processes of one run, of several and of several machines may share a folder. A copy is written under a temporary name
and renamed when it is whole. Who reads one has it open, so that another process may remove it meanwhile.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from echoviewclip.datasets.remote.store import Found, download, look_at, names_in
from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.utils.files import atomic_path, writing
from echoviewclip.utils.urls import identity, join, shown
from echoviewclip.utils.workers import OutOfTime

STARTED = time.time()  # copies that were seen to be current since then are taken to be so by this run
FOLDER, LIMIT = "ECHOVIEW_DOWNLOAD_FOLDER", "ECHOVIEW_DOWNLOAD_LIMIT"  # of this process and those that it starts
DEFAULT_LIMIT = 20.0
GB = 10**9
KEPT = 0.9  # of the bound, once copies had to leave
TRIES = 5

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}$")


def set_downloads(folder: str | Path, limit: float) -> None:
    """Where this process, and those that it starts, keep copies (empty: a folder of the user's), and how many GB."""
    os.environ[FOLDER], os.environ[LIMIT] = str(folder), str(limit)


def open_copy(url: str) -> BinaryIO:
    """The file at a URL, open for reading. Raises Unreadable, and UserError where no copy can be written."""
    folder = os.environ.get(FOLDER) or _default_folder()
    downloads = Downloads(Path(folder), int(float(os.environ.get(LIMIT) or DEFAULT_LIMIT) * GB))
    try:
        return downloads.open(url)
    except OutOfTime:
        raise Unreadable("fetching it takes too long (DATA.TIMEOUT)") from None


def open_folder(url: str) -> list[tuple[str, partial[BinaryIO]]]:
    """Name and opener of each file directly in a folder. Raises Unreadable."""
    files, _ = names_in(url)
    return [(name, partial(open_copy, join(url, name))) for name in files]


def _default_folder() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "echoviewclip", "downloads")


class IsFolder(Unreadable):
    """What lies at a URL is a folder."""


@dataclass(frozen=True)
class Downloads:
    """Copies in `folder` that take at most `limit` bytes, those that are being written or read left out."""

    folder: Path
    limit: int

    def open(self, url: str) -> BinaryIO:
        """A copy of the file at a URL, fetched where there is none or another lies at the source. Raises Unreadable."""
        name = hashlib.sha256(identity(url).encode(errors="surrogateescape")).hexdigest()[:32]
        part = self.folder / name[:3]
        for _ in range(TRIES):
            if file := self._current(part, name):
                return file
            with writing(self.folder):
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                part.mkdir(exist_ok=True)
            with _locked(part):
                if file := self._current(part, name):  # another process fetched it
                    return file
                self._fetch(url, part, name)
        raise Unreadable("its local copy leaves as soon as it is made: raise DATA.DOWNLOAD_LIMIT")

    def _current(self, part: Path, name: str) -> BinaryIO | None:
        """The copy that this run has seen to be current, open."""
        for path in _copies(part, name):
            with suppress(FileNotFoundError):
                file = path.open("rb")
                seen = os.fstat(file.fileno()).st_mtime
                if seen >= STARTED:
                    _mark(path, seen)
                    return file
                file.close()
        return None

    def _fetch(self, url: str, part: Path, name: str) -> None:
        """Leaves a current copy under `name`: one that is there, or a new one in place of it."""
        found = look_at(url)
        if found.folder:
            raise IsFolder("it is a folder at its source")
        target = part / f"{name}-{found.version}{_suffix(url)}"
        for path in _copies(part, name):
            if path != target:
                self._remove(path)
        if target.exists():
            with suppress(FileNotFoundError):
                _mark(target, time.time())
            return
        self._check_size(found.size)
        with atomic_path(target, private=True) as temporary:
            size = download(url, temporary)
            self._check(found, size)
            self._make_room(size)
        _mark(target, time.time())

    def _check(self, found: Found, size: int) -> None:
        if found.size is not None and size != found.size:
            raise Unreadable(f"{size} of {found.size} bytes came from its source")
        self._check_size(size)

    def _check_size(self, size: int | None) -> None:
        if size is not None and size > self.limit:
            raise Unreadable(
                f"it has {size / GB:.3g} GB and all local copies may have {self.limit / GB:.3g}: raise "
                "DATA.DOWNLOAD_LIMIT (--download-limit)"
            )

    def _make_room(self, size: int) -> None:
        """Counts `size` more bytes, and removes what was used least recently where they would be too many."""
        with _locked(self.folder):
            total = self._read_total() + size
            if total > self.limit:
                total = self._evict(size) + size
            self._write_total(total)

    def _evict(self, coming: int) -> int:
        """Removes copies until `coming` bytes have room; bytes of the others."""
        entries = []
        for path in self.folder.glob("???/[!.]*-*"):  # not those that are being written
            with suppress(FileNotFoundError):
                entries.append((path.stat().st_atime_ns, path.stat().st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total + coming <= KEPT * self.limit or total == 0:
                break
            path.unlink(missing_ok=True)
            total -= size
        return total

    def _remove(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            with _locked(self.folder):
                self._write_total(self._read_total() - size)

    def _read_total(self) -> int:
        """As counted; a count that is damaged is too high, so that the files are counted anew."""
        try:
            return int((self.folder / ".size").read_text())
        except FileNotFoundError:
            return 0
        except ValueError:
            return self.limit

    def _write_total(self, total: int) -> None:
        (self.folder / ".size").write_text(str(max(total, 0)))


def _copies(part: Path, name: str) -> list[Path]:
    try:
        with os.scandir(part) as entries:
            return [Path(entry.path) for entry in entries if entry.name.startswith(f"{name}-")]
    except FileNotFoundError:
        return []


def _mark(path: Path, seen: float) -> None:
    """Notes that a copy is used now, and when it was seen to be current."""
    with suppress(OSError):  # it may have left; a folder of others' may be for reading alone
        os.utime(path, (time.time(), seen))


def _suffix(url: str) -> str:
    found = _SUFFIX.search(shown(url))
    return found[0].lower() if found else ""


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a folder against other processes, as far as the disk has locks; the system lets go when a process ends."""
    with writing(folder):
        file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OutOfTime:
            raise
        except OSError:  # a disk without locks: two may fetch one file, and the count may be wrong for a while
            pass
        yield
    finally:
        os.close(file)
