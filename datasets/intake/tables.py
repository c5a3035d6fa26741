"""The tables that a run ends with: manifest, names, and the list with the new names."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path

from echoviewclip.datasets.intake.names import hash_patient
from echoviewclip.datasets.intake.records import MANIFEST, SEPARATOR, Options, Record
from echoviewclip.datasets.rows import FIELDS, read_rows
from echoviewclip.utils.files import atomic_path, write_text


def write_tables(records: list[Record], destination: Path, private: Path, options: Options) -> None:
    """The manifest, for everyone, and the way back from names to sources, for the private folder."""
    with (
        atomic_path(destination / "manifest.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(MANIFEST)
        for record in records:
            if record.fault or record.skipped:
                continue
            row = asdict(record) | {"warnings": SEPARATOR.join(record.warnings)}
            row["source"] = record.source if options.keep_names else ""
            writer.writerow([row[column] for column in MANIFEST])
    with (
        atomic_path(private / "names.csv", private=True) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["name", "source", "skipped", "fault"])
        writer.writerows([record.name, record.source, record.skipped, record.fault] for record in records)


def write_list(source: Path, destination: Path, done: dict[str, Record], salt: bytes) -> None:
    """The list that was prepared, with the new names and without what could not be read."""
    rows = [row for row in read_rows(source) if not done[row.path].fault and not done[row.path].skipped]
    if source.suffix.lower() == ".txt":
        lines = [f"{done[row.path].name} {row.label}".rstrip() for row in rows]
        write_text(destination / source.name, "\n".join(lines) + "\n")
        return
    with (
        atomic_path(destination / f"{source.stem}.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for row in rows:
            patient = hash_patient(salt, row.patient)
            writer.writerow([done[row.path].name, row.label, patient, row.quality, row.score])
