"""The videos below a folder one by one while it is searched, in the order of their names."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from itertools import chain, islice

from echoviewclip.datasets.intake.find import LINKED_FOLDER, look_at_file

AHEAD = 256  # files that are looked at together, as their turn comes

Found = tuple[str, str, str]
"""A path, its kind of content, and why it is left out (empty where it is not)."""


def walk_folder(folder: str, pool: Executor) -> Iterator[Found]:
    """What lies below a folder on the disk, by content; `pool` looks at files.

    A folder that holds images and neither videos nor DICOM is itself found, as one video. Links to folders are not
    followed. A folder that cannot be listed is found as if it were a file, and so becomes a fault.
    """
    files: list[str] = []
    folders: list[str] = []
    links: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                kind = files if not entry.is_dir() else links if entry.is_symlink() else folders
                kind.append(entry.path)
    except OSError:
        yield folder, "", ""
        return
    yield from ((path, "", LINKED_FOLDER) for path in sorted(links))
    found = _frames_as_one(folder, _look_at(sorted(files), pool))
    # A folder stands where the paths in it do: behind a file that is named as it is and goes on with a space.
    turns = heapq.merge(
        ((one[0], one) for one in found), ((f"{path}/", None) for path in sorted(folders, key="{}/".format))
    )
    for path, one in turns:
        if one is None:
            yield from walk_folder(path[:-1], pool)
        else:
            yield one


def _look_at(files: Sequence[str], pool: Executor) -> Iterator[Found]:
    paths = iter(files)
    while some := list(islice(paths, AHEAD)):
        looked = list(pool.map(look_at_file, some))  # all of them: no thread is at work when the caller forks a reader
        for path, (kind, why) in zip(some, looked, strict=True):
            yield path, kind, why


def _frames_as_one(folder: str, files: Iterator[Found]) -> Iterator[Found]:
    """The files of a folder, or the folder where all of them that are not left out are images, and several."""
    before: list[Found] = []
    for one in files:
        before.append(one)
        if one[1] != "image" and not one[2]:
            yield from chain(before, files)
            return
    images = [one for one in before if not one[2]]
    if len(images) < 2:
        yield from before
        return
    yield folder, "", ""
    yield from (one for one in before if one[2])
