"""The videos that PATHs of a command name: files, lists, folders, patterns, URLs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from echoviewclip.datasets.annotations import Told, read_annotations
from echoviewclip.datasets.intake.archives import look_into
from echoviewclip.datasets.intake.find import (
    LISTS,
    NO_IMAGE,
    NOT_ULTRASOUND,
    READERS,
    is_folder,
    look_at_file,
    look_at_url,
    search_url,
    why_left_out,
)
from echoviewclip.datasets.intake.folders import walk_folder
from echoviewclip.datasets.intake.globs import is_glob, matches
from echoviewclip.datasets.rows import list_kind
from echoviewclip.datasets.video.base import NoImage, OtherModality, VideoError
from echoviewclip.datasets.video.open import open_video
from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.datasets.video.tar import is_archive, is_in_archive
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.urls import is_url, shown


def find_videos(paths: Sequence[str | Path], left_out: dict[str, str] | None = None) -> list[str]:
    """The videos that `paths` name, each once: files as given, those of lists, what lies in folders at any depth, what
    fits a pattern (`datasets.intake.globs`).

    A list is a text, CSV, JSON or Parquet file as for training (docs/data.md), whose labels are passed over. A folder
    that holds images and neither videos nor DICOM is one video, the images its frames. An archive (`.tar`) is the
    videos in it (`datasets.intake.archives`). Why files in folders are not
    among them goes to `left_out`. Raises UserError for a path that is not there, a faulty list, and a folder or a
    pattern without videos.
    """
    return list(iterate_videos(paths, left_out))


def iterate_videos(paths: Sequence[str | Path], left_out: dict[str, str] | None = None) -> Iterator[str]:
    """As `find_videos`; what fits patterns and lies in folders on the disk is found while the videos are taken.

    All else is looked at before this returns, and of a pattern and a folder so much that it is known to hold something.
    """
    left_out = {} if left_out is None else left_out
    found = [_begun(str(path), left_out) if is_glob(str(path)) else _named(path, left_out) for path in paths]
    return _each_once(found)


def is_searched(paths: Sequence[str | Path]) -> bool:
    """Whether it takes a search, of a pattern or a folder on the disk, to know how many videos there are."""
    return any(is_glob(str(path)) or (not is_url(str(path)) and Path(path).is_dir()) for path in paths)


def _each_once(found: Sequence[Iterable[str]]) -> Iterator[str]:
    seen: set[str] = set()
    told = Told()
    for videos in found:
        for video in videos:
            if video not in seen:
                seen.add(video)
                try:
                    told.check(video)
                except ValueError as fault:
                    raise UserError(f"{fault} (PATH)") from None
                yield video


def _begun(pattern: str, left_out: dict[str, str]) -> Iterator[str]:
    """What fits a pattern and is a video; the first is found before this returns. Raises UserError without any."""
    videos = _fitting(pattern, left_out)
    first = next(videos, None)
    if first is None:
        raise UserError(f"{shown(pattern)}: fits no videos, DICOM or images (PATH)")
    return chain([first], videos)


def _fitting(pattern: str, left_out: dict[str, str]) -> Iterator[str]:
    try:
        for path in matches(pattern):
            yield from _sorted_out(path, *(look_at_url(path) if is_url(path) else look_at_file(path)), left_out)
    except Unreadable as error:
        raise UserError(f"{shown(pattern)}: cannot be searched: {error}") from None


def _named(path: str | Path, left_out: dict[str, str]) -> Iterable[str]:
    if is_url(str(path)):
        return _at_url(str(path), left_out)
    path = Path(path)
    if path.is_dir():
        return _in_folder(str(path), left_out)
    if path.suffix.lower() in LISTS and path.is_file():
        return read_annotations(path, any_label=True, allow_outside=True).paths()
    if is_archive(str(path)):
        return _in_archive(str(path), left_out)
    if path.exists() or is_in_archive(str(path)):
        return [str(path)]
    raise UserError(f"{path}: no such file or folder (PATH)")


def _in_folder(folder: str, left_out: dict[str, str]) -> Iterator[str]:
    """What is found below a folder on the disk; the first before this returns. Raises UserError without any."""
    others: dict[str, str] = {}
    videos = _walked(folder, others)
    first = next(videos, None)
    if first is None:
        raise _nothing_in(folder, len(others))

    def all_of_them() -> Iterator[str]:
        yield from chain([first], videos)
        left_out.update(others)

    return all_of_them()


def _in_archive(archive: str, left_out: dict[str, str]) -> list[str]:
    others: dict[str, str] = {}
    videos = list(_sorted_out(archive, "", "", others))
    if not videos:
        raise _nothing_in(archive, len(others))
    left_out |= others
    return videos


def _walked(folder: str, left_out: dict[str, str]) -> Iterator[str]:
    with ThreadPoolExecutor(READERS) as pool:
        for path, kind, why in walk_folder(folder, pool):
            yield from _sorted_out(path, kind, why, left_out)


def _sorted_out(path: str, kind: str, why: str, left_out: dict[str, str]) -> Iterator[str]:
    """A file that was found, if it is answered, and of an archive the files in it that are."""
    for name, its_kind, reason in look_into(path) if is_archive(path) else [(path, kind, why)]:
        if reason := reason or (_why_not_answered(name) if its_kind == "dicom" else ""):
            left_out[shown(name)] = reason
        else:
            yield name


def _at_url(url: str, left_out: dict[str, str]) -> Iterable[str]:
    if list_kind(url) in LISTS:
        return read_annotations(url, any_label=True, allow_outside=True).paths()
    try:
        if not is_folder(url):
            return [url]
    except Unreadable as error:
        raise UserError(f"{shown(url)}: cannot be looked at: {error} (PATH)") from None
    return _in_folder_at_url(url, left_out)


def _in_folder_at_url(url: str, left_out: dict[str, str]) -> list[str]:
    sources = search_url(url)
    together: dict[str, dict[str, str]] = {}
    for name, kind in sources.kinds.items():
        path = sources.path(name)
        together.setdefault(path.rpartition("/")[0], {})[path] = kind
    found: list[str] = []
    others = {shown(sources.path(name)): why for name, why in sources.left_out.items()}
    for parent, kinds in together.items():
        frames = len(kinds) > 1 and set(kinds.values()) == {"image"}
        for path, kind in {parent: ""}.items() if frames else kinds.items():
            why = _why_not_answered(path) if kind == "dicom" else ""
            if why:
                others[shown(path)] = why
            else:
                found.append(path)
    if not found:
        raise _nothing_in(url, len(others))
    left_out |= others
    return sorted(found)


def _nothing_in(folder: str, files: int) -> UserError:
    among = f" among its {files} files" if files else ""
    return UserError(f"{shown(folder)}: holds no videos, DICOM or images{among} (PATH)")


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
