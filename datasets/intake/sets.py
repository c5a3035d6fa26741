"""Prepared videos become lists for training, validation and test, split by patient."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from echoviewclip.datasets.intake.find import private_folder
from echoviewclip.datasets.intake.names import hash_patient
from echoviewclip.datasets.intake.plan import Plan, Targets
from echoviewclip.datasets.intake.records import Record
from echoviewclip.datasets.intake.splits import split_patients
from echoviewclip.datasets.rows import FIELDS
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path

GRADED = "quality_"  # begins the names of the lists for stage quality, which hold graded videos alone


def write_sets(plan: Plan, targets: Targets, records: Sequence[Record], destination: Path, salt: bytes) -> list[str]:
    """Writes `labels.csv`, a list for each set, and `grades.csv` and one of graded videos where there are any.

    Returns what to tell. Videos without a label or whose patient is not known are in no list. Raises UserError where
    none is left, or where labels seem to be patients.
    """
    videos = [record for record in records if not record.fault and not record.skipped]
    known = [record for record in videos if targets.labels.get(record.source) or _is_graded(record, targets)]
    listed = sorted((record for record in known if record.patient), key=lambda record: record.name)
    if not listed:
        raise UserError(
            f"of {len(videos)} videos {len(known)} have a label, and none of these has a patient; say who it is with "
            "--patient-from: folder, a regular expression or a table"
        )
    _check_no_patients(targets, listed, salt)
    patients = {record.patient for record in listed}
    sets = split_patients(private_folder(destination) / "split.json", patients, plan.shares, plan.seed)
    _write_labels(destination / "labels.csv", targets.views)
    if targets.grades:
        _write_labels(destination / "grades.csv", targets.levels)
    of_set = {name: [record for record in listed if sets[record.patient] == name] for name in plan.shares}
    for name, chosen in of_set.items():
        _write_list(destination / f"{name}.csv", [r for r in chosen if r.source in targets.labels], targets)
        _write_list(destination / f"{GRADED}{name}.csv", [r for r in chosen if _is_graded(r, targets)], targets)
    return [
        *_table(targets, of_set),
        *_left_over("without a label", len(videos) - len(known)),
        *_left_over("whose patient is not known (--patient-from)", len(known) - len(listed)),
    ]


def _is_graded(record: Record, targets: Targets) -> bool:
    return record.source in targets.grades or record.source in targets.scores


def _check_no_patients(targets: Targets, listed: Iterable[Record], salt: bytes) -> None:
    """Raises UserError where names of labels would carry patients into DST."""
    patients, labels = defaultdict(set), defaultdict(set)
    for record in listed:
        label = targets.labels.get(record.source, "")
        patients[label].add(record.patient)
        labels[record.patient].add(label)
    named = any(hash_patient(salt, label) in of for label, of in patients.items())
    alone = len(patients) > 2 and all(len(of) == 1 for of in [*patients.values(), *labels.values()])
    if named or alone:
        raise UserError(
            "--labels-from: each label is one patient's and each patient has one label, so that they may be patients' "
            "names; say which folder holds the labels with folder:N, or name them with --label-list"
        )


def _write_labels(file: Path, names: Sequence[str]) -> None:
    with (
        atomic_path(file) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as lines,
    ):
        csv.writer(lines).writerows([("id", "name"), *enumerate(names)])


def _write_list(file: Path, records: Sequence[Record], targets: Targets) -> None:
    """A list of these videos; without any it is removed, as an earlier run's would be wrong."""
    if not records:
        file.unlink(missing_ok=True)
        return
    with (
        atomic_path(file) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as lines,
    ):
        writer = csv.writer(lines)
        writer.writerow(FIELDS)
        for record in records:
            label, grade, score = (of.get(record.source, "") for of in (targets.labels, targets.grades, targets.scores))
            writer.writerow([record.name, label, record.patient, grade, score])


def _table(targets: Targets, of_set: dict[str, list[Record]]) -> list[str]:
    """Videos of each label and patients by set, and a warning of labels that training would not see."""
    columns = [Counter(targets.labels.get(record.source) for record in chosen) for chosen in of_set.values()]
    rows = {name: [column[name] for column in columns] for name in targets.views}
    absent = [name for name, counts in rows.items() if not counts[0]]
    rows["videos"] = [len(chosen) for chosen in of_set.values()]
    rows["patients"] = [len({record.patient for record in chosen}) for chosen in of_set.values()]
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"{name:>8}" for name in of_set)]
    lines += [f"{name:{width}}" + "".join(f"{count:>8}" for count in counts) for name, counts in rows.items()]
    return lines + ([f"warning: no video to train on shows {', '.join(absent)}"] if absent else [])


def _left_over(what: str, count: int) -> list[str]:
    return [f"in no list: {count} videos {what}"] if count else []
