"""The tables that a run ends with: manifest, names, and the list with the new names."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from echoviewclip.datasets.intake.names import hash_patient
from echoviewclip.datasets.intake.records import MANIFEST, SEPARATOR, Options, Record
from echoviewclip.datasets.rows import FIELDS, list_kind, read_rows
from echoviewclip.utils.files import atomic_path, write_text
from echoviewclip.utils.urls import shown


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


def write_list(source: Path | str, destination: Path, done: dict[str, Record], salt: bytes) -> None:
    """The list that was prepared, with the new names and without what could not be read."""
    named = ((row, done[shown(row.path)]) for row in read_rows(source))
    rows = [(row, record) for row, record in named if not record.fault and not record.skipped]
    named_as = PurePosixPath(shown(str(source)))
    if list_kind(source) == ".txt":
        lines = [f"{record.name} {row.label}".rstrip() for row, record in rows]
        write_text(destination / named_as.name, "\n".join(lines) + "\n")
        return
    with (
        atomic_path(destination / f"{named_as.stem}.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for row, record in rows:
            patient = hash_patient(salt, row.patient)
            writer.writerow([record.name, row.label, patient, row.quality, row.score])
