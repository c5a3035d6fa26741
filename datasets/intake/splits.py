"""Sets of patients: for training, validation and test. Who is in a set stays there when files are added."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import write_text

SETS = ("train", "val", "test")


def parse_shares(text: str) -> dict[str, float]:
    """`80,10,10` → the share of each set, summing to 1; two numbers leave out the test set. Raises UserError."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 < number < float("inf") for number in numbers):
        raise UserError(f"--split takes the shares of {', '.join(SETS)}, as 80,10,10 or 80,20; found {text!r}")
    return {name: number / sum(numbers) for name, number in zip(SETS, numbers, strict=False)}


def split_patients(file: Path, patients: Iterable[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The set of each patient, kept in the private `file`: a later call moves no patient that an earlier one knew.

    Raises UserError where the file was made with other shares or another seed, or there are too few patients.
    """
    rule = {"shares": dict(shares), "seed": seed}
    before: dict[str, str] = {}
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        before = kept.pop("sets")
        if kept != rule:
            raise UserError(f"{file}: split with other shares or another --seed; use those, or delete it to split anew")
    sets = assign(set(patients) - before.keys(), shares, seed, before)
    write_text(file, json.dumps(rule | {"sets": sets}, indent=1, sort_keys=True), private=True)
    return sets


def assign(new: Iterable[str], shares: Mapping[str, float], seed: int, before: Mapping[str, str]) -> dict[str, str]:
    """Gives each of `new` a set, in an order that depends on `seed` and the name alone, where most are missing.

    Every set gets at least one patient. Raises UserError where there are fewer patients than sets.
    """
    sets = dict(before)
    new = sorted(new, key=lambda patient: hashlib.sha256(f"{seed} {patient}".encode()).digest())
    counts, total = Counter(sets.values()), len(sets) + len(new)
    if total < len(shares):
        raise UserError(f"{total} patients cannot be split into {len(shares)} sets")
    for at, patient in enumerate(new):
        empty = [name for name in shares if not counts[name]]
        chosen = empty if len(new) - at <= len(empty) else shares
        sets[patient] = max(chosen, key=lambda name: shares[name] * total - counts[name])
        counts[sets[patient]] += 1
    return sets
