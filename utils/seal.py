"""A digest of a zip archive at its end, in the archive's comment: no flipped bit and no overwritten block goes unseen.

What reads zip archives passes over a comment, `torch.load` too. Archives without a digest have the checksums (CRC-32)
of their records, which leave out the padding between them.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from pathlib import Path

MARK = b"sha256:"
_COMMENT = len(MARK) + hashlib.sha256().digest_size * 2
_TAIL = struct.pack("<H", _COMMENT) + MARK  # the comment's length, which ends the archive's last record, and its start
_NO_COMMENT = struct.pack("<H", 0)


class DamageError(Exception):
    """A file is not what was written."""


def seal(path: Path) -> None:
    """Ends a zip archive without a comment with the digest of all that comes before."""
    with path.open("r+b") as file:
        size = file.seek(-len(_NO_COMMENT), 2)
        if file.read() != _NO_COMMENT:
            raise ValueError(f"{path}: not a zip archive without a comment")
        digest = _digest(path, size)
        file.seek(size)
        file.write(_TAIL + digest)


def check_archive(path: Path) -> bool:
    """Whether a file has a digest, which then agrees; without one the checksums of a zip archive's records do.

    Raises DamageError where they do not agree.
    """
    size = path.stat().st_size - len(_TAIL) - _COMMENT + len(MARK)
    with path.open("rb") as file:
        if size > 0:
            file.seek(size)
            tail = file.read()
            if tail.startswith(_TAIL):
                if tail != _TAIL + _digest(path, size):
                    raise DamageError("its digest is another")
                return True
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
        except Exception as error:  # whatever damage makes of the archive's own structure
            raise DamageError(str(error) or type(error).__name__) from None
        if bad:
            raise DamageError(f"the checksum of {bad} is another")
    return False


def _digest(path: Path, size: int) -> bytes:
    """SHA-256 in hexadecimal of a file's first `size` bytes."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as file:
        while size > 0 and (count := file.readinto(buffer[: min(size, len(buffer))])):
            digest.update(buffer[:count])
            size -= count
    return digest.hexdigest().encode()
