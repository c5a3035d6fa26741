"""Is the data what the lists say? The faults that otherwise show at epoch 17, found before the first.

The fast form (`check_annotations`) only looks at the lists and at folder listings; runs begin with it. `inspect`
reads videos, too.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.sampling import segment_indices
from echoviewclip.datasets.video import tar
from echoviewclip.datasets.video.base import Video, VideoError
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.progress import track
from echoviewclip.utils.urls import is_url, shown
from echoviewclip.utils.workers import MAX_SECONDS, Lost, run_jobs

LOOKED_AT = 4  # frames of a video that go into the mean and the standard deviation


def check_annotations(
    train: Annotations | None, val: Annotations | None = None, outsiders: Sequence[Annotations] = ()
) -> list[str]:
    """One line for each fault of the lists, naming file and line; empty if there are none.

    Faults: a video that is missing, listed twice, or in two lists; a patient for both training and validation (where
    the lists name patients); a training video without label or score. Malformed lines are found earlier, by
    `read_annotations`.
    """
    lists = [listed for listed in (train, val, *outsiders) if listed is not None]
    faults = []
    for listed in lists:
        faults += [f"{place_of(listed, i)}: {shown(listed.path(i))} does not exist" for i in missing(listed)]
    faults += _repeated(lists, train, val)
    if train is not None:
        faults += _unlabelled(train)
    if train is not None and val is not None:
        faults += _shared_patients(train, val)
    return faults


def place_of(listed: Annotations, i: int) -> str:
    """The file and line of a video of a list."""
    return f"{listed.file}:{listed.lines[i]}"


def missing(listed: Annotations) -> list[int]:
    """Which videos of a list do not exist. Lists each folder once: a million files are not asked for one by one.

    Those that lie elsewhere are not asked for.
    """
    contents: dict[str, set[str]] = {}
    absent = []
    for i, path in enumerate(listed.paths()):
        path = path.rstrip("/")
        if is_url(path):
            continue
        found = _in_archive(path) if ".tar/" in path else None
        if found is None:
            folder, name = os.path.split(path)
            if folder not in contents:
                contents[folder] = _names_in(folder)
            found = name in contents[folder]
        if not found:
            absent.append(i)
    return absent


def _in_archive(path: str) -> bool | None:
    try:
        return tar.exists(path)
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{path}: the archive cannot be read: {error}") from None


def _names_in(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder or "."))
    except OSError:
        return set()


def _repeated(lists: Sequence[Annotations], train: Annotations | None, val: Annotations | None) -> Iterator[str]:
    """Hashes first: of a million paths only those are kept that may be there twice."""
    hashes = [np.fromiter((hash(os.path.normpath(path)) for path in listed.paths()), np.int64) for listed in lists]
    values, counts = np.unique(np.concatenate([np.empty(0, np.int64), *hashes]), return_counts=True)
    first_of: dict[str, tuple[Annotations, int]] = {}
    for listed, own in zip(lists, hashes, strict=True):
        for i in np.flatnonzero(np.isin(own, values[counts > 1])).tolist():
            first, j = first_of.setdefault(os.path.normpath(listed.path(i)), (listed, i))
            if (first, j) == (listed, i):
                continue
            if first is listed:
                fault = "is listed twice"
            else:
                fault = "is for training and validation" if (first, listed) == (train, val) else "is in two lists"
            yield f"{place_of(listed, i)}: {listed.name(i)} {fault}; first at {place_of(first, j)}"


def _unlabelled(train: Annotations) -> Iterator[str]:
    labels = train.labels
    has_label = labels >= 0 if labels.ndim == 1 else labels.any(1)
    for i in np.flatnonzero(~has_label & np.isnan(train.scores)).tolist():
        yield f"{train.file}:{train.lines[i]}: {train.name(i)} has no label to train on"


def _shared_patients(train: Annotations, val: Annotations) -> Iterator[str]:
    """Names the lines, not the patient."""
    first_of = {train.patient(i): train.lines[i] for i in _first_videos(train)}
    for i in _first_videos(val):
        if (line := first_of.get(val.patient(i))) is not None:
            yield f"{val.file}:{val.lines[i]}: the patient of {train.file}:{line} is for training and validation"


def _first_videos(listed: Annotations) -> list[int]:
    """The first video of each patient."""
    codes, first = np.unique(listed.patients, return_index=True)
    return sorted(first[codes >= 0].tolist())


@dataclass
class Inspection:
    """What reading the videos of a list showed."""

    videos: int = 0
    faults: list[str] = field(default_factory=list)  # one line for each unreadable video, naming list and line
    warnings: list[str] = field(default_factory=list)  # one line for each thing in a video that is not as its file says
    mean: tuple[float, ...] = ()  # of R, G, B in [0, 1]
    std: tuple[float, ...] = ()


def inspect(
    listed: Annotations,
    *,
    every_frame: bool,
    sample: int | None,
    workers: int,
    decoder: str,
    seconds: float = MAX_SECONDS,
) -> Inspection:
    """Reads videos in parallel: all that exist, or `sample` that are spread over the list.

    `every_frame` decodes whole videos and so finds damage anywhere; else only the frames that the mean needs are read.
    A video that kills its process or takes more than `seconds` is a fault like others.
    """
    present = np.setdiff1d(np.arange(len(listed)), missing(listed))
    if sample is not None and sample < len(present):
        present = present[np.linspace(0, len(present) - 1, sample).round().astype(int)]
    result, parts = Inspection(len(present)), np.zeros((len(present), 3, 3))
    faults: dict[int, str] = {}
    warnings: dict[int, tuple[str, ...]] = {}
    jobs = [(listed.path(i), every_frame, decoder) for i in present]
    for k, answer in track(run_jobs(_read, jobs, workers, seconds), "reading", len(jobs)):
        if isinstance(answer, Lost):
            answer = f"{shown(jobs[k][0])}: {answer.reason}", (), 0
        fault, warnings[k], parts[k] = answer
        if fault:
            faults[k] = f"{place_of(listed, present[k])}: {fault}"
    result.faults = [faults[k] for k in sorted(faults)]
    result.warnings = [
        f"{place_of(listed, present[k])}: {shown(jobs[k][0])}: {text}" for k in sorted(warnings) for text in warnings[k]
    ]
    sums = parts.sum(0)  # in the order of the list, so that the last digits do not depend on who was first
    if sums[0, 0]:
        mean = sums[1] / sums[0]
        result.mean = tuple(mean / 255)
        result.std = tuple(np.sqrt(np.maximum(sums[2] / sums[0] - mean**2, 0)) / 255)
    return result


def _read(path: str, every_frame: bool, decoder: str) -> tuple[str, tuple[str, ...], np.ndarray]:
    """The fault, if any, the warnings, and for each colour the number, sum and sum of squares of pixels looked at
    [3, 3]."""
    sums = np.zeros((3, 3))
    warnings: tuple[str, ...] = ()
    try:
        with open_video(path, decoder) as video:
            looked_at = set(segment_indices(len(video), LOOKED_AT)[0].tolist())
            for number, frame in enumerate(video.iterate()) if every_frame else _sparse(video, looked_at):
                if number in looked_at:
                    pixels = frame.reshape(-1, 3).astype(np.float64)
                    sums += [[len(pixels)] * 3, pixels.sum(0), (pixels**2).sum(0)]
            warnings = video.warnings
    except VideoError as error:
        return str(error), warnings, sums
    return "", warnings, sums


def _sparse(video: Video, wanted: set[int]) -> Iterator[tuple[int, np.ndarray]]:
    numbers = sorted(wanted)
    return zip(numbers, video.iterate(numbers), strict=True)


def histogram(listed: Annotations, names: list[str]) -> list[tuple[str, int]]:
    """Class names and how many videos each has; videos without a label come last."""
    labels = listed.labels
    if labels.ndim == 2:
        counts, none = labels.sum(0).astype(int), int((~labels.any(1)).sum())
    else:
        counts, none = np.bincount(labels[labels >= 0], minlength=len(names)), int((labels < 0).sum())
    rows = [(names[k] if k < len(names) else str(k), int(count)) for k, count in enumerate(counts)]
    return rows + ([("without label", none)] if none else [])
