"""The EchoNet sets of Stanford University (echonet.github.io): Dynamic, Pediatric, LVH. AVI files, read as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echoviewclip.datasets.intake.adapters.tables import Entry, choose, rows
from echoviewclip.utils.errors import UserError

APICAL_4C, PARASTERNAL_LONG_AXIS = 0, 8  # in labels/ultracls.csv
PEDIATRIC_VIEWS = ("A4C", "PSAX")  # in the order of labels/echonet_pediatric.csv
# Ten folds for cross-validation; the last two are kept for validation and test.
PEDIATRIC_SPLITS = {str(fold): "train" for fold in range(8)} | {"8": "val", "9": "test"}
NAMED_SPLITS = {name: name.lower() for name in ("TRAIN", "VAL", "TEST", "train", "val", "test")}


def read_dynamic(source: Path, destination: Path) -> Iterator[Entry]:
    """EchoNet-Dynamic: `Videos/*.avi` and `FileList.csv`, one video a patient, all apical 4-chamber."""
    for place, row in rows(source / "FileList.csv", "FileName", "EF", "ESV", "EDV", "Split"):
        split = choose(place, "Split", row["Split"], NAMED_SPLITS)
        more = {column.lower(): row[column] for column in ("EF", "ESV", "EDV")}
        yield Entry(place, f"Videos/{_avi(row['FileName'])}", split, APICAL_4C, more=more)


def read_pediatric(source: Path, destination: Path) -> Iterator[Entry]:
    """EchoNet-Pediatric: `Videos/*.avi` and `FileList.csv` in each of the folders A4C and PSAX."""
    for label, view in enumerate(PEDIATRIC_VIEWS):
        for place, row in rows(source / view / "FileList.csv", "FileName", "EF", "Split"):
            split = choose(place, "Split", row["Split"], PEDIATRIC_SPLITS)
            yield Entry(place, f"{view}/Videos/{_avi(row['FileName'])}", split, label, more={"ef": row["EF"]})


def read_lvh(source: Path, destination: Path) -> Iterator[Entry]:
    """EchoNet-LVH: parasternal long axis videos in `Batch1` to `Batch4`, a row a measurement in `MeasurementsList.csv`.

    Of a measurement that was made several times the first counts.
    """
    folder_of = {path.name: path.parent.name for path in source.glob("Batch*/*.avi")}
    entries: dict[str, Entry] = {}
    needed = "HashedFileName", "Calc", "CalcValue", "split"
    for place, row in rows(source / "MeasurementsList.csv", *needed):
        file = _avi(row["HashedFileName"])
        split = choose(place, "split", row["split"], NAMED_SPLITS)
        path = f"{folder_of.get(file, 'Batch1')}/{file}"
        entry = entries.setdefault(file, Entry(place, path, split, PARASTERNAL_LONG_AXIS))
        if entry.split != split:
            raise UserError(f"{place}: {file} is in split {split}, but at {entry.place} in {entry.split}")
        entry.more.setdefault(row["Calc"].lower(), row["CalcValue"])
    yield from entries.values()


def _avi(name: str) -> str:
    return f"{name.removesuffix('.avi')}.avi"
