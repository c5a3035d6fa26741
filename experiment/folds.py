"""Cross-validation by patient: who is held out in which fold, and the lists of each."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from yacs.config import CfgNode

from echoviewclip.datasets.configured import class_names, read_list
from echoviewclip.datasets.intake.splits import assign
from echoviewclip.datasets.rows import FIELDS
from echoviewclip.experiment.fingerprint import GRADED
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path, write_text


@dataclass(frozen=True)
class Fold:
    """One of the parts: its number from 1, and the folder of its lists and results."""

    number: int
    folder: Path


def write_folds(configs: Sequence[CfgNode], output: Path, count: int) -> list[Fold]:
    """Writes `output/foldN/` with the lists of each fold, made of the training and validation lists of each stage.

    A patient is held out in one fold, the same in all stages, and stays there when videos are added: `folds.json` keeps
    it. Videos whose patient is not known count for themselves. Raises UserError where there are too few patients.
    """
    if count < 2:
        raise UserError(f"--folds must be at least 2, found {count}")
    folds = [Fold(number, output / f"fold{number}") for number in range(1, count + 1)]
    rows = {config.STAGE: list(_rows(config)) for config in configs if config.STAGE != "negation"}
    everyone = {patient for listed in rows.values() for patient, _ in listed}
    held_out = _choose_test_patients(output / "folds.json", everyone, count, configs[0].SEED)
    for stage, listed in rows.items():
        start = GRADED if stage == "quality" else ""
        for fold in folds:
            for name, out in (("train", False), ("val", True)):
                chosen = [row for patient, row in listed if (held_out[patient] == str(fold.number)) == out]
                if not chosen:
                    raise UserError(f"fold {fold.number} of stage {stage} has no video in its {name} list; use fewer")
                _write(fold.folder / f"{start}{name}.csv", chosen)
    return folds


def found_folds(output: Path) -> list[Fold]:
    """The folds that an earlier call wrote."""
    folders = {int(path.name[4:]): path for path in output.glob("fold*") if path.name[4:].isdecimal()}
    return [Fold(number, folders[number]) for number in sorted(folders)]


def _rows(config: CfgNode) -> Iterator[tuple[str, tuple[object, ...]]]:
    """The patient, and the row of a list, of each training and validation video of a stage."""
    names, quality = class_names(config), config.STAGE == "quality"
    for file in (config.DATA.TRAIN_FILE, config.DATA.VAL_FILE):
        listed = read_list(config, file)
        for i in range(len(listed)):
            label = names[listed.labels[i]] if listed.labels[i] >= 0 else ""
            score = "" if np.isnan(listed.scores[i]) else listed.scores[i]
            patient = listed.patient(i)
            named = ("", label) if quality else (label, "")
            yield _key(patient, listed.name(i)), (listed.name(i), named[0], patient, named[1], score)


def _key(patient: str, video: str) -> str:
    """What stands for a patient in `folds.json`, which should not name one."""
    return hashlib.sha256((f"patient {patient}" if patient else f"video {video}").encode()).hexdigest()[:20]


def _choose_test_patients(file: Path, patients: set[str], count: int, seed: int) -> dict[str, str]:
    """The number of the fold of each patient."""
    rule = {"folds": count, "seed": seed}
    before: dict[str, str] = {}
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        before = kept.pop("held_out")
        if kept != rule:
            raise UserError(
                f"{file}: has other --folds or another SEED; use those, or remove it and the folds beside it"
            )
    shares = {str(number): 1 / count for number in range(1, count + 1)}
    held_out = assign(patients - before.keys(), shares, seed, before)
    write_text(file, json.dumps(rule | {"held_out": held_out}, indent=1, sort_keys=True))
    return held_out


def _write(file: Path, rows: Sequence[tuple[object, ...]]) -> None:
    with atomic_path(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([FIELDS, *rows])
