"""Videos of a list and what is known of them, in memory as a few flat arrays that all workers share."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
import torch

from echoviewclip.datasets.boundary import Boundary
from echoviewclip.datasets.labels import Labels
from echoviewclip.datasets.rows import read_rows
from echoviewclip.datasets.strings import Column, GrowingColumn, GrowingStrings, Strings
from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.datasets.video.tar import archive_of
from echoviewclip.utils.errors import UserError, quoted, shortened
from echoviewclip.utils.urls import has_secrets, identity, is_url, join, shown

TARGETS = ("class", "quality", "multilabel", "score")
SHOWN_FAULTS = 20
HOW_TO_ALLOW = "DATA.ALLOW_OUTSIDE True accepts it (prepare: --allow-outside)"
MAX_PATH = 4096  # bytes: of Linux, which allows more than others


class Annotations:
    """Videos of one list.

    Attributes:
        file: the list; text where it is a URL.
        folder: the folder that the names are relative to.
        labels: np.int64 [N], −1 = none; for multi-label lists float32 [N, K] of 0 and 1.
        views: np.int32 [N], the views of a list whose labels are grades or that has scores, −1 = none.
        scores: np.float32 [N] in [0, 1], nan = none.
        patients: np.int32 [N] codes in order of appearance, −1 = none.
        defects: np.float32 [N, D] in [0, 1], how strongly each defect of quality shows, nan = not known.
        groups: what the further columns that were asked for say of each video, by name as in TEST.GROUPS.
        lines: np.int32 [N] line numbers in the list (entries of a JSON list count from 1).
    """

    def __init__(
        self,
        file: Path | str,
        folder: str,
        names: Strings,
        patients: Column,
        groups: Mapping[str, Column] = MappingProxyType({}),
        **columns: np.ndarray | array,
    ) -> None:
        self.file, self.folder, self.groups = file, folder, dict(groups)
        self._names, self._patients = names, patients
        self._columns = {key: torch.from_numpy(np.asarray(column)) for key, column in columns.items()}

    @classmethod
    def of_paths(cls, paths: Sequence[str | Path]) -> Annotations:
        """Videos of which nothing but the path is known, in this order."""
        names, patients = GrowingStrings(), GrowingColumn()
        names.extend(map(str, paths))
        for _ in paths:
            patients.append("")
        return cls(
            Path(),
            "",
            names.freeze(),
            patients.freeze(),
            labels=np.full(len(paths), -1, np.int64),
            scores=np.full(len(paths), np.nan, np.float32),
            lines=np.arange(1, len(paths) + 1, dtype=np.int32),
        )

    def __len__(self) -> int:
        return len(self._names)

    def name(self, i: int) -> str:
        """The path of video `i` as the list gives it, of URLs what may be shown."""
        return shown(self._names[i])

    def path(self, i: int) -> str:
        """The path of video `i` on disk, or its URL, which may hold credentials."""
        return join(self.folder, self._names[i])

    def paths(self) -> Iterator[str]:
        """All paths in order, many times as fast as one by one."""
        return (join(self.folder, name) for name in self._names)

    def patient(self, i: int) -> str:
        """What the list calls the patient of video `i`, or nothing; not for logs."""
        return self._patients[i]

    def targeted(self, scores: bool) -> np.ndarray:
        """Which videos have a label or, where `scores` count, a score: bool [N]; not of multi-label lists."""
        return (self.labels >= 0) | (scores & np.isfinite(self.scores))

    @property
    def views(self) -> np.ndarray:
        """See the class; −1 throughout where views were not asked for."""
        return self._columns["views"].numpy() if "views" in self._columns else np.full(len(self), -1, np.int32)

    labels = property(lambda self: self._columns["labels"].numpy())

    @property
    def defects(self) -> np.ndarray:
        """See the class; [N, 0] where none were asked for."""
        known = self._columns.get("defects")
        return np.empty((len(self), 0), np.float32) if known is None else known.numpy()

    scores = property(lambda self: self._columns["scores"].numpy())
    patients = property(lambda self: self._patients.codes)
    lines = property(lambda self: self._columns["lines"].numpy())


def read_annotations(
    file: str | Path,
    root: str | Path | None = None,
    *,
    num_classes: int | None = None,
    label_names: Sequence[str] = (),
    view_names: Sequence[str] = (),
    target: str = "class",
    any_label: bool = False,
    allow_outside: bool = False,
    groups: Sequence[str] = (),
    defects: Sequence[str] = (),
    faults: list[str] | None = None,
) -> Annotations:
    """Reads a list of videos.

    Args:
        file: absolute, or relative to the working directory or to `root`; or a URL.
        root: folder of the data, or a URL (default: the list's own). Names are relative to it, or to its `videos` (or
            `videos.tar`) where that exists and the first name of the list is not found directly under `root`.
        num_classes: labels must lie in [0, num_classes), by default as many as names; −1 or none marks a video
            without one.
        label_names: names of the classes (or grades) in order of id, which a list may give in place of ids.
        view_names: where given, `views` are read from the column `label` of a CSV or JSON list beside target "quality"
            or "score"; what is no view of these is none.
        target: what the label after the path is, and which CSV column is read: "class" (column `label`),
            "quality" (column `quality`: a grade), "multilabel" (`label`: several, by spaces or commas) or "score"
            (column `score`, in [0, 1]).
        allow_outside: names may be absolute paths outside `root`, or links that lead out of it.
        groups: further columns to be read (TEST.GROUPS), whatever they say; several blanks count as one.
        defects: further columns of numbers in [0, 1] (MODEL.DEFECTS); of those that are not there nothing is known.
        any_label: a label that is neither an id nor a name is as none, as in lists of outsiders.
        faults: where given, faulty lines are described here and left out.

    Raises UserError that names file and line of every fault at once.
    """
    if target not in TARGETS:
        raise UserError(f"target must be one of {', '.join(TARGETS)}, found {target!r}")
    file = find_list(file, root)
    root = str(root) if root else str(file).rpartition("/")[0] if is_url(str(file)) else str(Path(file).parent)
    names, patients, grouped = GrowingStrings(), GrowingColumn(), {name: GrowingColumn() for name in groups}
    labels, scores, lines, views, severities = array("q"), array("f"), array("i"), array("i"), array("f")
    several: list[list[int]] = []
    found: list[str] = []
    known, known_views = Labels(label_names, num_classes), Labels(view_names)
    boundary, folder, secret = Boundary(root), "", Told()
    ids_of = lru_cache(4096)(partial(_ids, known, several=target == "multilabel", any_label=any_label))
    for row in read_rows(file, target, known, tuple(grouped), defects):
        try:
            if row.fault:
                raise ValueError(row.fault)
            _check_path(row.path)
            folder = folder or _folder(root, row.path)
            if not allow_outside and not boundary.holds(join(folder, row.path)):
                raise ValueError(f"{quoted(shown(row.path))} leads out of {root}; {HOW_TO_ALLOW}")
            secret.check(row.path)
            words = "" if target == "score" else row.quality if target == "quality" else row.label
            numbers = ids_of(words)
            score = _share(row.score, "score")
            if defects:
                said = [_share(word, name) for name, word in zip(defects, row.more[len(grouped) :], strict=True)]
            names.append(row.path)
        except ValueError as fault:
            found.append(f"{file}:{row.line}: {fault}")
            continue
        labels.append(numbers[0] if numbers else -1)
        several.append(numbers) if target == "multilabel" else None
        scores.append(score)
        if view_names:
            views.append(next(iter(_ids(known_views, row.label, several=False, any_label=True)), -1))
        lines.append(row.line)
        patients.append(row.patient)
        if defects:
            severities.extend(said)
        for column, text in zip(grouped.values(), row.more[: len(grouped)], strict=True):
            column.append(" ".join(text.split()))
    if faults is not None:
        faults += found
    elif found:
        more = f"\n… and {len(found) - SHOWN_FAULTS} more" if len(found) > SHOWN_FAULTS else ""
        raise UserError("\n".join(found[:SHOWN_FAULTS]) + more)
    if not len(names) and not faults:
        raise UserError(f"{file}: names no videos")
    columns: dict[str, np.ndarray | array] = {"labels": labels, "scores": scores, "lines": lines}
    columns["defects"] = np.asarray(severities).reshape(len(names), len(defects))
    if view_names:
        columns["views"] = views
    if target == "multilabel":
        columns["labels"] = _one_hot(several, known.count)
    frozen = {name: column.freeze() for name, column in grouped.items()}
    return Annotations(file, folder or str(root), names.freeze(), patients.freeze(), frozen, **columns)


class Told:
    """URLs that have been named: two of which the same may be shown would be one video in all that is written."""

    def __init__(self) -> None:
        self._named: dict[str, str] = {}

    def check(self, path: str) -> None:
        """Raises ValueError where another URL with the same name has been checked."""
        if has_secrets(path) and self._named.setdefault(shown(path), identity(path)) != identity(path):
            raise ValueError(
                f"{quoted(shown(path))} is told from another video only by what follows the `?`, which may hold "
                "credentials and is written nowhere; name them by other paths"
            )


def find_list(file: str | Path, root: str | Path | None = None) -> Path | str:
    """The list as given, or under `root`; a text where it is a URL. Raises UserError that names what was tried."""
    if is_url(str(file)):
        return str(file)
    tried: list[Path | str] = [Path(file)]
    if root and is_url(str(root)):
        tried.append(join(str(root), str(file)))
    elif root and not Path(file).is_absolute():
        tried.append(Path(root) / file)
    for path in tried:
        if _exists(path) if isinstance(path, str) else os.path.isfile(path):
            return path
    raise UserError(f"no such list of videos: {' nor '.join(map(str, tried))} (DATA.TRAIN_FILE, VAL_FILE, OOD_FILE)")


def _folder(root: str, first: str) -> str:
    if is_url(root):
        return root if is_url(first) or _exists(join(root, first)) else join(root, "videos")
    if os.path.lexists(archive_of(join(root, first)) or join(root, first)):
        return root
    return next(filter(os.path.exists, (join(root, "videos"), join(root, "videos.tar"))), root)


def _exists(url: str) -> bool:
    from echoviewclip.datasets.remote.store import exists

    try:
        return exists(url)
    except Unreadable as error:
        raise UserError(f"{shown(url)}: cannot be looked at: {error}") from None


def _check_path(path: str) -> None:
    if not path:
        raise ValueError("no path")
    if "\0" in path:
        raise ValueError("a zero byte in the path")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise ValueError("surrogates not allowed in the path: it is not Unicode text") from None
    if size > MAX_PATH:
        raise ValueError(f"a path of {size} bytes, which no system has")
    if ".." in path and ".." in PurePosixPath(path.replace("\\", "/")).parts:
        raise ValueError(f"the path {quoted(shown(path))} leaves the data folder; `..` is not allowed")


def _ids(known: Labels, words: str, several: bool, any_label: bool) -> list[int]:
    try:
        return known.ids(words, several=several)
    except ValueError:
        if any_label:
            return []
        raise


def _share(word: str, what: str) -> float:
    if not word:
        return math.nan
    try:
        share = float(word)
    except ValueError:
        raise ValueError(f"the {what} {quoted(word)} is not a number") from None
    if not (0 <= share <= 1):
        raise ValueError(f"the {what} {shortened(word)} is not in [0, 1]")
    return share


def _one_hot(several: list[list[int]], count: int | None) -> np.ndarray:
    width = count or 1 + max((max(labels, default=0) for labels in several), default=0)
    hot = np.zeros((len(several), width), np.float32)
    for row, labels in zip(hot, several, strict=True):
        row[[label for label in labels if label >= 0]] = 1
    return hot
