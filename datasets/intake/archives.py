"""The videos in `.tar` archives, which need not be unpacked: shards, as of WebDataset, and archives of folders."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from echoviewclip.datasets.intake.find import DICOM_SUFFIXES, STILL_SUFFIXES, SUFFIXES, UNKNOWN
from echoviewclip.datasets.video import tar
from echoviewclip.datasets.video.content import HEAD_BYTES, kind_of
from echoviewclip.datasets.video.reasons import Unreadable

Found = tuple[str, str, str]
"""A path, its kind of content, and why it is left out (empty where it is not)."""


def look_into(archive: str) -> Iterator[Found]:
    """What lies in an archive, in the order in which it lies; it is found itself where it cannot be read to its end.

    A file is what its name says, else what its first bytes say. A folder in the archive that holds images and neither
    videos nor DICOM is one video.
    """
    try:
        files = tar.files_of(archive)
    except (OSError, tarfile.TarError):
        yield archive, "", ""
        return
    kinds = {path: _kind(path) for path in files}
    inside: dict[str, set[str]] = {}  # kinds of what lies in a folder
    for path, kind in kinds.items():
        if kind:
            inside.setdefault(path.rpartition("/")[0], set()).add(kind)
    told: set[str] = set()
    for path, kind in kinds.items():
        folder = path.rpartition("/")[0]
        if not kind:
            yield path, "", UNKNOWN
        elif inside[folder] != {"image"} or folder == archive:
            yield path, kind, ""
        elif folder not in told:
            told.add(folder)
            yield folder, "", ""
    if tar.is_cut_short(archive):
        yield archive, "", ""


def _kind(path: str) -> str:
    """Kind of content; empty where it is none that is read."""
    name = path.lower()
    for kind, suffixes in (("dicom", DICOM_SUFFIXES), ("video", SUFFIXES), ("image", STILL_SUFFIXES)):
        if name.endswith(suffixes):
            return kind
    try:
        content = tar.open_member(path)
    except (OSError, Unreadable):
        return "video"  # whose fault is reported when its turn comes
    if content is None or isinstance(content, list):
        return ""
    with content:
        return kind_of(content.read(HEAD_BYTES))
