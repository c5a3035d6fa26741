"""The echo phantom's promises: same seed, same bytes; splits by patient; files that open; labels that are true."""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pydicom
import pytest

from datasets.phantom import files, generate, view_names
from datasets.phantom.outsiders import FAR
from datasets.phantom.patient import Patient
from datasets.phantom.quality import BUDGET, Quality
from datasets.phantom.shot import Shot
from datasets.phantom.study import plan, shoot, splits
from datasets.phantom.views import NEAR, VIEWS
from utils.errors import UserError
from utils.seeding import generator

ROOT = Path(__file__).parents[1]
SIZE, FRAMES = 64, 4


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "annotations.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    return generate(tmp_path_factory.mktemp("one") / "phantom", 3, 3, SIZE, FRAMES, 1)


def test_same_seed_same_bytes_whatever_the_workers(phantom, tmp_path):
    assert digest(generate(tmp_path / "two", 3, 3, SIZE, FRAMES, 2)) == digest(phantom)


def test_another_seed_or_patient_is_another_video():
    jobs = [plan(Path("x"), 3, seed, SIZE, FRAMES)[k] for seed in (3, 4) for k in (0, 38)]
    videos = [shoot(job)[0] for job in jobs]
    for a, b in combinations(videos, 2):
        assert np.abs(a.astype(int) - b).mean() > 3  # grey levels


def test_views_are_the_published_labels_in_order():
    assert list(VIEWS) == view_names()
    assert len(VIEWS) == 38


def test_patients_never_cross_splits(phantom):
    seen: dict[str, set[str]] = {}
    for row in rows_of(phantom):
        seen.setdefault(row["split"], set()).add(row["patient"])
    assert not seen["train"] & seen["val"] | seen["train"] & seen["test"] | seen["val"] & seen["test"]
    assert not seen["train"] & (seen["ood_near"] | seen["ood_far"])


def test_demo_set_has_24_training_8_validation_patients_and_enough_outsiders():
    shares = splits(36)
    assert [shares.count(name) for name in ("train", "val", "test")] == [24, 8, 4]
    sets = [job.set for job in plan(Path("x"), 36, 0, SIZE, FRAMES)]
    assert sets.count("ood_near") >= 60 and sets.count("ood_far") >= 60
    assert sets.count("train") == 24 * 38


def test_lists_agree_with_annotations(phantom):
    rows = rows_of(phantom)
    for split in ("train", "val", "test", "ood_near", "ood_far"):
        lines = [line.rsplit(" ", 1) for line in (phantom / f"{split}.txt").read_text().splitlines()]
        assert lines == [[row["path"], row["label"]] for row in rows if row["split"] == split]
        assert all((phantom / "videos" / name).is_file() for name, _ in lines)
    for split in ("train", "val", "test"):
        lines = [line.rsplit(" ", 1) for line in (phantom / f"quality_{split}.txt").read_text().splitlines()]
        assert lines == [[row["path"], row["quality"]] for row in rows if row["split"] == split]
    assert all(row["label"] == "-1" for row in rows if row["split"].startswith("ood"))
    assert all(view_names()[int(row["label"])] == row["view"] for row in rows if not row["split"].startswith("ood"))


def test_names_say_the_patient_and_nothing_else():
    jobs = plan(Path("x"), 9, 0, SIZE, FRAMES)
    assert all(re.fullmatch(r"p\d{3}_v\d{2}\.(avi|mp4|dcm)", job.name) for job in jobs)
    numbers = {job.name[5:8] for job in jobs if job.kind == "Apical 4C 2D"}
    assert len(numbers) > 3  # the same view has another number in every study
    assert {Path(job.name).suffix for job in jobs} == {".avi", ".mp4", ".dcm"}


def test_every_file_opens_with_its_frames(phantom):
    rows = rows_of(phantom)
    for row in rows:
        path = phantom / "videos" / row["path"]
        if path.suffix == ".dcm":
            frames = pydicom.dcmread(path).pixel_array
        else:
            with av.open(str(path)) as container:
                frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
                assert float(container.streams.video[0].average_rate) == pytest.approx(float(row["fps"]), rel=0.01)
        assert frames.shape == (FRAMES, SIZE, SIZE, 3)
        assert frames.max() > 100


def shot_of(view: str, defects: dict[str, float] | None = None, size: int = 128, patient: int = 1) -> Shot:
    person = Patient.draw(0, patient)
    times = 0.3 + np.arange(8) * 1.2 * person.heart.cycle.beat / 8
    return Shot.draw(person, {**VIEWS, **NEAR}[view], Quality(defects or {}), size, times, generator(0, 7))


def test_dicom_cine_says_what_it_shows_and_nobody_s_name(tmp_path):
    shot = shot_of("Apical 4C MV PW")
    frames = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8) // 8 * 8
    files.write_dicom(tmp_path / "a.dcm", frames, 20.0, 71.6, shot.regions(), (0, 5, 12))
    files.write_dicom(tmp_path / "b.dcm", frames, 20.0, 71.6, shot.regions(), (0, 5, 12))
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    cine = pydicom.dcmread(tmp_path / "a.dcm")
    assert cine.SOPClassUID == "1.2.840.10008.5.1.4.1.1.3.1"  # Ultrasound Multi-frame Image Storage
    assert cine.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"  # JPEG baseline
    assert (float(cine.FrameTime), cine.HeartRate, cine.NumberOfFrames) == (50.0, 72, 3)
    assert (str(cine.PatientName), cine.PatientID, cine.PatientBirthDate) == ("Phantom^005", "PHANTOM005", "")
    sector, strip = cine.SequenceOfUltrasoundRegions
    assert (sector.RegionSpatialFormat, sector.PhysicalUnitsXDirection) == (1, 3)  # 2-D, cm
    assert (strip.RegionSpatialFormat, strip.RegionDataType) == (3, 3)  # spectral, pulsed wave
    assert (strip.PhysicalUnitsXDirection, strip.PhysicalUnitsYDirection) == (4, 7)  # s, cm/s
    rows = strip.RegionLocationMaxY1 - strip.RegionLocationMinY0 + 1
    assert -rows * strip.PhysicalDeltaY == pytest.approx(100 * (shot.scale[1] - shot.scale[0]))


def test_study_folder_is_one_test_patient_under_numbers(phantom):
    rows = [row for row in rows_of(phantom) if row["patient"] == "2"]
    names = sorted(path.name for path in (phantom / "study").iterdir())
    assert len(names) == len(rows)
    assert all(re.fullmatch(r"\d{3}\.(avi|mp4|dcm)", name) for name in names)


def test_score_grade_and_defects_agree(phantom):
    for row in rows_of(phantom):
        defects = dict(part.split("=") for part in row["defects"].split(";"))
        score = 1 - sum(map(float, defects.values())) / BUDGET
        assert float(row["score"]) == pytest.approx(score, abs=1e-3)
        assert int(row["quality"]) == (0 if score < 0.4 else 1 if score < 0.7 else 2)


def test_grades_fall_as_stated():
    rng = generator(1)
    grades = np.bincount([Quality.draw(rng).grade for _ in range(3000)], minlength=3) / 3000
    assert grades == pytest.approx([0.25, 0.35, 0.40], abs=0.03)


def test_every_outsider_kind_is_made():
    kinds = {job.kind for job in plan(Path("x"), 18, 0, SIZE, FRAMES)}
    assert set(NEAR) | set(FAR) | set(VIEWS) == kinds


@pytest.mark.parametrize(
    "sizes", [{"patients": 2}, {"frames": 1}, {"size": 63}, {"size": 32}, {"workers": 0}, {"seed": -1}]
)
def test_impossible_sizes_are_refused(sizes, tmp_path):
    asked = {"patients": 4, "seed": 0, "size": 64, "frames": 4, "workers": 1} | sizes
    with pytest.raises(UserError, match="give at least 3 patients, 2 frames, an even size of at least 64"):
        generate(tmp_path / "never", **asked)
    assert not (tmp_path / "never").exists()


def test_command_without_work_says_what_to_give():
    done = subprocess.run([sys.executable, "tools/phantom.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: nothing to make: give the folder DST, or --sheet FILE for the contact sheet alone\n"


def test_sheet_alone_is_a_picture(tmp_path):
    command = [sys.executable, "tools/phantom.py", "--sheet", str(tmp_path / "sheet.png"), "--size", "64"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "sheet.png")
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
