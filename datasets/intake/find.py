"""The files that may be videos: of a folder or a URL, or those that a list names; and why the others are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.remote.store import head, look_at, walk
from echoviewclip.datasets.rows import list_kind
from echoviewclip.datasets.video.base import Video, may_be_opened
from echoviewclip.datasets.video.content import HEAD_BYTES, kind_of
from echoviewclip.datasets.video.dicom import DicomVideo
from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.urls import has_secrets, is_url, join, shown

SUFFIXES = (".mp4", ".avi", ".mov", ".m4v", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".dcm", ".dicom")
LISTS = (".txt", ".csv", ".json", ".parquet")
DICOM_SUFFIXES = (".dcm", ".dicom")
STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
READERS = 8  # threads that look at first bytes, which on a network drive is waiting

# Why files are left out
STILL = "a still image (kept with --stills)"
NO_IMAGE = "a DICOM object without an image: a report, waveforms, a directory"
NOT_ULTRASOUND = "not ultrasound (kept with --any-modality)"
UNKNOWN = "not of a kind that is read"
NO_FILE = "not a file: a pipe, a device or a link that leads nowhere"
LINKED_FOLDER = "a link to a folder, which is not followed"


@dataclass
class Sources:
    """What there is to read.

    Attributes:
        root: the folder that names are relative to; text where it is a URL.
        kinds: kind of content (`datasets.video.content`) by name, of all that may be videos, in order of the names.
        left_out: why not, by name, of what else was found.
        hidden: URLs by name, of those of which the name is not the whole since it may hold credentials.
    """

    root: Path | str
    kinds: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """Where a file lies."""
        return self.hidden.get(name) or join(str(self.root), name)


def find_sources(source: Path | str, destination: Path | None = None, *, allow_outside: bool = False) -> Sources:
    """The videos of a list, a file or a folder that is searched through but for `destination` and its private folder.

    `source` may be a URL; `allow_outside` as in `read_annotations`. Raises UserError where there are none.
    """
    remote = isinstance(source, str) and is_url(source)
    if list_kind(source) in LISTS and (remote or Path(source).is_file()):
        # Any labels will do, but only CSV and JSON tell several labels from a path that ends in numbers.
        target = "class" if list_kind(source) == ".txt" else "multilabel"
        listed = read_annotations(source, target=target, any_label=True, allow_outside=allow_outside)
        hidden = {shown(path): path for path in listed.paths() if has_secrets(path)}
        names = sorted(listed.name(i) for i in range(len(listed)))
        return Sources(listed.folder if remote else Path(listed.folder), dict.fromkeys(names, ""), hidden=hidden)
    if remote:
        found = search_url(str(source))
        if not found.kinds:
            raise UserError(f"{shown(str(source))}: holds no DICOM or video files (SRC)")
        return found
    source = Path(source)
    if source.is_file():
        return Sources(source.parent, {source.name: ""})
    if not source.is_dir():
        raise UserError(f"{source}: no such folder or list of videos (SRC)")
    found = search(source, destination)
    if not found.kinds:
        others = f" among its {len(found.left_out)} files" if found.left_out else ""
        raise UserError(f"{source}: holds no DICOM or video files{others} (SRC)")
    return found


def search_url(url: str) -> Sources:
    """The files below a folder that is a URL, or the one that it leads to; by name, and where that says nothing by
    content. Raises UserError where nothing is there."""
    try:
        if not is_folder(url):
            folder, _, name = shown(url).rpartition("/")
            return Sources(folder, {name: ""}, hidden={name: url})
        if "?" in url:
            raise UserError(f"{shown(url)}: a folder whose URL goes on with `?` has no files; leave that out")
        found = Sources(url.rstrip("/"))
        for name in walk(url):
            found.kinds[name], why_not = look_at_url(join(url, name))
            if why_not:
                found.left_out[name] = why_not
                del found.kinds[name]
    except Unreadable as error:
        raise UserError(f"{shown(url)}: cannot be looked at: {error}") from None
    return found


def is_folder(url: str) -> bool:
    """Whether a URL leads to a folder: it ends in a slash, or its source says so. Raises Unreadable."""
    return url.endswith("/") or look_at(url).folder


def look_at_url(url: str) -> tuple[str, str]:
    """Kind of content, and why the file is left out, as far as its name says it, else by its first bytes."""
    name = shown(url).lower()
    for kind, suffixes in (("dicom", DICOM_SUFFIXES), ("video", SUFFIXES), ("image", STILL_SUFFIXES)):
        if name.endswith(suffixes):
            return kind, ""
    kind = kind_of(head(url, HEAD_BYTES))
    return kind, "" if kind else UNKNOWN


def search(source: Path, destination: Path | None) -> Sources:
    """The files below a folder on the disk, by content."""
    own = [destination.resolve(), private_folder(destination).resolve()] if destination else []
    found = Sources(source)
    paths = list(_walk(source, own, found))
    with ThreadPoolExecutor(READERS) as pool:
        for path, (kind, why_not) in zip(paths, pool.map(look_at_file, paths), strict=True):
            name = os.path.relpath(path, source)
            if why_not:
                found.left_out[name] = why_not
            else:
                found.kinds[name] = kind
    found.kinds = dict(sorted(found.kinds.items()))
    return found


def _walk(source: Path, own: Sequence[Path], found: Sources) -> Iterator[str]:
    """All files; a folder that cannot be listed is passed on as if it were one, and so becomes a fault."""
    unlisted: list[str] = []
    for folder, folders, files in os.walk(source, onerror=lambda error: unlisted.append(error.filename)):
        for name in list(folders):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                found.left_out[os.path.relpath(path, source)] = LINKED_FOLDER
            elif Path(path).resolve() in own:
                folders.remove(name)
        yield from (os.path.join(folder, name) for name in files)
    yield from unlisted


def look_at_file(path: str) -> tuple[str, str]:
    """Kind of content, and why the file is left out; a suffix of videos makes damage a fault that is reported."""
    promised = path.lower().endswith(SUFFIXES + STILL_SUFFIXES)
    if os.path.isdir(path):
        return "", ""
    try:
        if not may_be_opened(path):
            return "", "" if promised else NO_FILE
        with open(path, "rb") as file:
            kind = kind_of(file.read(HEAD_BYTES))
    except OSError:
        return "", NO_FILE if os.path.islink(path) and not promised else ""
    if not kind and os.path.basename(path).startswith("._"):  # macOS keeps its notes on a file under its name
        return "", UNKNOWN
    if not kind and path.lower().endswith(STILL_SUFFIXES):
        kind = "image"  # a damaged one
    return kind, "" if kind or promised else UNKNOWN


def why_left_out(video: Video, *, stills: bool, any_modality: bool) -> str:
    """Why an open video is none that is wanted; empty where it is."""
    if isinstance(video, DicomVideo) and video.is_of_other_modality and not any_modality:
        return NOT_ULTRASOUND
    return STILL if len(video) == 1 and not stills else ""


def summary(reasons: Iterable[str]) -> list[str]:
    """How many files were left out for each reason, the most frequent first."""
    return [f"{count} {reason}" for reason, count in Counter(reasons).most_common()]


def private_folder(destination: Path) -> Path:
    """Where what leads back from `destination` to patients is kept."""
    return destination.parent / f"{destination.name}-private"
