"""What the data and the machine are: all that the choice of settings looks at."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from echoviewclip.datasets.annotations import Annotations, read_annotations
from echoviewclip.datasets.shard_order import count_shards
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names

SETS = ("train", "val", "test")
GRADED = "quality_"  # begins the names of lists of graded videos
FORMATS = (".csv", ".txt", ".json")  # CSV first: it names the patients
LOOKED_AT = 64  # videos that are opened where there is no manifest
LABEL_LIST = Path("labels/ultracls.csv")
QUALITY_LIST = Path("labels/quality.csv")


@dataclass(frozen=True)
class Machine:
    """Where it will run."""

    name: str
    memory: float  # GB of an accelerator; of the computer where there is none
    accelerators: int
    cores: int

    @classmethod
    def here(cls) -> Machine:
        """This one."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if torch.cuda.is_available():
            properties = torch.cuda.get_device_properties(0)
            return cls(properties.name, properties.total_memory / 1e9, torch.cuda.device_count(), cores)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        return cls("CPU", memory, 0, cores)


@dataclass
class Fingerprint:
    """A data folder in numbers.

    Attributes:
        root: the Standard Folder.
        lists: file of each set (`train`, `val`, `test`) by its name, and of graded videos as `quality_train`, ….
        outsiders: lists of videos that show none of the views.
        label_list, quality_list: id and name of the views and of the grades.
        videos, patients: how many each list of `lists` has; 0 patients where it names none.
        views, grades: training videos of each, by name.
        scored: graded videos have scores in [0, 1] and no grades.
        frames, rates, widths, heights: of training videos; rates in frames per second, nan where a file says none.
        kinds: training videos of each kind (2d, color, …) where a manifest says it.
        shards: archives that the training videos lie in; 0 where some are files.
    """

    root: Path
    machine: Machine
    lists: dict[str, Path] = field(default_factory=dict)
    outsiders: list[Path] = field(default_factory=list)
    label_list: Path = LABEL_LIST
    quality_list: Path = QUALITY_LIST
    videos: dict[str, int] = field(default_factory=dict)
    patients: dict[str, int] = field(default_factory=dict)
    views: dict[str, int] = field(default_factory=dict)
    grades: dict[str, int] = field(default_factory=dict)
    scored: bool = False
    frames: np.ndarray = field(default_factory=lambda: np.empty(0))
    rates: np.ndarray = field(default_factory=lambda: np.empty(0))
    widths: np.ndarray = field(default_factory=lambda: np.empty(0))
    heights: np.ndarray = field(default_factory=lambda: np.empty(0))
    kinds: dict[str, int] = field(default_factory=dict)
    shards: int = 0

    @property
    def seconds(self) -> float:
        """Median duration of a training video; nan where no file says its rate."""
        known = self.rates > 0
        return float(np.median(self.frames[known] / self.rates[known])) if known.any() else float("nan")


def look_at(root: Path, machine: Machine, label_list: Path | None = None) -> Fingerprint:
    """The fingerprint of a Standard Folder. Raises UserError where lists are missing or faulty."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder (DATA)")
    found = Fingerprint(root, machine)
    found.label_list = label_list or _first_of(root / "labels.csv", LABEL_LIST)
    found.quality_list = _first_of(root / "grades.csv", QUALITY_LIST)
    found.outsiders = [path for stem in _stems(root, "ood*") if (path := find_list(root, stem))]
    names = read_names(found.label_list)
    views = {name: listed for name in SETS if (listed := _read(found, name, name, "class", names))}
    for name in SETS[:2]:
        if name not in views:
            raise UserError(f"{root}: holds no {name}.csv or {name}.txt; tools/prepare.py --labels-from writes them")
    found.views = _counts(views["train"], names)
    found.shards = count_shards(views["train"])
    _look_at_grades(found)
    _look_at_videos(found, views["train"])
    return found


def _first_of(preferred: Path, otherwise: Path) -> Path:
    return preferred if preferred.is_file() else otherwise


def find_list(root: Path, stem: str) -> Path | None:
    """The list of this name, in the format that says most."""
    return next((file for suffix in FORMATS if (file := root / f"{stem}{suffix}").is_file()), None)


def _stems(root: Path, pattern: str) -> list[str]:
    return sorted({path.stem for path in root.glob(pattern) if path.suffix in FORMATS})


def _read(found: Fingerprint, name: str, stem: str, target: str, names: Sequence[str]) -> Annotations | None:
    """The list `stem`, counted as `name`; None where there is none."""
    file = find_list(found.root, stem)
    if file is None:
        return None
    listed = read_annotations(file, found.root, label_names=names, target=target)
    found.lists[name] = file
    found.videos[name] = len(listed)
    found.patients[name] = len(np.unique(listed.patients[listed.patients >= 0]))
    return listed


def _counts(listed: Annotations, names: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(listed.labels[listed.labels >= 0], minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def _look_at_grades(found: Fingerprint) -> None:
    """Lists of graded videos: `quality_train`, …, or those of views where every video of theirs is graded."""
    names = read_names(found.quality_list)
    for start in (GRADED, ""):
        for target in ("quality", "score"):
            if all(_all_graded(found, f"{start}{name}", target, names) for name in SETS[:2]):
                for name in SETS:
                    if name in SETS[:2] or _all_graded(found, f"{start}{name}", target, names):
                        listed = _read(found, f"{GRADED}{name}", f"{start}{name}", target, names)
                        if listed is not None and target == "quality" and not found.grades:
                            found.grades = _counts(listed, names)
                found.scored = target == "score"
                return


def _all_graded(found: Fingerprint, stem: str, target: str, names: Sequence[str]) -> bool:
    file = find_list(found.root, stem)
    if file is None or (file.suffix != ".csv" and not stem.startswith(GRADED)):
        return False  # what follows the path in other lists of views is the view
    try:
        listed = read_annotations(file, found.root, label_names=names, target=target)
    except UserError:
        return False
    return bool(np.isfinite(listed.scores).all() if target == "score" else (listed.labels >= 0).all())


def _look_at_videos(found: Fingerprint, training: Annotations) -> None:
    """Lengths, rates and sizes: from the manifest of prepared videos, else of some that are opened."""
    known = _manifest(found.root)
    rows = [known[name] for i in range(len(training)) if (name := training.name(i)) in known]
    if not rows:
        chosen = np.unique(np.linspace(0, len(training) - 1, LOOKED_AT).round().astype(int))
        rows = [row for i in chosen if (row := _opened(training.path(i)))]
    if not rows:
        raise UserError(f"{found.lists['train']}: none of the videos can be read; tools/check_data.py says why")
    found.frames, found.rates, found.widths, found.heights = (
        np.array([float(row[column] or "nan") for row in rows]) for column in ("frames", "fps", "width", "height")
    )
    found.kinds = dict(Counter(row["modality"] for row in rows if row["modality"]).most_common())


def _manifest(root: Path) -> dict[str, dict[str, str]]:
    if not (root / "manifest.csv").is_file():
        return {}
    with (root / "manifest.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
        return {row["name"]: row for row in csv.DictReader(lines)}


def _opened(path: str) -> dict[str, str] | None:
    try:
        with open_video(path) as video:
            values = {"frames": len(video), "fps": video.fps or "", "width": video.width, "height": video.height}
    except VideoError:
        return None
    return {name: str(value) for name, value in values.items()} | {"modality": ""}
