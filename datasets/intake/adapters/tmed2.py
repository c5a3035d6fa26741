"""TMED-2 (tmed.cs.tufts.edu): still images of views, with a diagnosis of aortic stenosis for the patient."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from echoviewclip.datasets.intake.adapters.tables import SPLITS, Entry, choose, rows, split_of
from echoviewclip.utils.errors import UserError

VIEWS = ("PLAX", "PSAX", "A4C", "A2C", "A4CorA2CorOther")  # in the order of labels/tmed2.csv
FOLD = "DEV479/TMED2_fold0_labeledpart.csv"  # the authors' first split of the fully labelled patients


def read(source: Path, destination: Path) -> Iterator[Entry]:
    """`labels_per_image.csv` and PNG stills in any folders; splits as in FOLD where it is there, else by patient."""
    folder_of = {path.name: path.parent.relative_to(source) for path in sorted(source.rglob("*.png"))}
    split_given = _splits(source / FOLD)
    labels = {view: number for number, view in enumerate(VIEWS)}
    for place, row in rows(source / "labels_per_image.csv", "query_key", "view_label"):
        image = row["query_key"]
        patient = re.match(r"(\d+)s\d+_", image)
        if not patient:
            raise UserError(f"{place}: query_key is {image!r}, expected PATIENTsSTUDY_IMAGE.png")
        label = choose(place, "view_label", row["view_label"], labels)
        path = (folder_of.get(image, Path()) / image).as_posix()
        split = split_given.get(image) or split_of(patient[1])
        more = {"diagnosis": row["diagnosis_label"]} if "diagnosis_label" in row else {}
        yield Entry(place, path, split, label, patient=patient[1], more=more)


def _splits(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    names = dict(zip(SPLITS, SPLITS, strict=True))
    table = rows(file, "query_key", "view_classifier_split")
    return {
        row["query_key"]: choose(place, "view_classifier_split", row["view_classifier_split"], names)
        for place, row in table
    }
