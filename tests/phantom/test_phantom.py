"""The echo phantom's promises: same seed, same bytes; splits by patient; files that open; labels that are true."""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pydicom
import pytest

from echoviewclip.datasets.video.open import DECODERS, open_video
from echoviewclip.phantom import generate, view_names
from echoviewclip.phantom.patient import Patient
from echoviewclip.phantom.probe.shot import STRIPS, Shot
from echoviewclip.phantom.probe.views import NEAR, VIEWS
from echoviewclip.phantom.quality import BUDGET, DEFECTS, Quality
from echoviewclip.phantom.study import files
from echoviewclip.phantom.study.outsiders import FAR
from echoviewclip.phantom.study.recording import heart_video
from echoviewclip.phantom.study.study import plan, shoot, splits
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.seeding import generator

ROOT = Path(__file__).parents[2]
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
    for split, columns in {
        "val": ("path", "label", "patient", "quality", "score", "machine", *DEFECTS),
        "ood_far": ("path", "patient", "machine"),
    }.items():
        header, *lines = (phantom / f"{split}.csv").read_text().splitlines()
        assert tuple(header.split(",")) == columns
        rows_of_split = [row | {"machine": row["style"]} for row in rows if row["split"] == split]
        written = [line.split(",") for line in lines]
        known = [name for name in columns if name not in DEFECTS]
        assert [line[: len(known)] for line in written] == [[row[name] for name in known] for row in rows_of_split]
        for row, line in zip(rows_of_split, written, strict=True):
            severities = [
                f"{name}={value}" for name, value in zip(DEFECTS, line[len(known) :], strict=False) if value != "0"
            ]
            assert row["split"].startswith("ood") or ";".join(severities) == row["defects"]
    assert all(view_names()[int(row["label"])] == row["view"] for row in rows if not row["split"].startswith("ood"))


def test_names_say_the_patient_and_nothing_else():
    jobs = plan(Path("x"), 9, 0, SIZE, FRAMES)
    assert all(re.fullmatch(r"p\d{3}_v\d{2}\.(avi|mp4|dcm)", job.name) for job in jobs)
    numbers = {job.name[5:8] for job in jobs if job.kind == "Apical 4C 2D"}
    assert len(numbers) > 3  # the same view has another number in every study
    assert {Path(job.name).suffix for job in jobs} == {".avi", ".mp4", ".dcm"}


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_reader_opens_every_file(phantom, decoder):
    if decoder != "pyav":
        pytest.importorskip(decoder)
    rows = rows_of(phantom)
    assert {Path(row["path"]).suffix for row in rows} == {".avi", ".mp4", ".dcm"}
    for row in rows:
        with open_video(phantom / "videos" / row["path"], decoder) as video:
            assert (len(video), video.height, video.width) == (FRAMES, SIZE, SIZE)
            assert video.fps == pytest.approx(float(row["fps"]), rel=0.01)
            frames = video.frames(range(FRAMES))
            if row["path"].endswith(".dcm"):
                assert video.heart_rate == round(float(row["heart_rate"]))
                assert len(video.regions) == (2 if row["mode"] in STRIPS else 1)
        assert frames.shape == (FRAMES, 3, SIZE, SIZE)
        assert frames.max() > 100


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".dcm"])
def test_files_keep_the_picture(tmp_path, suffix):
    """What compression changes stays below what an eye would see: two grey levels on average."""
    shot = shot_of("Apical 4C 2D")
    frames, path = heart_video(shot, generator(0, 8)), tmp_path / f"a{suffix}"
    if suffix == ".dcm":
        files.write_dicom(path, frames, 20.0, 70.0, shot.regions(), (0, 5, 12))
    else:
        files.write_video(path, frames, 20.0)
    with open_video(path) as video:
        read = video.frames(range(len(frames))).permute(0, 2, 3, 1).numpy()
    assert np.abs(read.astype(int) - frames).mean() < 2.0


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


@pytest.mark.slow
def test_pictures_alone_make_no_data_set(tmp_path):
    command = [sys.executable, "tools/phantom.py", "--size", "64"]
    command += ["--sheet", str(tmp_path / "sheet.png"), "--figures", str(tmp_path / "figures")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "sheet.png"), str(tmp_path / "figures")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "sheet.png"]
    made = {path.name for path in (tmp_path / "figures").iterdir()}
    shown = set(re.findall(r"images/(phantom_\w+\.png)", (ROOT / "docs" / "phantom.md").read_text(encoding="utf-8")))
    assert made == shown
