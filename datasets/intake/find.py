"""The files that may be videos: of a folder, or those that a list names."""

from __future__ import annotations

import os
from pathlib import Path

from datasets.annotations import read_annotations
from utils.errors import UserError

SUFFIXES = (".mp4", ".avi", ".mov", ".m4v", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".dcm", ".dicom")
STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
LISTS = (".txt", ".csv", ".json")


def find_sources(source: Path, destination: Path) -> tuple[Path, list[str]]:
    """The folder that names are relative to, and the sorted names of all files that may be videos."""
    if source.is_file() and source.suffix.lower() in LISTS:
        # Any labels will do, but only CSV and JSON tell several labels from a path that ends in numbers.
        target = "class" if source.suffix.lower() == ".txt" else "multilabel"
        listed = read_annotations(source, target=target, any_label=True)
        return Path(listed.folder), sorted({listed.name(i) for i in range(len(listed))})
    if source.is_file():
        return source.parent, [source.name]
    if not source.is_dir():
        raise UserError(f"{source}: no such folder or list of videos (SRC)")
    own = destination.resolve()
    names = [
        str(path.relative_to(source))
        for folder, _, files in os.walk(source)
        if own not in (Path(folder).resolve(), *Path(folder).resolve().parents)
        for path in (Path(folder) / file for file in files)
        if _may_be_video(path)
    ]
    if not names:
        raise UserError(f"{source}: holds no DICOM or video files (SRC)")
    return source, sorted(names)


def _may_be_video(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES + STILL_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():  # DICOM files are often named by numbers, with dots
        return False
    if path.name == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return True  # to be reported as unreadable
