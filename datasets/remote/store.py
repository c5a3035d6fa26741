"""What a URL leads to, by fsspec: whether it is there, which version, what lies in it, its bytes.

Errors are `Unreadable`, which says why and quotes neither the URL nor what a library says of it: both may hold
credentials. A package that is missing is a UserError.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from echoviewclip.datasets.video.reasons import Unreadable, silence
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import NO_ROOM
from echoviewclip.utils.urls import join, protocol
from echoviewclip.utils.workers import OutOfTime

T = TypeVar("T")

for library in ("fsspec", "aiohttp", "asyncio", "botocore", "aiobotocore", "s3fs", "gcsfs"):
    silence(library)

PAUSES = (0.5, 2.0)  # seconds before a request that failed for a passing reason is made again
PASSING = (408, 425, 429)  # statuses below 500 that pass
VERSIONS = (  # what stores call that which changes with a file
    *("ETag", "etag", "checksum", "Content-MD5", "content_md5", "md5Hash", "Digest", "crc32c", "generation"),
    *("Last-Modified", "LastModified", "last_modified", "updated", "mtime", "modified", "created"),
)
BUCKETS = ("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs")
PACKAGES = {
    **{"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"},
    **{"az": "adlfs", "abfs": "adlfs", "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol"},
}


@dataclass(frozen=True)
class Found:
    """What lies at a URL.

    Attributes:
        folder: whether it is one.
        size: in bytes; None where the source does not say.
        version: changes with the content, if the source says anything of it.
    """

    folder: bool
    size: int | None
    version: str


def look_at(url: str) -> Found:
    """What lies at a URL. Raises Unreadable where nothing does."""
    info = _patiently(url, lambda system, path: system.info(path))
    size = info.get("size")
    told = [(name, str(info[name])) for name in VERSIONS if info.get(name)]
    # Where the source says nothing of a version, what follows a `?` may be all that tells two files apart.
    version = repr([size, told or url])
    return Found(info.get("type") == "directory", size, hashlib.sha256(version.encode()).hexdigest()[:10])


def exists(url: str) -> bool:
    """Whether anything lies there. Raises Unreadable where that cannot be found out."""
    try:
        look_at(url)
    except Missing:
        return False
    return True


def download(url: str, target: Path) -> int:
    """Writes the file to `target` and returns its size in bytes. Raises Unreadable."""

    def fetch(system: Any, path: str) -> int:
        system.get_file(path, str(target))
        return target.stat().st_size

    return _patiently(url, fetch)


def head(url: str, size: int) -> bytes:
    """The first bytes of a file. Raises Unreadable."""
    return _patiently(url, lambda system, path: system.cat_file(path, 0, size))


def names_in(url: str) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders directly in a folder, sorted. Raises Unreadable."""
    by_pages = url.startswith(("http://", "https://"))  # whose links are escaped, and of which some lead elsewhere

    def listed(system: Any, path: str) -> list[tuple[str, bool]]:
        path = path.rstrip("/")
        entries = system.ls(f"{path}/" if by_pages else path, detail=True)
        names = [(entry["name"].rstrip("/"), entry["type"] == "directory") for entry in entries]
        return [(name.rpartition("/")[2], is_folder) for name, is_folder in names if name.strip("/") != path.strip("/")]

    found: tuple[set[str], set[str]] = (set(), set())
    for name, is_folder in _patiently(url, listed):
        if not by_pages:
            found[is_folder].add(name)
        elif "?" not in name:
            found[is_folder].add(unquote(name))
    return sorted(found[False]), sorted(found[True])


def walk(url: str) -> Iterator[str]:
    """Paths of all files below a folder relative to it, a folder at a time, in the order of the names."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        files, folders = names_in(join(url, folder))
        yield from (folder + name for name in files)
        waiting += [f"{folder}{name}/" for name in reversed(folders)]


class Missing(Unreadable):
    """Nothing lies at a URL."""


def _patiently(url: str, act: Callable[[Any, str], T]) -> T:
    """What `act` makes of a file system and a path in it; tried again where it failed for a reason that passes."""
    for pause in (*PAUSES, None):
        try:
            return act(*_system(url))
        except (UserError, Unreadable, OutOfTime):
            raise
        except Exception as raised:
            error = _cause_of(raised)
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise  # of the disk here
            status = _status_of(error)
            lasting = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | ValueError)
            if pause is None or (status < 500 and status not in PASSING if status else lasting):
                raise _reason(error, status) from None
            time.sleep(pause)
    raise AssertionError


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Raises UserError where a package is missing."""
    try:
        import fsspec
    except ImportError:
        raise UserError(f"{protocol(url)}:// needs fsspec, which is not installed: pip install fsspec") from None
    kind = protocol(url)
    # Of a bucket with millions of files listings would fill the memory; other file systems keep none.
    options = {"use_listings_cache": False} if kind in BUCKETS else {}
    try:
        return fsspec.core.url_to_fs(url, **options)
    except ImportError:
        package = PACKAGES.get(kind.split("::")[0], "the package that fsspec names for it")
        raise UserError(f"{kind}:// needs packages that are not installed: pip install fsspec {package}") from None
    except ValueError:
        raise UserError(
            f"{kind}:// is no kind of address that fsspec reads; name a local path or e.g. s3://…"
        ) from None


def _cause_of(error: Exception) -> Exception:
    """What is behind an error: fsspec calls whatever a web server says a file that is not found."""
    while isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _status_of(error: Exception) -> int:
    """The status of a server's answer; 0 where there was none."""
    status = getattr(error, "status", None)
    return status if isinstance(status, int) else 0


def _reason(error: Exception, status: int) -> Unreadable:
    if status in (401, 403) or isinstance(error, PermissionError):
        return Unreadable(
            "access is denied at its source; credentials come from the environment or the configuration of fsspec"
        )
    if status in (404, 410) or isinstance(error, FileNotFoundError):
        return Missing("there is no such file at its source")
    if status:
        return Unreadable(f"its source answers with status {status}")
    return Unreadable(f"its source cannot be reached, or the connection broke ({type(error).__name__})")
