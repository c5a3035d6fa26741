"""Preparing hospital files: what is painted black, what leaves no trace, what a killed run leaves to do."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage
from scipy import ndimage

from datasets import prepare as module
from datasets.annotations import read_annotations
from datasets.check import check_annotations, inspect
from datasets.prepare import MANIFEST, Options, guess_modality, prepare, write_mjpeg
from datasets.regions import Region
from datasets.sector import MOSTLY_IMAGE, image_mask
from datasets.video import open_video
from tests.media import numbered_frames, write_video
from tools import prepare as command
from utils.errors import UserError, exit_code

HEIGHT, WIDTH = 240, 320


def sector(height: int = HEIGHT, width: int = WIDTH, top: int = 16) -> np.ndarray:
    """A sector with its apex at the top, bool [H, W]."""
    y, x = np.mgrid[:height, :width]
    return (np.hypot(y - top, x - width / 2) < 0.85 * height) & (np.abs(x - width / 2) < 0.8 * (y - top))


def speckle(frames: int, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Grain that moves over a still anatomy, uint8 [T, H, W]."""
    rng = np.random.default_rng(seed)
    still = ndimage.gaussian_filter(rng.normal(size=(height, width)), 12)
    moving = ndimage.gaussian_filter(rng.normal(size=(frames, height, width)), (1, 2, 2))
    return (110 + 40 * still / still.std() + 30 * moving / moving.std()).clip(20, 255).astype(np.uint8)


def screen(frames: int = 12, moves: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A machine's screen uint8 [T, H, W, 3] with text, where its image is, and where its text is (bool [H, W])."""
    inside = sector()
    grain = speckle(frames)
    picture = np.where(inside, grain if moves else grain[:1].repeat(frames, 0), 0)
    text = np.zeros_like(inside)
    letters = np.kron(np.random.default_rng(1).random((4, 30)) > 0.4, np.ones((2, 3), bool))
    text[4:12, 4:94] = text[224:232, 220:310] = letters
    return np.where(text, 230, picture)[..., None].repeat(3, -1).astype(np.uint8), inside, text


def write_dicom(path: Path, frames: np.ndarray, regions: list[dict] = (), **elements: object) -> Path:
    """A multi-frame ultrasound object with patient data; `regions` hold left, top, right, bottom (inclusive)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4711"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Doe^Jane", "MRN-0815", "19561204"
    dataset.InstitutionName, dataset.StudyDate = "St Elsewhere", "20240229"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = len(frames), *frames.shape[1:3]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.FrameTime, dataset.HeartRate = "40", "72"
    dataset.SequenceOfUltrasoundRegions = [_region(**region) for region in regions]
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.PixelData = frames.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _region(left: int, top: int, right: int, bottom: int, spatial: int = 1, data: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial, data, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    return item


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def run(source, tmp_path):
    """Prepares the source; returns the folder and its manifest."""

    def run(stills=False, keep_names=True, size=256, workers=1, of=None, to="done"):
        prepare(of or source, tmp_path / to, Options(size, stills, keep_names), workers)
        return tmp_path / to, manifest(tmp_path / to)

    return run


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def pixels(path: Path) -> np.ndarray:
    """Brightness of a video, float [T, H, W]."""
    with open_video(path) as video:
        return video.frames(range(len(video))).float().mean(1).numpy()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ── What is painted black ─────────────────────────────────────────────────────────────────────────────────────────────


def assert_masked(frames: np.ndarray, inside: np.ndarray, text: np.ndarray) -> None:
    """Text is gone, the image is as it was."""
    assert frames[:, ndimage.binary_erosion(text)].max(initial=0) < 30
    assert frames[:, ~ndimage.binary_dilation(inside, iterations=8)].mean() < 1
    assert (frames[:, ndimage.binary_erosion(inside, iterations=4)] > 8).mean() > 0.98


def test_without_tags_motion_and_shape_find_the_image(source, run):
    frames, inside, text = screen()
    write_video(source / "a.mp4", frames, codec="libx264", options={"crf": "15"})
    folder, (row,) = run()
    assert_masked(pixels(folder / "videos/a.avi"), inside, text)
    assert row["warnings"] == ""
    assert float(row["masked"]) == pytest.approx(1 - inside.mean(), abs=0.05)


def test_region_tags_say_what_is_image(source, run):
    frames, inside, _ = screen()
    frames[:, 20:60, 10:60] = np.random.default_rng(3).integers(0, 255, (12, 40, 50, 1))  # moves, but is a colour bar
    box = {"left": 30, "top": 16, "right": 289, "bottom": 221}
    write_dicom(
        source / "a.dcm", frames, [box, {"left": 0, "top": 20, "right": 29, "bottom": 60, "data": 0x0E, "spatial": 5}]
    )
    folder, (row,) = run()
    shown = pixels(folder / "videos/a.avi")
    assert shown[:, :, :28].max() < 30 and shown[:, :14].max() < 30 and shown[:, 224:].max() < 30
    assert (shown[:, ndimage.binary_erosion(inside, iterations=4)] > 8).mean() > 0.98
    assert row["regions"] == "2d/tissue@30,16,290,222 graphics/color bar@0,20,30,61"


def test_text_in_the_corner_of_a_tagged_box_goes_too(source, run):
    frames, inside, text = screen()
    write_dicom(source / "a.dcm", frames, [{"left": 0, "top": 0, "right": WIDTH - 1, "bottom": HEIGHT - 1}])
    folder, _ = run()
    assert_masked(pixels(folder / "videos/a.avi"), inside, text)


def test_a_tagged_strip_is_kept_whole_although_it_stands_still(source, run):
    frames, _, _ = screen(moves=False)
    frames[:, 180:230] = np.linspace(0, 255, WIDTH, dtype=np.uint8)[:, None]
    strip = {"left": 0, "top": 180, "right": WIDTH - 1, "bottom": 229, "spatial": 3, "data": 3}
    write_dicom(source / "a.dcm", frames, [strip])
    folder, (row,) = run()
    shown = pixels(folder / "videos/a.avi")
    np.testing.assert_allclose(shown[0, 205], np.linspace(0, 255, WIDTH), atol=6)
    assert shown[:, :170].max() < 30
    assert row["modality"] == "pw"


def test_tags_that_do_not_fit_are_not_used(source, run):
    frames, inside, text = screen()
    write_dicom(source / "a.dcm", frames, [{"left": 0, "top": 0, "right": 1023, "bottom": 767}])
    folder, (row,) = run()
    assert row["warnings"] == "the region tags do not fit the picture and were not used"
    assert_masked(pixels(folder / "videos/a.avi"), inside, text)


@pytest.mark.parametrize(
    "frames",
    {
        "no black rows": speckle(12)[..., None].repeat(3, -1),
        "black": np.zeros((8, 120, 160, 3), np.uint8),
        "white": np.full((8, 120, 160, 3), 255, np.uint8),
        "one frame": screen(1)[0],
        "two frames": screen(2)[0],
        "still": screen(6, moves=False)[0],
        "only text": np.where(screen()[2][..., None], 230, 0).astype(np.uint8)[None].repeat(8, 0).repeat(3, -1),
        "noise": np.random.default_rng(0).integers(0, 256, (8, 200, 150, 3), np.uint8),
        "flicker": np.arange(8, dtype=np.uint8)[:, None, None, None] * np.full((1, 90, 90, 3), 30, np.uint8),
    }.items(),
    ids=lambda item: item[0],
)
def test_the_image_is_never_masked_away(frames, source, run):
    _, frames = frames
    mask, confidence = image_mask(frames)
    write_video(source / "a.avi", frames, codec="rawvideo", pixel_format="bgr24")
    folder, (row,) = run(stills=True)
    shown = pixels(folder / "videos/a.avi")
    if confidence < MOSTLY_IMAGE:
        assert "was not found for sure; nothing was painted black, burned-in text may remain" in row["warnings"]
        assert float(row["masked"]) == 0
        np.testing.assert_allclose(shown.mean(), frames.mean(), atol=2)
    else:
        lit = (frames.max((0, 3)) > 60) & ~(screen()[2] if mask.shape == (HEIGHT, WIDTH) else False)
        assert mask[lit].mean() > 0.95
        assert (shown[:, ndimage.binary_erosion(lit, iterations=2)].max(0) > 30).mean() > 0.95


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5), (16, 16), (8, 300), (300, 8), (63, 97)])
def test_tiny_and_odd_pictures_keep_their_size(shape, source, run):
    frames = np.random.default_rng(0).integers(0, 256, (4, *shape, 3), np.uint8)
    np.save(source / "a", frames)
    os.rename(source / "a.npy", source / "a.avi")
    folder, (row,) = run()
    assert (int(row["height"]), int(row["width"])) == pixels(folder / "videos/a.avi").shape[1:] == shape


# ── Patient data ──────────────────────────────────────────────────────────────────────────────────────────────────────

SECRETS = ("Doe", "Jane", "MRN", "0815", "19561204", "Elsewhere", "20240229", "1.2.3.4711", "IM_0001")


def test_no_patient_data_leaves_the_private_folder(source, run, tmp_path):
    write_dicom(source / "Doe_Jane/2024/IM_0001.dcm", screen()[0])
    write_dicom(source / "Doe_Jane/2024/IM_0002", screen()[0], PatientName="", PatientID="")
    write_video(source / "Jane MRN-0815.mp4", screen()[0], codec="libx264")
    (source / "Jane.avi").write_bytes(b"Doe")  # a fault
    folder, rows = run(keep_names=False)
    assert len(rows) == 3
    for name, data in content(folder).items():
        for secret in SECRETS:
            assert secret.lower() not in name.lower()
            assert secret.lower().encode() not in data.lower()
    assert {Path(name).suffix for name in content(folder)} == {".avi", ".csv"}
    assert sorted(content(tmp_path / "done-private")) == ["done.jsonl", "names.csv", "salt", "settings.json"]


def test_names_and_patients_are_salted_hashes_and_the_map_stands_apart(source, run, tmp_path):
    for number in range(3):
        write_dicom(source / f"{number}.dcm", screen()[0], PatientID="A" if number < 2 else "B")
    _, rows = run(keep_names=False)
    _, others = run(keep_names=False, to="again")
    patients = {row["name"]: row["patient"] for row in rows}
    assert len(set(patients)) == 3 and len(set(patients.values())) == 2
    assert not set(patients) & {row["name"] for row in others}  # another salt
    assert not set(patients.values()) & {row["patient"] for row in others}
    assert all(row["source"] == "" for row in rows)
    with (tmp_path / "done-private/names.csv").open(newline="") as lines:
        names = {row["source"]: row["name"] for row in csv.DictReader(lines)}
    assert set(names) == {"0.dcm", "1.dcm", "2.dcm"} and set(names.values()) == set(patients)
    assert patients[names["0.dcm"]] == patients[names["1.dcm"]] != patients[names["2.dcm"]]
    assert (tmp_path / "done-private/salt").stat().st_mode & 0o077 == 0


def test_names_are_kept_on_demand_and_stay_different(source, run):
    for name in ("x/a.mp4", "x/a.avi", "x/b.mov", "c.mp4"):
        (source / "x").mkdir(exist_ok=True)
        write_video(source / name, numbered_frames(3), codec="libx264" if name[-3:] != "avi" else "mjpeg")
    folder, rows = run(keep_names=True)
    expected = {"x/a.mp4": "x/a.mp4.avi", "x/a.avi": "x/a.avi.avi", "x/b.mov": "x/b.avi", "c.mp4": "c.avi"}
    assert {row["source"]: row["name"] for row in rows} == expected
    assert set(content(folder / "videos")) == set(expected.values())


# ── What it writes ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_manifest_describes_each_video(source, run):
    frames = screen(13)[0]
    write_dicom(source / "a.dcm", frames, [{"left": 30, "top": 16, "right": 289, "bottom": 221}])
    folder, (row,) = run(size=120)
    assert (
        list(row)
        == MANIFEST
        == [
            *("source", "name", "patient", "format", "width", "height", "source_width", "source_height"),
            *("frames", "fps", "heart_rate", "modality", "regions", "masked", "warnings"),
        ]
    )
    expected = {"source": "a.dcm", "name": "a.avi", "format": "dicom", "width": "160", "height": "120"}
    expected |= {"source_width": "320", "source_height": "240", "frames": "13", "fps": "25", "heart_rate": "72"}
    expected |= {"modality": "2d", "regions": "2d/tissue@30,16,290,222", "warnings": ""}
    assert {key: row[key] for key in expected} == expected
    with open_video(folder / "videos/a.avi") as video:
        assert (len(video), video.height, video.width, video.fps, video.heart_rate) == (13, 120, 160, 25, 72)


def test_small_videos_are_not_enlarged_and_every_frame_is_kept_in_order(source, run):
    frames = speckle(30, 64, 96)
    write_video(source / "a.mp4", frames[..., None].repeat(3, -1), codec="libx264", options={"crf": "10"}, fps=50)
    folder, (row,) = run()
    errors = np.abs(pixels(folder / "videos/a.avi")[:, None] - frames).mean((2, 3))
    assert errors.argmin(1).tolist() == list(range(30))
    assert errors.min(1).max() < 4
    assert row["fps"] == "50"


def test_a_rate_that_is_not_known_is_said_to_be_made_up(source, run):
    write_dicom(source / "a.dcm", screen()[0], FrameTime=None)
    _, (row,) = run()
    assert (row["fps"], row["warnings"]) == ("", "the frame rate is not known; the file says 30")


def test_prepared_videos_are_intra_only_and_the_same_bytes_each_time(tmp_path):
    frames = numbered_frames(6)
    for name in ("a.avi", "b.avi"):
        assert write_mjpeg(tmp_path / name, frames, 29.97, 61.5) == (64, 96)
    assert (tmp_path / "a.avi").read_bytes() == (tmp_path / "b.avi").read_bytes()
    with open_video(tmp_path / "a.avi") as video:
        assert video.intra_only
        assert (video.fps, video.heart_rate) == (pytest.approx(29.97, abs=1e-3), 61.5)


def test_grey_stays_grey_and_colours_stay_what_they_are(tmp_path):
    levels = np.linspace(0, 255, 17).astype(np.uint8)
    frames = np.tile(levels.repeat(16)[:, None], (1, 64, 1, 3))
    write_mjpeg(tmp_path / "a.avi", frames)
    with open_video(tmp_path / "a.avi") as video:
        (shown,) = video.frames([0]).permute(0, 2, 3, 1).numpy()
    inner = shown.reshape(64, 17, 16, 3)[:, :, 4:12]
    assert (inner == levels[:, None, None]).all()
    for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 30)):
        write_mjpeg(tmp_path / "b.avi", np.tile(np.array(color, np.uint8), (1, 63, 65, 1)))
        with open_video(tmp_path / "b.avi") as video:
            np.testing.assert_allclose(video.frames([0])[0, :, 30, 30], color, atol=1)


@pytest.mark.parametrize(
    ("regions", "color", "expected"),
    [
        ([], False, "2d"),
        ([], True, "color"),
        ([("2d", "tissue")], False, "2d"),
        ([("2d", "tissue"), ("2d", "color flow")], False, "color"),
        ([("2d", "color flow"), ("spectral", "cw")], True, "cw"),
        ([("2d", "tissue"), ("spectral", "pw")], False, "pw"),
        ([("2d", "tissue"), ("m-mode", "tissue")], False, "m-mode"),
    ],
)
def test_the_modality_is_guessed(regions, color, expected):
    frames = screen(3)[0]
    if color:
        frames[:, 100:130, 150:180] = (200, 20, 10)
    tags = [Region(0, 0, 9, 9, *kinds) for kinds in regions]
    assert guess_modality(frames, sector(), tags) == expected


# ── Runs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def seven(source):
    """Seven small videos."""
    for number in range(7):
        write_video(source / f"{number}.mp4", numbered_frames(4 + number, seed=number), codec="libx264")
    return source


def prepare_until_killed(source: Path, destination: Path, after: int) -> None:
    """Runs in a process of its own that is gone, without any clean-up, in the middle of video `after`."""
    if not (child := os.fork()):
        convert, done = module.convert, []

        def convert_some(root, name, destination, target, options, salt):
            if len(done) == after:
                (destination / "videos" / f".{target}.half.avi").write_bytes(b"RIFF")
                with (destination.parent / f"{destination.name}-private/done.jsonl").open("a") as journal:
                    journal.write('{"source": "3.mp4", "na')
                os._exit(9)
            done.append(name)
            return convert(root, name, destination, target, options, salt)

        module.convert = convert_some
        prepare(source, destination, Options(keep_names=True), 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize(("after", "workers"), [(0, 1), (3, 1), (6, 2)])
def test_a_killed_run_goes_on_and_ends_with_the_same_files(seven, run, tmp_path, monkeypatch, after, workers):
    whole, _ = run(to="whole")
    prepare_until_killed(seven, tmp_path / "killed", after)
    assert not (tmp_path / "killed/manifest.csv").exists()
    converted = []
    if workers == 1:
        convert = module.convert
        monkeypatch.setattr(module, "convert", lambda *job: converted.append(job[1]) or convert(*job))
    killed, _ = run(to="killed", workers=workers)
    assert content(killed) == content(whole)
    assert converted == [] or converted == [f"{number}.mp4" for number in range(after, 7)]


def test_the_number_of_workers_changes_nothing(seven, run):
    assert content(run(workers=1, to="one")[0]) == content(run(workers=2, to="two")[0])


def test_a_finished_run_does_nothing_but_what_was_deleted(seven, run, tmp_path, monkeypatch):
    folder, _ = run()
    before = content(folder)
    (folder / "videos/5.avi").unlink()
    convert, converted = module.convert, []
    monkeypatch.setattr(module, "convert", lambda *job: converted.append(job[1]) or convert(*job))
    run()
    run()
    assert converted == ["5.mp4"]
    assert content(folder) == before
    assert len((tmp_path / "done-private/names.csv").read_text().splitlines()) == 8


def test_a_folder_belongs_to_one_source_and_one_set_of_options(seven, run, tmp_path):
    run()
    (tmp_path / "other").mkdir()
    write_video(tmp_path / "other/a.mp4", numbered_frames(3), codec="libx264")
    for changes in ({"size": 128}, {"stills": True}, {"of": tmp_path / "other"}):
        with pytest.raises(UserError, match=r"settings.json: an earlier run had another source or other options"):
            run(**changes)


def test_a_bad_file_is_reported_skipped_and_tried_again(seven, tmp_path, monkeypatch, capsys):
    good = (seven / "2.mp4").read_bytes()
    (seven / "2.mp4").write_bytes(good[: len(good) // 2])
    (seven / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 50)
    (seven / "empty.avi").touch()
    monkeypatch.setattr(
        sys, "argv", ["prepare.py", str(seven), str(tmp_path / "done"), "--keep-names", "--workers", "1"]
    )
    assert exit_code(command.main) == 1
    shown = capsys.readouterr()
    faults = [line for line in shown.err.splitlines() if line.startswith(str(seven))]
    assert [line.split(": ")[0] for line in faults] == [f"{seven}/{name}" for name in ("2.mp4", "bad.dcm", "empty.avi")]
    summary = shown.out.splitlines()[0]
    assert summary.startswith("6 videos prepared, 0 still images left out, ") and summary.endswith(", 3 unreadable")
    assert len(manifest(tmp_path / "done")) == 6
    (seven / "2.mp4").write_bytes(good)
    (seven / "bad.dcm").unlink()
    (seven / "empty.avi").unlink()
    assert exit_code(command.main) == 0
    assert len(manifest(tmp_path / "done")) == 7


def test_mistakes_of_the_user(tmp_path, monkeypatch, capsys):
    (tmp_path / "nothing").mkdir()
    for source, options, message in (
        (tmp_path / "gone", [], "gone: no such folder or list of videos (SRC)"),
        (tmp_path / "nothing", [], "nothing: holds no DICOM or video files (SRC)"),
        (tmp_path / "nothing", ["--size", "8"], "--size must be at least 16, found 8"),
    ):
        monkeypatch.setattr(sys, "argv", ["prepare.py", str(source), str(tmp_path / "done"), *options])
        assert exit_code(command.main) == 2
        assert message in capsys.readouterr().err


def test_stills_are_kept_only_on_demand(source, run):
    write_dicom(source / "still.dcm", screen(1)[0])
    write_video(source / "one.avi", numbered_frames(1))
    write_video(source / "two.avi", numbered_frames(2))
    assert [row["name"] for row in run()[1]] == ["two.avi"]
    folder, rows = run(stills=True, to="all")
    assert [row["name"] for row in rows] == ["one.avi", "still.avi", "two.avi"]
    assert len(pixels(folder / "videos/still.avi")) == 1


def test_files_are_found_by_content_where_their_names_say_nothing(source, run):
    write_dicom(source / "IM_0001", screen()[0])
    write_dicom(source / "1.2.840.113619", screen()[0])
    write_dicom(source / "DICOMDIR", screen()[0])
    (source / "notes").write_text("not a video")
    (source / "readme.txt").write_text("not a video")
    (source / "link").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    assert {row["source"] for row in run()[1]} == {"IM_0001", "1.2.840.113619"}


def test_names_that_are_not_utf8_and_a_destination_inside_the_source(source, tmp_path):
    write_video(source / "a.mp4", numbered_frames(3), codec="libx264")
    os.rename(os.fsencode(source) + b"/a.mp4", os.fsencode(source) + b'/\xdcbersicht, "1".mp4')
    for _ in range(2):
        (record,) = prepare(source, source / "done", Options(), 1)
        assert record.fault == ""
        assert os.fsencode(record.source) == b'\xdcbersicht, "1".mp4'
    assert len(manifest(source / "done")) == 1


# ── Lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_list_is_prepared_and_comes_out_with_the_new_names(seven, tmp_path):
    (seven / "train.txt").write_text("0.mp4 3\n1.mp4 0\n0.mp4 3\n2.mp4\ngone.mp4 1\n")
    records = prepare(seven / "train.txt", tmp_path / "done", Options(), 1)
    assert [record.source for record in records if record.fault] == ["gone.mp4"]
    names = {record.source: record.name for record in records}
    listed = read_annotations(tmp_path / "done/train.txt")
    assert [listed.name(i) for i in range(4)] == [names[f"{number}.mp4"] for number in (0, 1, 0, 2)]
    assert listed.labels.tolist() == [3, 0, 3, -1]
    assert len(list((tmp_path / "done/videos").iterdir())) == 3


def test_further_lists_of_the_same_videos_share_the_work(seven, tmp_path, monkeypatch):
    (seven / "train.txt").write_text("0.mp4 0\n1.mp4 0\n")
    (seven / "val.txt").write_text("1.mp4 1\n2.mp4 1\n")
    convert, converted = module.convert, []
    monkeypatch.setattr(module, "convert", lambda *job: converted.append(job[1]) or convert(*job))
    for name in ("train.txt", "val.txt"):
        prepare(seven / name, tmp_path / "done", Options(), 1)
    assert converted == ["0.mp4", "1.mp4", "2.mp4"]
    assert len(manifest(tmp_path / "done")) == 3
    assert check_annotations(*(read_annotations(tmp_path / "done" / name) for name in ("train.txt", "val.txt"))) == [
        f"{tmp_path}/done/val.txt:1: {read_annotations(tmp_path / 'done/val.txt').name(0)} "
        f"is for training and validation; first at {tmp_path}/done/train.txt:2"
    ]


def test_tables_keep_every_target_and_hash_the_patients(seven, tmp_path):
    (seven / "all.csv").write_text(
        "path,ef,patient,label,quality,score\n0.mp4,55,Jane Doe,3,1,0.5\n1.mp4,60,Jane Doe,0,,\n2.mp4,61,Max,,2,\n"
    )
    tree = [{"filename": f"{k}.mp4", "label": [0, 2], "patient": "Max"} for k in range(2)]
    (seven / "several.json").write_text(json.dumps(tree))
    for name in ("all.csv", "several.json"):
        prepare(seven / name, tmp_path / "done", Options(), 1)
    file = tmp_path / "done/all.csv"
    assert read_annotations(file).labels.tolist() == [3, 0, -1]
    assert read_annotations(file, target="quality").labels.tolist() == [1, -1, 2]
    assert read_annotations(file, target="score").scores[0] == 0.5
    assert read_annotations(file).patients.tolist() == [0, 0, 1]
    several = read_annotations(tmp_path / "done/several.csv", target="multilabel")
    assert several.labels.tolist() == [[1, 0, 1]] * 2
    assert several.patient(0) == read_annotations(file).patient(2) != ""
    written = file.read_text() + (tmp_path / "done/several.csv").read_text()
    assert "Jane" not in written and "Max" not in written and "mp4" not in written


# ── Files that others made ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_examples_of_pydicom_go_through_prepare_and_check(source, run):
    names = ("examples_ybr_color.dcm", "examples_rgb_color.dcm", "examples_palette.dcm", "examples_jpeg2k.dcm")
    for name in names:
        (source / name).write_bytes(Path(get_testdata_file(name)).read_bytes())
    folder, rows = run(stills=True, keep_names=False)
    assert sorted(int(row["frames"]) for row in rows) == [1, 1, 1, 30]
    for name in names:
        patient = pydicom.dcmread(source / name)
        for secret in filter(None, (str(patient.get("PatientName", "")), patient.get("PatientID", ""))):
            assert len(secret) < 4 or all(secret.encode() not in data for data in content(folder).values())
    (folder / "train.txt").write_text("".join(f"{row['name']} {k}\n" for k, row in enumerate(rows)))
    listed = read_annotations(folder / "train.txt")
    assert check_annotations(listed) == []
    found = inspect(listed, every_frame=True, sample=None, workers=1, decoder="pyav")
    assert (found.videos, found.faults) == (4, [])
    assert all(0 < mean < 0.6 for mean in found.mean)
