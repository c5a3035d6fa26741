"""Prepared videos packed into shards, with lists that name them: a Standard Folder in the format of WebDataset.

    DST/shards/videos/LIST-NUMBER.tar   many videos, of the first list that names them
    DST/shards/videos/LIST-NUMBER.idx   where in there each lies, as NVIDIA DALI's wds2idx writes it
    DST/shards/LIST.csv                 the lists of DST with the new paths, in the order in which the videos lie
    DST/shards/…                        manifest.csv, prepared.json and label lists, for videos of shards

A sample of WebDataset is one video, `KEY.avi`. Labels stand in the lists alone. Videos lie in the order of their names,
which are hashes, so that each shard is a random draw. What is there and right is not written again.
"""

from __future__ import annotations

import csv
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from echoviewclip.datasets.intake.find import LISTS
from echoviewclip.datasets.intake.preparation import NOTE
from echoviewclip.datasets.rows import FIELDS, Row, read_rows
from echoviewclip.datasets.video.tar_index import Entry, index_file, index_text
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path, write_text
from echoviewclip.utils.progress import track

FOLDER = "shards"
MANIFEST, ALL = "manifest.csv", "all"  # ALL names the list where DST has none
UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BLOCK, RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE  # bytes that members and archives are filled up to
MODE = 0o444  # of a member: as WebDataset writes it, to be read


class Video(NamedTuple):
    """A prepared video: its name in DST/videos, its file and the file's size in bytes."""

    name: str
    file: Path
    size: int


class Shard(NamedTuple):
    """A shard to be: its name without suffix, and its videos as they will lie."""

    name: str
    videos: list[Video]

    def entries(self) -> list[Entry]:
        """Name, offset and size of each."""
        entries, at = [], 0
        for video in self.videos:
            entries.append((video.name, at + BLOCK, video.size))
            at += _taken(video.size)
        return entries

    def size(self) -> int:
        """Of the archive in bytes: with its two empty blocks at the end, in whole records."""
        bare = sum(_taken(video.size) for video in self.videos) + 2 * BLOCK
        return -(-bare // RECORD) * RECORD


def parse_size(text: str) -> int:
    """Bytes of `500MB`, `1GB` or `2000000`. Raises UserError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(kB|MB|GB|TB|)", text.strip())
    if not match or not float(match[1]):
        raise UserError(f"--shards is the size of a shard, as 1GB or 500MB; found {text!r}")
    return round(float(match[1]) * UNITS[match[2]])


def write_shards(destination: Path, size: int) -> list[str]:
    """Packs the videos that lists in a Standard Folder name into shards of at most `size` bytes, or of one video.

    Returns what to tell. Raises UserError where a list names a video that is not prepared.
    """
    folder, known = destination / FOLDER, _videos(destination / "videos")
    lists = _lists(destination, known)
    shards = list(_plan(lists, known, size))
    wanted = {f"{shard.name}{suffix}" for shard in shards for suffix in (".tar", ".idx")}
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    for stale in (folder / "videos").iterdir():
        if stale.name not in wanted:
            stale.unlink()
    for _, shard in track(enumerate(shards), "shards", len(shards)):
        _write(folder / "videos" / f"{shard.name}.tar", shard)
    placed = {video.name: f"{shard.name}.tar/{video.name}" for shard in shards for video in shard.videos}
    for file, rows in lists.items():
        _write_list(folder / file.name, [row._replace(path=placed[row.path]) for row in rows])
    _write_manifest(destination / MANIFEST, folder / MANIFEST, placed)
    for file in [destination / NOTE, *destination.glob("labels.csv"), *destination.glob("grades.csv")]:
        with atomic_path(folder / file.name) as temporary:
            shutil.copyfile(file, temporary)
    left = len(known) - len(placed)
    return [f"{len(placed)} videos in {len(shards)} shards: {folder}"] + [f"in no shard: {left} videos of no list"] * (
        left > 0
    )


def _videos(folder: Path) -> dict[str, Video]:
    """Prepared videos by name, in the order of their names."""
    return {file.name: Video(file.name, file, file.stat().st_size) for file in sorted(folder.glob("*.avi"))}


def _lists(destination: Path, known: Mapping[str, Video]) -> dict[Path, list[Row]]:
    """The rows of each list of prepared videos, the longest list first, so that those it holds are a part of it."""
    found: dict[Path, list[Row]] = {}
    for file in sorted(destination.iterdir()):
        if file.suffix.lower() not in LISTS or not file.is_file() or file.name == MANIFEST:
            continue
        try:
            rows = list(read_rows(file))
        except UserError:  # a label list or another table
            continue
        if not any(row.path in known for row in rows):
            continue
        for row in rows:
            if row.path not in known:
                raise UserError(f"{file}:{row.line}: the video is not among those of {destination / 'videos'}")
        found[file] = rows
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return dict(ordered) or {destination / f"{ALL}.csv": [Row(0, name) for name in known]}


def _plan(lists: Mapping[Path, Sequence[Row]], known: Mapping[str, Video], size: int) -> Iterator[Shard]:
    """The shards of each list; a video that several lists name is in those of the first."""
    packed: set[str] = set()
    for file, rows in lists.items():
        own = [known[name] for name in sorted({row.path for row in rows} - packed)]
        packed |= {video.name for video in own}
        ends, full = [0], 0
        for k, video in enumerate(own):
            if full and full + _taken(video.size) > size:
                ends.append(k)
                full = 0
            full += _taken(video.size)
        for number, (start, end) in enumerate(pairwise([*ends, len(own)])):
            if end > start:
                yield Shard(f"{file.stem}-{number:06d}", own[start:end])


def _taken(size: int) -> int:
    """Bytes of an archive that a member takes."""
    return BLOCK + -(-size // BLOCK) * BLOCK


def _write(archive: Path, shard: Shard) -> None:
    """Writes a shard and its index, unless both are there and no video has changed since."""
    text, index = index_text(shard.entries()), index_file(archive)
    if archive.is_file() and index.is_file():
        status, newest = archive.stat(), max(video.file.stat().st_mtime_ns for video in shard.videos)
        if status.st_size == shard.size() and status.st_mtime_ns >= newest and index.read_text() == text:
            return
    with atomic_path(archive) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for video in shard.videos:
            head = tarfile.TarInfo(video.name)
            head.size, head.mode = video.size, MODE
            with video.file.open("rb") as content:
                tar.addfile(head, content)
    write_text(index, text)


def _write_list(file: Path, rows: Sequence[Row]) -> None:
    """A list in the order in which the videos lie."""
    rows = sorted(rows, key=lambda row: row.path)
    if file.suffix.lower() == ".txt":
        write_text(file, "".join(f"{row.path} {row.label}".rstrip() + "\n" for row in rows))
        return
    with (
        atomic_path(file.with_suffix(".csv")) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as lines,
    ):
        writer = csv.writer(lines)
        writer.writerow(FIELDS)
        writer.writerows([getattr(row, name) for name in FIELDS] for row in rows)


def _write_manifest(source: Path, target: Path, placed: Mapping[str, str]) -> None:
    """The rows of the videos in shards, under their new names."""
    with (
        source.open(newline="", encoding="utf-8", errors="surrogateescape") as old,
        atomic_path(target) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as new,
    ):
        rows = csv.DictReader(old)
        writer = csv.DictWriter(new, rows.fieldnames or ())
        writer.writeheader()
        writer.writerows(row | {"name": placed[row["name"]]} for row in rows if row["name"] in placed)
