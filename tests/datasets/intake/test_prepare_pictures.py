"""Preparing hospital files: what is painted black, what leaves no trace, what is written."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from echoviewclip.datasets.intake.encode import write_mjpeg
from echoviewclip.datasets.intake.pictures import guess_modality
from echoviewclip.datasets.intake.records import MANIFEST
from echoviewclip.datasets.sector import MOSTLY_IMAGE, image_mask
from echoviewclip.datasets.video.open import open_video
from echoviewclip.datasets.video.regions import Region
from tests.datasets.intake.hospital import HEIGHT, WIDTH, content, pixels, screen, sector, speckle, write_dicom
from tests.media import numbered_frames, write_video

# ── What is painted black ─────────────────────────────────────────────────────────────────────────────────────────────


def assert_masked(frames: np.ndarray, inside: np.ndarray, text: np.ndarray) -> None:
    """Text is gone, the image is as it was."""
    assert frames[:, ndimage.binary_erosion(text)].max(initial=0) < 30
    assert frames[:, ~ndimage.binary_dilation(inside, iterations=8)].mean() < 1
    assert (frames[:, ndimage.binary_erosion(inside, iterations=4)] > 8).mean() > 0.98


def test_without_tags_motion_and_shape_find_the_image(source, run):
    frames, inside, text = screen()
    write_video(source / "a.mp4", frames, codec="libx264", options={"crf": "15"})
    folder, (row,) = run(crop=False)
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
    folder, (row,) = run(crop=False)
    shown = pixels(folder / "videos/a.avi")
    assert shown[:, :, :28].max() < 30 and shown[:, :14].max() < 30 and shown[:, 224:].max() < 30
    assert (shown[:, ndimage.binary_erosion(inside, iterations=4)] > 8).mean() > 0.98
    assert row["regions"] == "2d/tissue@30,16,290,222 graphics/color bar@0,20,30,61"


def test_text_in_the_corner_of_a_tagged_box_goes_too(source, run):
    frames, inside, text = screen()
    write_dicom(source / "a.dcm", frames, [{"left": 0, "top": 0, "right": WIDTH - 1, "bottom": HEIGHT - 1}])
    folder, _ = run(crop=False)
    assert_masked(pixels(folder / "videos/a.avi"), inside, text)


def test_a_tagged_strip_is_kept_whole_although_it_stands_still(source, run):
    frames, _, _ = screen(moves=False)
    frames[:, 180:230] = np.linspace(0, 255, WIDTH, dtype=np.uint8)[:, None]
    strip = {"left": 0, "top": 180, "right": WIDTH - 1, "bottom": 229, "spatial": 3, "data": 3}
    write_dicom(source / "a.dcm", frames, [strip])
    folder, (row,) = run(crop=False)
    shown = pixels(folder / "videos/a.avi")
    np.testing.assert_allclose(shown[0, 205], np.linspace(0, 255, WIDTH), atol=6)
    assert shown[:, :170].max() < 30
    assert row["modality"] == "pw"


def test_tags_that_do_not_fit_are_not_used(source, run):
    frames, inside, text = screen()
    write_dicom(source / "a.dcm", frames, [{"left": 0, "top": 0, "right": 1023, "bottom": 767}])
    folder, (row,) = run(crop=False)
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
    folder, (row,) = run(stills=True, crop=False)
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
    assert {Path(name).suffix for name in content(folder)} == {".avi", ".csv", ".json"}
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
    folder, (row,) = run(size=120, crop=False)
    assert (
        list(row)
        == MANIFEST
        == [
            *("source", "name", "patient", "format", "width", "height", "source_width", "source_height"),
            *("frames", "fps", "heart_rate", "modality", "regions", "box", "masked", "warnings"),
        ]
    )
    expected = {"source": "a.dcm", "name": "a.avi", "format": "dicom", "width": "160", "height": "120"}
    expected |= {"source_width": "320", "source_height": "240", "frames": "13", "fps": "25", "heart_rate": "72"}
    expected |= {"modality": "2d", "regions": "2d/tissue@30,16,290,222", "warnings": ""}
    expected |= {"box": "0,0,320,240"}
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
