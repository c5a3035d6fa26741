"""What is said of the files of an archive, read before any is converted: labels, grades and patients."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from echoviewclip.datasets.intake.find import LISTS, Sources
from echoviewclip.datasets.intake.origins import Folder, read_all, read_origin, read_table, spoken
from echoviewclip.datasets.intake.splits import parse_shares
from echoviewclip.datasets.labels import Labels, spelled
from echoviewclip.datasets.rows import Row
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names

DICOM = "dicom"
GRADES = Path(__file__).parents[2] / "labels/quality.csv"


@dataclass(frozen=True)
class Plan:
    """What the user says; see tools/prepare.py."""

    labels_from: str = ""  # empty: no lists are written
    shares: Mapping[str, float] = field(default_factory=lambda: parse_shares("80,10,10"))  # of the patients, by set
    patient_from: str = ""  # default: the table of labels where it names patients, else DICOM
    quality_from: str = ""  # default: the table of labels where it has grades
    label_list: Path | None = None  # default: the labels that are found
    quality_list: Path = GRADES
    seed: int = 0


@dataclass
class Targets:
    """What folders and tables say of each file, by its name.

    Attributes:
        views, levels: names of all labels and of all grades, in order of id.
        labels, grades: as names of their lists.
        scores: as text.
        patients: as they are called; None where the DICOM headers say it.
    """

    views: Sequence[str] = ()
    levels: Sequence[str] = ()
    labels: dict[str, str] = field(default_factory=dict)
    grades: dict[str, str] = field(default_factory=dict)
    scores: dict[str, str] = field(default_factory=dict)
    patients: dict[str, str] | None = None


def read_plan(plan: Plan, sources: Sources, destination: Path) -> Targets:
    """What folders and tables say of the sources. Raises UserError."""
    names, root, targets, label_of = list(sources.kinds), sources.root, Targets(), None
    if plan.labels_from:
        listed = read_names(plan.label_list) if plan.label_list else []
        label_of = read_origin(plan.labels_from, "--labels-from", "label", root, Labels(listed))
        labels = read_all(label_of, names, "--labels-from")
        targets.views = listed or _collect(labels.values(), destination / "labels.csv")
        targets.labels = _to_list_names(labels, targets.views, "--labels-from")
        if plan.labels_from.lower().endswith(LISTS):
            _add_from_table(targets, read_table(Path(plan.labels_from), root, "label", Labels(listed)), names)
    targets.levels = read_names(plan.quality_list)
    if plan.quality_from:
        grade_of = read_origin(plan.quality_from, "--quality-from", "quality", root, Labels(targets.levels))
        targets.grades = read_all(grade_of, names, "--quality-from")
    targets.grades = _to_list_names(targets.grades, targets.levels, "--quality-from")
    if plan.patient_from:
        targets.patients = None
    if plan.patient_from not in ("", DICOM):
        patient_of = read_origin(plan.patient_from, "--patient-from", "patient", root, level=1)
        targets.patients = read_all(patient_of, names, "--patient-from")
        _check_folders(patient_of, label_of, names)
    return targets


def _add_from_table(targets: Targets, rows: Mapping[str, Row], names: Sequence[str]) -> None:
    """What the table of labels says beside them."""
    rows = {name: rows[name] for name in names if name in rows}
    targets.grades = {name: row.quality for name, row in rows.items() if row.quality}
    targets.scores = {name: row.score for name, row in rows.items() if row.score}
    targets.patients = {name: row.patient for name, row in rows.items() if row.patient} or None


def _collect(labels: Iterable[str], earlier: Path) -> list[str]:
    """The names of labels: those of an earlier run keep their ids, new ones follow in alphabetical order."""
    names = read_names(earlier) if earlier.is_file() else []
    known = set(map(spelled, names))
    for label in sorted(set(labels)):
        if re.fullmatch(r"[+-]?\d+", label.strip()):
            raise UserError(
                "--labels-from: the labels are numbers; say what they mean with --label-list FILE (id,name)"
            )
        if spelled(label) not in known:
            known.add(spelled(label))
            names.append(" ".join(label.split()))
    return names


def _to_list_names(values: Mapping[str, str], names: Sequence[str], option: str) -> dict[str, str]:
    """Ids and names in any spelling as the names of the list. Raises UserError where there is another."""
    known = Labels(names)
    found: dict[str, str] = {}
    unknown: Counter[str] = Counter()
    for name, value in values.items():
        try:
            label = _id(known, value)
            if label >= 0:
                found[name] = names[label]
        except ValueError as fault:
            unknown[str(fault)] += 1
    if unknown:
        (first, count), *others = unknown.most_common()
        more = f" and {len(others)} other such labels" if others else ""
        raise UserError(f"{option}: {first} ({count} files){more}")
    return found


def _id(known: Labels, value: str) -> int:
    try:
        return next(iter(known.ids(value)), -1)
    except ValueError:
        return next(iter(known.ids(spoken(value))), -1)


def _check_folders(patient_of: Callable[[str], str], label_of: object, names: Sequence[str]) -> None:
    """Raises UserError where one folder is both the patient and the label of a file."""
    if not (isinstance(patient_of, Folder) and isinstance(label_of, Folder)):
        return
    if any(label_of.place(name) is not None and label_of.place(name) == patient_of.place(name) for name in names):
        raise UserError(
            "--patient-from and --labels-from take the same folder of some files; say which each is with folder:N, "
            "where folder:1 is the one directly under SRC"
        )
