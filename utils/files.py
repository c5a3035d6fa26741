"""Files that are either whole or absent: written under a temporary name, flushed, then renamed; the package's own.

A killed process leaves its temporary files behind; the next one that writes into the folder removes them.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echoviewclip.utils.errors import UserError

HOST = re.sub(r"[^\w-]", "-", socket.gethostname())[:32]
TEMPORARY = re.compile(r"\..*\.(?P<host>[\w-]+)~(?P<process>\d+)~[0-9a-f]{8}(\..*)?")
DAY = 24 * 60 * 60  # seconds; no single file takes as long to write
PACKAGE = Path(__file__).parents[1]  # holds configs/, labels/ and weights/, as a clone and installed
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}

_swept: set[Path] = set()


def find_own(path: str | Path) -> Path:
    """`path`, or where nothing of that name is there, the package's own file: configs/…, labels/…, weights/….

    So the names of these files mean the same in every current folder. Returns `path` where the package has none either.
    """
    path, own = Path(path), PACKAGE / path
    return own if os.path.isfile(own) and not os.path.lexists(path) else path


@contextmanager
def atomic_path(path: str | Path, *, private: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path` (same suffix) and renames it to `path` when the block ends without error.

    What is `private` is its owner's alone from the first byte on.

    Whatever wrote the temporary file must have closed it; it is flushed to disk here, and the folder after it. On an
    error it is removed and `path` keeps its former content. Raises UserError where the system does not let the folder
    be made or the file be written: a full disk, a file in the way, no permission.
    """
    path = Path(path)
    with _temporary(path, 0o600 if private else 0o666) as temporary:
        yield temporary
        with writing(path):
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)


@contextmanager
def _temporary(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """An empty file beside `path` for the time of the block; where the disk is full in the block, `path` is named."""
    make_folder(path.parent)
    if path.parent not in _swept:
        _swept.add(path.parent)
        sweep(path.parent)
    temporary = temporary_path(path)
    with writing(path):
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        with writing(path, errors=NO_ROOM):
            yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str, *, private: bool = False) -> None:
    """Writes UTF-8 text atomically; `private` as for `atomic_path`."""
    with atomic_path(path, private=private) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(folder: str | Path) -> Path:
    """Makes a folder and those above it. Raises UserError where the system does not let it."""
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def make_private(folder: str | Path) -> None:
    """Makes a folder its owner's alone, and if it is there already, the files in it, too. Raises UserError."""
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for path in folder.iterdir():
            if path.is_file() and not path.is_symlink():
                path.chmod(0o600)


def check_writable(folder: str | Path) -> None:
    """Makes the folder, and raises UserError where no file can be written to it: for before a long work."""
    with _temporary(Path(folder) / "file") as temporary:
        temporary.write_bytes(bytes(4096))


def temporary_path(path: Path) -> Path:
    """A new name beside `path` that tells which process of which machine made it."""
    return path.with_name(f".{path.stem[:40]}.{HOST}~{os.getpid()}~{secrets.token_hex(4)}{path.suffix}")


def sweep(folder: Path) -> None:
    """Removes the temporary files that killed processes left in `folder`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            made_by = TEMPORARY.fullmatch(entry.name)
            if made_by and _abandoned(Path(entry.path), made_by["host"], int(made_by["process"])):
                Path(entry.path).unlink(missing_ok=True)


def _abandoned(file: Path, host: str, process: int) -> bool:
    if host == HOST:
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
    try:
        return time.time() - file.stat().st_mtime > DAY
    except FileNotFoundError:
        return False


def flush(path: Path) -> None:
    """Waits until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks flush no folders
            raise
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path, errors: set[int] | None = None) -> Iterator[None]:
    """Turns what the system refuses, `errors` alone or all of it, into a UserError that names `path`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:  # torch.save raises its own error while it handles the system's
            if isinstance(cause, OSError) and (errors is None or cause.errno in errors):
                raise UserError(f"{path}: cannot be written: {cause.strerror}") from None
            cause = cause.__context__
        raise
