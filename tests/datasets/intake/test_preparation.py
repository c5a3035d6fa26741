"""What decides the pixels of a prepared folder is noted in it, the same pixels come of it in memory, and cropping."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from echoviewclip.datasets.intake.encode import UNKNOWN_FPS
from echoviewclip.datasets.intake.pictures import CROP_MARGIN, LONGEST, Preparing, image_box, open_prepared
from echoviewclip.datasets.intake.preparation import (
    VERSION,
    Preparation,
    count_preparations,
    preparation_of,
    read_note,
    write_note,
)
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import SEPARATOR, Options
from echoviewclip.datasets.sector.mask import NOT_FOUND
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.errors import UserError
from tests.datasets.intake.hospital import manifest, screen, speckle, write_dicom
from tests.datasets.intake.screens import draw_screen
from tests.media import numbered_frames, write_video

PART = {"left": 30, "top": 16, "right": 289, "bottom": 221}
FOUND = {2: {"a.dcm": ((24, 8, 297, 229), 0.6263), "b.dcm": ((29, 13, 286, 196), 0.695)}}  # by version


def write_sources(folder):
    """Four recordings: tagged DICOM without a rate, a film, a dark one, a still."""
    frames = screen(7)[0]
    write_dicom(folder / "tagged.dcm", frames, [PART], FrameTime=None, HeartRate="71")
    write_video(folder / "film.mp4", frames, codec="libx264", fps=29.97)
    write_video(folder / "dark.avi", np.full((5, 96, 128, 3), 9, np.uint8))
    write_dicom(folder / "still.dcm", frames[:1])


@pytest.fixture(params=[Options(120, True, True, crop=False), Options(256, True, True)], ids=["small", "cropped"])
def prepared(request, source, tmp_path):
    write_sources(source)
    records = prepare(source, tmp_path / "done", request.param, 0)
    assert not any(record.fault for record in records)
    return source, tmp_path / "done", request.param.preparation


def test_a_source_prepared_in_memory_is_the_prepared_file(prepared):
    source, folder, preparation = prepared
    assert preparation_of(folder / "videos/film.avi") == preparation and preparation_of(source / "film.mp4") is None
    for row in manifest(folder):
        with (
            open_video(folder / "videos" / row["name"]) as file,
            Preparing(preparation)(str(source / row["source"])) as video,
        ):
            assert len(video) == len(file) == int(row["frames"])
            assert (video.fps, video.heart_rate) == (file.fps, file.heart_rate)
            assert (video.height, video.width) == (file.height, file.width)
            assert (video.frames(range(len(file))) == file.frames(range(len(file)))).all()
            assert SEPARATOR.join(video.warnings) == row["warnings"]
    assert NOT_FOUND in [row["warnings"] for row in manifest(folder)]


def test_a_prepared_video_is_opened_as_it_is(prepared):
    _, folder, preparation = prepared
    other = Preparing(Preparation(size=32, crop=not preparation.crop))
    with open_video(folder / "videos/film.avi") as file, other(str(folder / "videos/film.avi")) as video:
        assert (video.frames(range(7)) == file.frames(range(7))).all()


def test_a_source_that_preparing_rejects_has_no_pixels(source, tmp_path):
    frames = screen(7)[0]
    write_dicom(source / "a.dcm", frames)
    data = (source / "a.dcm").read_bytes()
    (source / "a.dcm").write_bytes(data[: len(data) - 1000])
    (record,) = prepare(source, tmp_path / "done", Options(), 0)
    with pytest.raises(VideoError) as caught:
        open_prepared(source / "a.dcm", Preparation()).close()
    assert caught.value.reason == record.fault


# ── The note ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def one(source):
    """A folder of one video."""
    write_video(source / "a.avi", numbered_frames(4))
    return source


def test_the_note_says_what_decides_the_pixels_and_nothing_of_the_source(one, tmp_path):
    prepare(one, tmp_path / "done", Options(128), 0)
    note = json.loads((tmp_path / "done/prepared.json").read_text())
    assert note == asdict(Preparation(128))
    assert note == {"size": 128, "crop": True, "jpeg_quality": 3, "version": VERSION}


def test_a_folder_holds_one_preparation(one, tmp_path, monkeypatch):
    prepare(one, tmp_path / "done", Options(128), 0)
    with pytest.raises(UserError, match="an earlier run had another source or other options"):
        prepare(one, tmp_path / "done", Options(128, crop=False), 0)
    (tmp_path / "done-private").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"prepared with size 128, .* these would be prepared with size 64, "):
        prepare(one, tmp_path / "done", Options(64), 0)


@pytest.mark.parametrize("version", [None, 0, 99])
def test_videos_of_another_version_are_not_mixed_with_those_of_this(one, tmp_path, version):
    prepare(one, tmp_path / "done", Options(128), 0)
    file = tmp_path / "done-private/settings.json"
    settings = json.loads(file.read_text()) | {"version": version}
    file.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))
    with pytest.raises(UserError, match=r"another version of this program prepared its videos.* use another DST"):
        prepare(one, tmp_path / "done", Options(128), 0)


@pytest.mark.parametrize("text", ["", "[]", '{"size": 256}', '{"size": "256", "crop": 0}', "[" * 9999])
def test_a_damaged_note_is_one_line(tmp_path, text):
    (tmp_path / "videos").mkdir()
    (tmp_path / "prepared.json").write_text(text)
    for read in (read_note, lambda file: preparation_of(file.parent / "videos/a/b.avi")):
        with pytest.raises(UserError, match=r"prepared.json: damaged, .*") as caught:
            read(tmp_path / "prepared.json")
        assert "\n" not in str(caught.value)


def test_whose_note_counts(tmp_path):
    for name, size in (("one", 64), ("two", 32)):
        (tmp_path / name / "videos").mkdir(parents=True)
        write_note(tmp_path / name, Preparation(size))
    (tmp_path / "link").symlink_to(tmp_path / "one/videos")
    raw, one = [f"{tmp_path}/raw/0.mp4"], [f"{tmp_path}/one/videos/a/{k}.avi" for k in range(3)]
    two = [f"{tmp_path}/two/videos.tar/{k}.avi" for k in range(2)] + [f"{tmp_path}/two/more.avi"]
    counts = count_preparations([*raw, *one, *two, f"{tmp_path}/link/4.avi"])
    assert counts == {None: 2, Preparation(size=64): 4, Preparation(size=32): 2}


def test_this_version_finds_these_boxes(source, tmp_path):
    """Where the pixels are meant to change, raise VERSION and give the new figures."""
    write_dicom(source / "a.dcm", screen(7)[0], [PART])
    write_dicom(source / "b.dcm", draw_screen("pointed", "moving", 12).frames)
    found = {r.source: (r.box, r.masked) for r in prepare(source, tmp_path / "done", Options(), 0)}
    for name, (box, masked) in FOUND[VERSION].items():
        assert [int(side) for side in found[name][0].split(",")] == pytest.approx(box, abs=2), name
        assert found[name][1] == pytest.approx(masked, abs=0.005), name


# ── Cropping ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("layout", "seed"), [("pointed", 12), ("doppler", 3), ("dual", 10), ("m_mode", 3)])
def test_the_box_holds_all_of_the_image_and_not_much_more(source, tmp_path, layout, seed):
    shown = draw_screen(layout, "moving", seed, tags="right")
    height, width = shown.image.shape
    write_dicom(source / "a.dcm", shown.frames, [_tag(region) for region in shown.regions])
    (record,) = prepare(source, tmp_path / "done", Options(10_000), 0)
    left, top, right, bottom = map(int, record.box.split(","))
    outside = shown.image.copy()
    outside[top:bottom, left:right] = False
    assert not outside.any()
    assert (record.width, record.height) == (right - left, bottom - top) != (width, height)
    rows, columns = np.flatnonzero(shown.image.any(1)), np.flatnonzero(shown.image.any(0))
    tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    slack = 3 * CROP_MARGIN * max(tall, wide) + 4
    assert bottom - top <= max(tall, wide / LONGEST) + slack and right - left <= max(wide, tall / LONGEST) + slack


def _tag(region):
    spatial = {"2d": 1, "m-mode": 2, "spectral": 3}[region.spatial_format]
    return {
        "left": region.left,
        "top": region.top,
        "right": region.right - 1,
        "bottom": region.bottom - 1,
        "spatial": spatial,
        "data": 3 if spatial == 3 else 1,
    }


def test_places_in_a_cropped_video_follow_from_the_box(source, tmp_path):
    frames, inside, _ = screen(7)
    frames[:, 100:110, 150:170] = 255  # a mark, within the image
    write_dicom(source / "a.dcm", frames, [PART])
    (record,) = prepare(source, tmp_path / "done", Options(120, keep_names=True), 0)
    assert record.regions == "2d/tissue@30,16,290,222"  # in pixels of the source
    left, top, right, bottom = map(int, record.box.split(","))
    assert inside[top:bottom, left:right].sum() == inside.sum() and (right - left) < 320
    with open_video(tmp_path / "done/videos/a.avi") as video:
        picture = video.frames([3])[0, 0].numpy()
    scale = record.width / (right - left)
    assert min(picture.shape) == 120 and scale == pytest.approx(record.height / (bottom - top), rel=0.01)
    rows, columns = np.nonzero(picture > 250)
    assert rows.mean() / scale + top == pytest.approx(105, abs=2)
    assert columns.mean() / scale + left == pytest.approx(160, abs=2)


def test_nothing_is_cut_off_where_no_image_is_found(source, tmp_path):
    write_video(source / "a.avi", np.full((5, 96, 128, 3), 9, np.uint8))
    (record,) = prepare(source, tmp_path / "done", Options(), 0)
    assert record.box == "0,0,128,96" and (record.height, record.width) == (96, 128) and record.warnings == [NOT_FOUND]


def test_the_box_of_a_mask():
    mask = np.zeros((100, 200), bool)
    assert image_box(mask) == (0, 0, 200, 100)
    mask[10:60, 50:150] = True
    assert image_box(mask) == (47, 0, 153, 71)  # 106 by 71, as near as the picture has room
    mask[:2, :2] = True
    assert image_box(mask) == (0, 0, 154, 83)


def test_a_rate_that_is_not_known_is_the_same_in_memory(source):
    write_dicom(source / "a.dcm", speckle(4)[..., None].repeat(3, -1), FrameTime=None)
    with open_prepared(source / "a.dcm", Preparation()) as video:
        assert video.fps == UNKNOWN_FPS and "the frame rate is not known" in video.warnings[0]


def test_a_strip_alone_keeps_what_lies_above_and_below():
    mask = np.zeros((600, 800), bool)
    mask[500:560, 50:750] = True
    assert image_box(mask) == (29, 283, 771, 600)  # not 742 by 102, of which a square in the middle shows a seventh
    mask[:] = False
    mask[100:500, 380:420] = True
    left, top, right, bottom = image_box(mask)
    assert bottom - top == 424 and right - left == round(424 / LONGEST)
