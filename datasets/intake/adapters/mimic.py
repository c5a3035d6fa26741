"""MIMIC-IV-Echo (physionet.org/content/mimic-iv-echo): DICOM objects of whole studies, without labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echoviewclip.datasets.intake.adapters.tables import Entry, rows, split_of
from echoviewclip.utils.errors import UserError


def read(source: Path, destination: Path) -> Iterator[Entry]:
    """`echo-record-list.csv`, which names `files/p10/p10012345/s90123456/*.dcm`; splits by patient."""
    for place, row in rows(source / "echo-record-list.csv", "subject_id", "study_id", "dicom_filepath"):
        _, files, path = row["dicom_filepath"].rpartition("files/")
        if not files or ".." in path:
            raise UserError(f"{place}: dicom_filepath is {row['dicom_filepath']!r}, expected files/…/*.dcm")
        patient = row["subject_id"]
        yield Entry(place, f"files/{path}", split_of(patient), patient=patient, more={"study": row["study_id"]})
