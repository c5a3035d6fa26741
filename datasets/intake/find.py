"""The files that may be videos: of a folder, or those that a list names; and why the others are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.video.base import NoImage, OtherModality, Video, VideoError, may_be_opened
from echoviewclip.datasets.video.content import HEAD_BYTES, kind_of
from echoviewclip.datasets.video.dicom import DicomVideo
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.errors import UserError

SUFFIXES = (".mp4", ".avi", ".mov", ".m4v", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".dcm", ".dicom")
LISTS = (".txt", ".csv", ".json")
STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
LISTS = (".txt", ".csv", ".json")
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
        root: the folder that names are relative to.
        kinds: kind of content (`datasets.video.content`) by name, of all that may be videos, in order of the names.
        left_out: why not, by name, of what else was found.
    """

    root: Path
    kinds: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def find_sources(source: Path, destination: Path | None = None, *, allow_outside: bool = False) -> Sources:
    """The videos of a list, a file or a folder that is searched through but for `destination` and its private folder.

    `allow_outside` as in `read_annotations`. Raises UserError where there are none.
    """
    if source.is_file() and source.suffix.lower() in LISTS:
        # Any labels will do, but only CSV and JSON tell several labels from a path that ends in numbers.
        target = "class" if source.suffix.lower() == ".txt" else "multilabel"
        listed = read_annotations(source, target=target, any_label=True, allow_outside=allow_outside)
        return Sources(Path(listed.folder), dict.fromkeys(sorted(listed.name(i) for i in range(len(listed))), ""))
    if source.is_file():
        return Sources(source.parent, {source.name: ""})
    if not source.is_dir():
        raise UserError(f"{source}: no such folder or list of videos (SRC)")
    found = _search(source, destination)
    if not found.kinds:
        others = f" among its {len(found.left_out)} files" if found.left_out else ""
        raise UserError(f"{source}: holds no DICOM or video files{others} (SRC)")
    return found


def _search(source: Path, destination: Path | None) -> Sources:
    own = [destination.resolve(), private_folder(destination).resolve()] if destination else []
    found = Sources(source)
    paths = list(_walk(source, own, found))
    with ThreadPoolExecutor(READERS) as pool:
        for path, (kind, why_not) in zip(paths, pool.map(_look_at, paths), strict=True):
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


def _look_at(path: str) -> tuple[str, str]:
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


def find_videos(paths: Sequence[str | Path], left_out: dict[str, str] | None = None) -> list[str]:
    """The videos that `paths` name, each once: files as given, those of lists, what lies in folders at any depth.

    A list is a text, CSV or JSON file as for training (docs/data.md), whose labels are passed over. A folder that holds
    images and neither videos nor DICOM is one video, the images its frames. Why files in folders are not among them
    goes to `left_out`. Raises UserError for a path that is not there, a faulty list and a folder without videos.
    """
    found: list[str] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += _in_folder(path, {} if left_out is None else left_out)
        elif path.suffix.lower() in LISTS and path.is_file():
            found += read_annotations(path, any_label=True, allow_outside=True).paths()
        elif path.exists():
            found.append(str(path))
        else:
            raise UserError(f"{path}: no such file or folder (PATH)")
    return list(dict.fromkeys(found))


def _in_folder(folder: Path, left_out: dict[str, str]) -> list[str]:
    sources = _search(folder, None)
    together: dict[Path, dict[str, str]] = {}
    for name, kind in sources.kinds.items():
        together.setdefault((folder / name).parent, {})[str(folder / name)] = kind
    found: list[str] = []
    others = {str(folder / name): why for name, why in sources.left_out.items()}
    for parent, kinds in together.items():
        frames = len(kinds) > 1 and set(kinds.values()) == {"image"}
        for path, kind in {str(parent): ""}.items() if frames else kinds.items():
            why = _why_not_answered(path) if kind == "dicom" else ""
            if why:
                others[path] = why
            else:
                found.append(path)
    if not found:
        among = f" among its {len(others)} files" if others else ""
        raise UserError(f"{folder}: holds no videos, DICOM or images{among} (PATH)")
    left_out |= others
    return sorted(found)


def _why_not_answered(path: str) -> str:
    """As `why_left_out`, of an object that is not open; what cannot be read is left to be reported as such."""
    try:
        with open_video(path) as video:
            return why_left_out(video, stills=True, any_modality=False)
    except NoImage:
        return NO_IMAGE
    except OtherModality:
        return NOT_ULTRASOUND
    except VideoError:
        return ""
