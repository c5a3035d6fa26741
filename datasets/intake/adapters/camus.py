"""CAMUS (Leclerc et al. 2019, doi.org/10.1109/TMI.2019.2900516): apical sequences with a grade of their quality.

They are NIfTI files, which are not videos: here they become prepared ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn import functional as F

from echoviewclip.datasets.intake.adapters.nifti import NiftiError, read_nifti
from echoviewclip.datasets.intake.adapters.tables import Entry, choose, split_of
from echoviewclip.datasets.intake.encode import write_mjpeg
from echoviewclip.datasets.intake.records import Options
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path
from echoviewclip.utils.progress import track

VIEWS = {"2CH": 1, "4CH": 0}  # in labels/ultracls.csv
GRADES = {"Poor": 0, "Medium": 1, "Good": 2}  # in labels/quality.csv
SUBGROUPS = {"training": "train", "validation": "val", "testing": "test"}


def read(source: Path, destination: Path) -> Iterator[Entry]:
    """`database_nifti/patientNNNN/*_half_sequence.nii.gz` and `Info_*.cfg` → `videos/patientNNNN_VIEW.avi`.

    Splits are the authors' (`database_split/subgroup_*.txt`) where they are there, else by patient. Videos that an
    earlier run wrote are not written again.
    """
    folders = sorted((source / "database_nifti").glob("patient*"))
    if not folders:
        raise UserError(f"{source / 'database_nifti'}: holds no folders patientNNNN (docs/data.md)")
    split_given = _splits(source / "database_split")
    for folder in track(folders, "camus", len(folders), "patients"):
        patient = folder.name
        for view, label in VIEWS.items():
            info_file = folder / f"Info_{view}.cfg"
            info = _read_info(info_file)
            place, grade = info.get("ImageQuality", (str(info_file), ""))
            quality = choose(place, "ImageQuality", grade, GRADES)
            rate = info.get("FrameRate", ("", ""))[1]
            path = f"videos/{patient}_{view}.avi"
            sequence = folder / f"{patient}_{view}_half_sequence.nii.gz"
            if sequence.exists() and not (destination / path).exists():
                _convert(sequence, destination / path, _number(*info["FrameRate"]) if rate else None)
            more = {"ef": info["EF"][1]} if "EF" in info else {}
            split = split_given.get(patient) or split_of(patient)
            yield Entry(str(info_file), path, split, label, quality, patient, more)


def _splits(folder: Path) -> dict[str, str]:
    files = [(folder / f"subgroup_{name}.txt", split) for name, split in SUBGROUPS.items()]
    return {patient: split for file, split in files if file.is_file() for patient in file.read_text().split()}


def _read_info(file: Path) -> dict[str, tuple[str, str]]:
    """Place and value of each `name: value` line."""
    if not file.is_file():
        raise UserError(f"{file}: no such file; it holds the ImageQuality of the sequence")
    lines = enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1)
    parts = ((number, line.partition(":")) for number, line in lines)
    return {name.strip(): (f"{file}:{number}", value.strip()) for number, (name, colon, value) in parts if colon}


def _number(place: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UserError(f"{place}: FrameRate is {value!r}, expected frames per second") from None


def _convert(sequence: Path, video: Path, fps: float | None) -> None:
    """Writes a sequence of grey levels in [0, 255] as a prepared video with square pixels."""
    try:
        volume, spacing = read_nifti(sequence)
    except NiftiError as error:
        raise UserError(str(error)) from None
    if volume.ndim != 3 or not 0 <= volume.min() <= volume.max() <= 255:
        raise UserError(f"{sequence}: expected grey levels in [0, 255] of [x, y, time], found {list(volume.shape)}")
    frames = torch.from_numpy(volume).permute(2, 1, 0)[:, None].round().to(torch.uint8)  # [T, 1, H, W]
    height, width = frames.shape[-2:]
    shape = _square_shape((height, width), (spacing[1], spacing[0]))
    with atomic_path(video) as temporary:
        small = (F.interpolate(frame[None], shape, mode="bilinear", antialias=True)[0] for frame in frames)
        write_mjpeg(temporary, (frame.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy() for frame in small), fps)


def _square_shape(shape: tuple[int, int], spacing: tuple[float, float]) -> tuple[int, int]:
    """Height and width of a picture with square pixels whose short side is at most that of prepared videos."""
    height, width = (pixels * size for pixels, size in zip(shape, spacing, strict=True))
    scale = min(Options.size / min(height, width), 1 / min(spacing))
    return max(1, round(height * scale)), max(1, round(width * scale))
