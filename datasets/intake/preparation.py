"""What decides the pixels of prepared videos, as their folder notes it and a checkpoint keeps it of its training."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import write_text
from echoviewclip.utils.urls import is_url, join, shown

NOTE = "prepared.json"
VIDEOS = ("videos", "videos.tar")  # where the videos of a Standard Folder lie
VERSION = 2  # raise it where finding, masking, cutting, scaling or encoding changes pixels
JPEG_QUALITY = 3  # FFmpeg's scale for MJPEG: 2 (best) to 31


@dataclass(frozen=True)
class Preparation:
    """What was done to the pictures of a video.

    Attributes:
        size: pixels of the short side; smaller pictures are not enlarged.
        crop: cut to the box of the ultrasound image (docs/results.md, what cropping is worth).
        jpeg_quality: of the frames.
        version: of the code that did it, VERSION at that time; all versions paint black what is not ultrasound.
    """

    size: int = 256
    crop: bool = True
    jpeg_quality: int = JPEG_QUALITY
    version: int = VERSION

    def __str__(self) -> str:
        return "prepared with " + ", ".join(f"{name} {value}" for name, value in asdict(self).items())

    @classmethod
    def of(cls, values: Any) -> Preparation:
        """As `asdict` gives it. Raises ValueError for what is not."""
        types = {field.name: type(field.default) for field in fields(cls)}
        if not isinstance(values, Mapping) or any(type(values.get(name)) is not kind for name, kind in types.items()):
            raise ValueError(f"does not say {', '.join(types)}")
        return cls(**{name: values[name] for name in types})


def described(preparation: Preparation | None) -> str:
    """A preparation in words; None is that of videos that lie in no prepared folder."""
    return str(preparation) if preparation else "not prepared"


def write_note(folder: Path, preparation: Preparation) -> None:
    """Notes how the videos of a folder are prepared. Raises UserError where others in it are prepared otherwise."""
    file = folder / NOTE
    if file.is_file() and (before := read_note(file)) != preparation:
        raise UserError(f"{file}: its videos are {before}, these would be {preparation}; use another DST")
    write_text(file, json.dumps(asdict(preparation), indent=1) + "\n")


def read_note(file: Path) -> Preparation:
    """Raises UserError where the file is damaged."""
    return _parsed(file, file.read_text(encoding="utf-8", errors="replace"))


def _parsed(file: Path | str, text: str) -> Preparation:
    try:
        return Preparation.of(json.loads(text))
    except (ValueError, RecursionError):
        raise UserError(f"{file}: damaged, it does not say how the videos are prepared; run prepare.py again") from None


def preparation_of(path: str | Path) -> Preparation | None:
    """How a video was prepared, by the note of the Standard Folder that holds it; None without. Raises UserError."""
    if is_url(str(path)):
        return _note_at(shown(str(path)).rpartition("/")[0])
    place = prepared_place(path)
    return read_note(place.videos.parent / NOTE) if place else None


@lru_cache(maxsize=1 << 10)
def _note_at(folder: str) -> Preparation | None:
    """That of the videos in a folder that is a URL, of which it asks once."""
    from echoviewclip.datasets.remote.downloads import open_copy
    from echoviewclip.datasets.remote.store import Missing

    parts = folder.split("/")
    for at in (k for k in range(len(parts) - 1, 0, -1) if parts[k] == VIDEOS[0]):
        note = "/".join([*parts[:at], NOTE])
        try:
            with open_copy(note) as file:
                content = file.read()
        except Missing:
            continue
        except Unreadable as error:
            raise UserError(f"{note}: cannot be read: {error}") from None
        return _parsed(note, content.decode(errors="replace"))
    return None


class PreparedPlace(NamedTuple):
    """Where a prepared video lies: the folder or archive of the videos, and its name in there."""

    videos: Path
    name: str


def prepared_place(path: str | Path) -> PreparedPlace | None:
    """Where in a Standard Folder with a note a video lies, also by way of links; None for other videos."""
    for place in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
        for folder in Path(place).parents:
            if folder.name in VIDEOS and (folder.parent / NOTE).is_file():
                return PreparedPlace(folder, Path(place).relative_to(folder).as_posix())
    return None


def count_preparations(paths: Iterable[str]) -> Counter[Preparation | None]:
    """How many of the videos were prepared how, looked up once a folder."""
    folders = Counter(os.path.dirname(path) for path in paths)
    counts: Counter[Preparation | None] = Counter()
    for folder, videos in folders.items():
        counts[preparation_of(join(folder, "video"))] += videos
    return counts
