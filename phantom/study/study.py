"""The data set: patients, their videos, the split by patient, and the files of the Standard Folder format.

Every video is a function of (seed, patient, video), so any number of worker processes writes the same bytes.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TypedDict

import numpy as np

from echoviewclip.phantom.patient import Patient
from echoviewclip.phantom.probe.shot import Shot
from echoviewclip.phantom.probe.views import NEAR, VIEWS, View, view_names
from echoviewclip.phantom.quality import DEFECTS, Quality
from echoviewclip.phantom.study import files
from echoviewclip.phantom.study.outsiders import FAR
from echoviewclip.phantom.study.recording import dress, heart_video
from echoviewclip.phantom.study.screen import on_screen
from echoviewclip.phantom.variety.setting import Setting
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import write_text
from echoviewclip.utils.progress import track
from echoviewclip.utils.seeding import generator

OUTSIDERS = 6  # of each set, per patient outside the training split
STILL_RATE = 25.0  # frames a second that a file of one picture states
BEATS = (1.05, 1.45)  # how many beats a clip spans
CONTAINERS = {".avi": 0.94, ".mp4": 0.03, ".dcm": 0.03}
VARIETIES = ("plain", "world", "elsewhere")


@dataclass(frozen=True)
class Job:
    """One video to make: `kind` is a view's name, or an outsider's."""

    root: Path
    seed: int
    patient: int
    video: int
    name: str
    kind: str
    set: str  # train, val, test, ood_near or ood_far
    size: int
    frames: int
    folder: str = "videos"  # under root
    screen: bool = False  # on a wide screen (DICOM only)
    variety: str = "plain"  # one of VARIETIES


def splits(patients: int) -> list[str]:
    """The split of each patient: about two thirds train, two ninths val, one ninth test."""
    test = max(1, round(patients / 9))
    val = max(1, round(2 * patients / 9))
    return ["train"] * (patients - val - test) + ["val"] * val + ["test"] * test


def plan(root: Path, patients: int, seed: int, size: int, frames: int, variety: str = "plain") -> list[Job]:
    """All videos of the data set. Names say the patient and nothing else."""
    jobs = []
    names = view_names()
    for patient, split in enumerate(splits(patients)):
        rng = generator(seed, patient, 10_000)
        kinds = [(name, split) for name in names]
        if split != "train":
            kinds += [(str(kind), "ood_near") for kind in rng.permutation(list(NEAR))[:OUTSIDERS]]
            kinds += [(str(kind), "ood_far") for kind in rng.permutation(list(FAR))[:OUTSIDERS]]
        numbers = rng.permutation(len(kinds))
        suffixes = rng.choice(list(CONTAINERS), len(kinds), p=list(CONTAINERS.values()))
        for video, (kind, where) in enumerate(kinds):
            name = f"p{patient:03d}_v{numbers[video]:02d}{suffixes[video]}"
            jobs.append(Job(root, seed, patient, video, name, kind, where, size, frames, variety=variety))
    return jobs


def draw_patient(seed: int, number: int, variety: str) -> Patient:
    """Patient `number` of the data set `seed` of a variety (one of `VARIETIES`)."""
    if variety == "plain":
        return Patient.draw(seed, number)
    return Patient.draw_varied(seed, number, elsewhere=variety == "elsewhere")


@lru_cache(maxsize=4)
def _patient(seed: int, number: int, variety: str) -> Patient:
    return draw_patient(seed, number, variety)


def shoot(job: Job) -> tuple[np.ndarray, Shot]:
    """The frames [T, size, size, 3] uint8 of a job, and what they were made from."""
    patient = _patient(job.seed, job.patient, job.variety)
    rng = generator(job.seed, job.patient, job.video)
    setting = (
        None if patient.look is None else Setting.draw(patient.look, generator(job.seed, job.patient, job.video, 2))
    )
    beat = patient.heart.cycle.beat
    interval = rng.uniform(*BEATS) * beat / job.frames
    if setting is not None:
        interval = setting.beats * beat / job.frames
    count = 1 if setting is not None and setting.still else job.frames
    times = rng.uniform(0, 2 * beat) + np.arange(count) * interval
    quality = Quality.draw(rng)
    view = VIEWS.get(job.kind) or NEAR.get(job.kind) or View("apical_four", "far")
    shot = Shot.draw(patient, view, quality, job.size, times, rng, setting)
    frames = FAR[job.kind](shot, rng) if job.kind in FAR else heart_video(shot, rng)
    return dress(frames, shot, rng), shot


class Row(TypedDict):
    """A video's row of the annotations: all its latent values."""

    path: str
    split: str
    patient: int
    view: str
    label: int  # -1 for outsiders
    quality: int
    score: float
    defects: str
    mode: str
    heart_rate: float
    ejection_fraction: float
    end_diastolic_volume: float
    wall: float
    doppler_peak: float | str  # m/s, "" where there is no flow
    fps: float
    frames: int
    first_phase: float
    style: str
    gain: float
    seed: int


def make(job: Job) -> Row:
    """Writes one video and returns its row of the annotations."""
    frames, shot = shoot(job)
    path = job.root / job.folder / job.name
    fps = 1.0 / float(shot.times[1] - shot.times[0]) if len(frames) > 1 else STILL_RATE
    if path.suffix == ".dcm":
        rate = shot.patient.heart.cycle.heart_rate
        left = top = 0
        if job.screen:
            rng = generator(job.seed, job.patient, job.video, 1)
            frames, left, top = on_screen(frames, shot.patient.machine.style, rng)
        files.write_dicom(path, frames, fps, rate, shot.regions(left, top), (job.seed, job.patient, job.video))
    else:
        files.write_video(path, frames, fps)
    return describe(job, shot, fps)


def describe(job: Job, shot: Shot, fps: float) -> Row:
    """All latent values of a video."""
    heart, quality, view = shot.patient.heart, shot.quality, shot.view
    beat = np.linspace(0, heart.cycle.beat, 2000)
    speed = shot.patient.velocity(view.flow, beat) if view.flow else np.zeros(1)
    return {
        "path": job.name,
        "split": job.set,
        "patient": job.patient,
        "view": job.kind,
        "label": view_names().index(job.kind) if job.kind in VIEWS else -1,
        "quality": quality.grade,
        "score": round(quality.score, 4),
        "defects": ";".join(f"{name}={quality[name]:.4f}" for name in DEFECTS if quality[name]),
        "mode": view.mode,
        "heart_rate": round(heart.cycle.heart_rate, 1),
        "ejection_fraction": round(heart.ejection_fraction, 4),
        "end_diastolic_volume": round(heart.end_diastolic_volume, 1),
        "wall": round(heart.wall, 2),
        "doppler_peak": round(float(speed[np.abs(speed).argmax()]), 3) if view.flow else "",
        "fps": round(fps, 3),
        "frames": len(shot.times),
        "first_phase": round(float(shot.times[0] / heart.cycle.beat % 1), 4),
        "style": shot.patient.machine.style if shot.setting is None else shot.setting.look.tone.hue,
        "gain": round(shot.patient.gain, 2),
        "seed": job.seed,
    }


def make_all(jobs: list[Job], workers: int) -> list[Row]:
    """Makes the videos in `workers` processes; returns their rows in order."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return list(track(_rows(jobs, workers), "phantom", len(jobs)))


def _rows(jobs: list[Job], workers: int) -> Iterator[Row]:
    if workers <= 1:
        yield from map(make, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make, jobs, chunksize=4)


def check_sizes(patients: int, seed: int, size: int, frames: int, workers: int) -> None:
    """Raises UserError for what no phantom can be made of."""
    if patients < 3 or frames < 2 or size < 64 or size % 2 or workers < 1 or seed < 0:
        raise UserError(
            f"cannot make a phantom of {patients} patients, {frames} frames, {size} pixels, seed {seed}, {workers} "
            "workers: give at least 3 patients, 2 frames, an even size of at least 64, a seed of 0 or more, 1 worker"
        )


LISTED = ["path", "label", "patient", "quality", "score"]  # of a list that all stages read


def generate(
    root: Path, patients: int, seed: int, size: int, frames: int, workers: int, variety: str = "plain"
) -> Path:
    """Makes a data set in `root` and returns `root`.

    `patients` hearts with one video of each of the 38 views, near and far outsiders from validation and test
    patients only; frames are `size` pixels square, `frames` a video over one to one and a half heart beats, or, where
    `variety` (one of `VARIETIES`) is world, over any stretch of time or a single picture. The bytes
    depend on `seed`, the sizes and `variety` alone, not on `workers` (processes). Raises `UserError` for impossible
    sizes.
    """
    check_sizes(patients, seed, size, frames, workers)
    root = Path(root)
    (root / "videos").mkdir(parents=True, exist_ok=True)
    jobs = plan(root, patients, seed, size, frames, variety)
    rows = make_all(jobs, workers)
    _write_lists(root, rows)
    _write_study(root, rows)
    return root


def _write_lists(root: Path, rows: list[Row]) -> None:
    """The lists of each split, as text and as a table that names the patients too, and `annotations.csv`."""
    for split in ("train", "val", "test", "ood_near", "ood_far"):
        inside = [row for row in rows if row["split"] == split]
        outsiders = split.startswith("ood")
        write_text(root / f"{split}.txt", "".join(f"{row['path']} {row['label']}\n" for row in inside))
        columns = ["path", "patient", "machine"] if outsiders else [*LISTED, "machine", *DEFECTS]
        write_table(root / f"{split}.csv", [_listed(row) for row in inside], columns)
        if not outsiders:
            write_text(root / f"quality_{split}.txt", "".join(f"{row['path']} {row['quality']}\n" for row in inside))
    write_table(root / "annotations.csv", rows, list(rows[0]))


def _listed(row: Row) -> dict[str, object]:
    """A row of a list: of the annotations, with the machine and each defect in a column of its own."""
    severities = dict.fromkeys(DEFECTS, "0") | dict(part.split("=") for part in filter(None, row["defects"].split(";")))
    return {**row, "machine": row["style"], **severities}


def write_table(file: Path, rows: Sequence[Mapping[str, object]], columns: list[str]) -> None:
    """Writes these columns of the rows as CSV."""
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(file, table.getvalue())


def _write_study(root: Path, rows: list[Row]) -> None:
    """`study/`: one test patient's recordings as an archive holds them, nothing but numbers for names."""
    folder = root / "study"
    folder.mkdir(exist_ok=True)
    last = max(row["patient"] for row in rows)
    for number, row in enumerate(sorted((r for r in rows if r["patient"] == last), key=lambda r: r["path"])):
        shutil.copyfile(root / "videos" / row["path"], folder / f"{number:03d}{Path(row['path']).suffix}")
