"""The varied phantom: same seed, same bytes; as many looks as studies; nothing in a look tells the class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoviewclip.datasets.video.open import open_video
from echoviewclip.phantom.machine import Sector
from echoviewclip.phantom.patient import Patient
from echoviewclip.phantom.probe.receiver import scan_converter
from echoviewclip.phantom.probe.shot import STRIPS, Grid
from echoviewclip.phantom.probe.strips import _column_times, _overwrite
from echoviewclip.phantom.probe.views import NEAR, VIEWS
from echoviewclip.phantom.study import study
from echoviewclip.phantom.study.outsiders import FAR
from echoviewclip.phantom.study.recording import heart_video, image_mask
from echoviewclip.phantom.study.study import VARIETIES, Job, draw_patient, make, plan, shoot
from echoviewclip.phantom.variety.clutter import _uneven
from echoviewclip.phantom.variety.hearts import IrregularCycle
from echoviewclip.phantom.variety.look import Look
from echoviewclip.phantom.variety.setting import Setting
from echoviewclip.utils.seeding import generator

KINDS = [*VIEWS, *NEAR, *FAR]
MODE_NAMES = ["bmode", "colour", "lvo", "mce", "flash", *STRIPS]
MODES = ("Apical 4C 2D", "Apical 4C Color", "Apical 4C MV PW", "Apical 4C TAPSE", "A4C MCE Flash", "liver")


def job_of(root: Path, kind: str, patient: int = 0, size: int = 64, suffix: str = ".avi", **changes) -> Job:
    name = f"p{patient:03d}_v{KINDS.index(kind):02d}{suffix}"
    job = Job(root, 3, patient, KINDS.index(kind), name, kind, "train", size, 2, folder=".", variety="world")
    return replace(job, **changes)


def job_where(condition, root: Path, kind: str, **changes) -> Job:
    """The first patient's job whose setting fulfils `condition`."""
    for patient in range(400):
        look = Patient.draw_varied(3, patient).look
        if condition(Setting.draw(look, generator(3, patient, KINDS.index(kind), 2))):
            return job_of(root, kind, patient, **changes)
    raise AssertionError("no such recording among 400 patients")


def test_same_seed_same_bytes_in_any_order(tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder, kinds in zip(folders, (MODES, MODES[::-1]), strict=True):
        folder.mkdir()
        study._patient.cache_clear()
        for kind in kinds:
            make(job_of(folder, kind))
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()


def test_plain_is_what_is_made_unless_asked_otherwise():
    plain, asked, varied = (plan(Path("x"), 3, 3, 64, 2, *variety)[0] for variety in ((), ("plain",), ("world",)))
    assert plain == asked != varied
    assert (shoot(plain)[0] == shoot(asked)[0]).all()
    assert shoot(plain)[1].setting is None and shoot(varied)[1].setting is not None


@pytest.mark.parametrize("kind", [*NEAR, *FAR, "Parasternal Long Axis M-mode", "A2C LVO"])
def test_every_kind_is_made(kind):
    frames, shot = shoot(job_of(Path("x"), kind, patient=5))
    assert frames.shape == (len(shot.times), 64, 64, 3) and frames.dtype == np.uint8
    assert frames.max() > 100


def test_looks_differ_between_studies_and_hold_within_one():
    looks = [Look.draw(generator(1, number)) for number in range(300)]
    assert len({look.tone.hue for look in looks}) == 6
    halves = np.degrees([look.scan.half for look in looks])
    assert halves.min() < 29 and halves.max() > 48  # degrees
    assert 0.03 < np.mean([look.scan.mirror for look in looks]) < 0.12
    assert 0.02 < np.mean([look.scan.flip for look in looks]) < 0.09
    patient = Patient.draw_varied(0, 1)
    settings = [Setting.draw(patient.look, generator(0, 1, video, 2)) for video in range(20)]
    assert {setting.look for setting in settings} == {patient.look}
    assert len({setting.layout for setting in settings}) == 20


def test_elsewhere_is_one_hospital_whose_machine_and_hearts_the_world_has_not():
    world, elsewhere = ([draw_patient(3, number, name) for number in range(200)] for name in VARIETIES[1:])
    assert len({patient.look for patient in elsewhere}) == 1
    look, looks = elsewhere[0].look, [patient.look for patient in world]
    assert look.tone.hue not in {other.tone.hue for other in looks}
    assert look.colours.name not in {other.colours.name for other in looks}
    assert look.texture.passes not in {other.texture.passes for other in looks}
    assert min(patient.heart.wall for patient in elsewhere) > max(patient.heart.wall for patient in world)
    assert (shoot(job_of(Path("x"), MODES[1]))[0] != shoot(job_of(Path("x"), MODES[1], variety="elsewhere"))[0]).any()


def test_the_machine_of_a_varied_recording_is_what_its_picture_shows(tmp_path):
    jobs = [job_of(tmp_path, MODES[0], patient, variety=name) for name in VARIETIES[1:] for patient in range(6)]
    hues = [draw_patient(3, job.patient, job.variety).look.tone.hue for job in jobs]
    assert [make(job)["style"] for job in jobs] == hues
    assert set(hues[6:]) == {"green"} and len(set(hues[:6])) > 1


@pytest.mark.parametrize("beams", [5, 48, 160])
def test_gain_is_uneven_by_a_few_decibels_in_an_mmode_as_in_a_sector(beams):
    most = [np.abs(_uneven((200, beams), generator(seed))).max() for seed in range(100)]
    assert max(most) < 7 and np.median(most) > 1  # times 0.8 to 4.5 dB


def test_settings_know_no_view_and_no_grade():
    """Two views or grades of the same random numbers get the same setting: nothing in it can tell them."""
    first, second = (
        shoot(replace(job_of(Path("x"), "Apical 4C 2D"), kind=kind))[1] for kind in ("Apical 4C 2D", "A4C LVO")
    )
    assert first.setting == second.setting


def features(picture: np.ndarray) -> np.ndarray:
    """What can be told of a picture [64, 64, 3] wherever things lie: histograms of its colours, and coarse blocks."""
    bins = [np.histogram(picture[..., channel], bins=12, range=(0, 256))[0] for channel in range(3)]
    spread = picture.astype(int).max(-1) - picture.min(-1)
    return np.concatenate(
        [*bins, np.histogram(spread, bins=8, range=(0, 256))[0], picture.reshape(8, 8, 8, 8, 3).mean((1, 3, 4)).ravel()]
    )


@pytest.mark.parametrize("group", ["sector", "strip"])
def test_a_classifier_of_pixels_outside_the_image_is_at_chance(group):
    """The control of test_phantom_truth.py, on varied studies: within views of one large sector, and within strips.

    Looks differ too much for a linear classifier of pixels to learn anything, so this one reads histograms and blocks.
    Neither views nor modes, of which there are more pictures each, may be told.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import balanced_accuracy_score

    jobs = [job for job in plan(Path("x"), 9, 5, 64, 2, "world") if job.kind in VIEWS]
    jobs = [job for job in jobs if (VIEWS[job.kind].mode in STRIPS) == (group == "strip")]
    outside, marked = [], []
    for job in jobs:
        frames, shot = shoot(replace(job, frames=1))
        picture = frames[0] * ~image_mask(shot)[..., None]
        outside.append(features(picture))
        picture[2:8, 2:8] = 40 * (1 + MODE_NAMES.index(VIEWS[job.kind].mode) % 5)
        marked.append(features(picture))
    training = np.array([job.set == "train" for job in jobs])
    views = np.array([job.kind for job in jobs])
    modes = np.array([VIEWS[view].mode for view in views])

    def score(pictures: list[np.ndarray], classes: np.ndarray) -> tuple[float, float]:
        """Mean recall on validation and test patients, and what chance alone stays below."""
        data, truth = np.stack(pictures), classes[~training]
        model = ExtraTreesClassifier(60, class_weight="balanced", random_state=0)
        answers = model.fit(data[training], classes[training]).predict(data[~training])
        counts = np.unique(truth, return_counts=True)[1]
        chance = 1 / len(counts)
        bound = chance + 3 * chance * np.sqrt(np.sum(chance * (1 - chance) / counts))
        return balanced_accuracy_score(truth, answers), bound

    for classes in (views, modes):
        told, bound = score(outside, classes)
        assert told < bound
    told, bound = score(marked, modes)
    assert told > bound  # a small mark whose grey tells the mode would be noticed


@pytest.mark.parametrize("kind", ["Apical 4C 2D", "Apical 4C Color", "Apical 4C MV PW"])
def test_the_image_lies_in_its_mask_and_the_regions_hold_it(kind):
    for patient in range(8):
        _, shot = shoot(job_of(Path("x"), kind, patient, size=96))
        image, mask = heart_video(shot, generator(3, patient)), image_mask(shot)
        assert image[:, mask].max() > 60
        assert image[:, ~mask].max() == 0
        held = np.zeros_like(mask)
        for region in shot.regions():
            left, top, right, bottom = region["box"]
            held[top : bottom + 1, left : right + 1] = True
        if not shot.setting.compared:
            assert (image.any((0, 3)) & ~held).sum() < 0.03 * mask.sum()


def test_a_still_is_a_file_of_one_frame(tmp_path):
    for suffix in (".avi", ".mp4", ".dcm"):
        job = job_where(lambda setting: setting.still, tmp_path, "Apical 4C 2D", suffix=suffix)
        assert make(job)["frames"] == 1
        with open_video(tmp_path / job.name) as video:
            assert len(video) == 1 and video.frames([0]).shape == (1, 3, 64, 64)


def test_an_overwritten_strip_has_a_black_bar_that_moves_right():
    job = job_where(
        lambda s: s.spectral.motion == "bar" and not s.still and s.beats < 1.2, Path("x"), "Apical 4C TAPSE", frames=6
    )
    frames, shot = shoot(replace(job, size=128))
    bright = np.full((*shot.strip_size()[:1], len(_column_times(shot)), 3), 200, np.uint8)
    bars = [np.flatnonzero(frame[0, :, 0] == 0)[-1] for frame in _overwrite(bright, shot)]
    assert len(bars) == 6 and sum(np.diff(bars) > 0) >= 4  # but where it begins again at the left
    for frame, bar in zip(frames[(slice(None), *shot.strip)], bars, strict=True):
        assert np.median(frame[:, bar]) == 0  # over which the trace and letters may lie


@pytest.mark.parametrize(
    "sector",
    [
        Sector(0.1, 0.5, 0.8, 0.6, tilt=0.2),
        Sector(0.9, 0.5, 0.8, 0.5, turn=np.pi, mirror=True),
        Sector(-0.4, 0.4, 1.6, 0.25, near=0.3, far=0.8, mirror=True),
        Sector(0.1, 0.5, 0.8, 0.6, flat=True, crown=0.1, turn=0.7),
    ],
)
def test_a_sector_lies_where_it_says(sector):
    down, right = np.array([0.2, 0.5]), np.array([0.1, -0.2])
    rows, columns = sector.place(down, right)
    back = sector.locate(rows, columns)
    assert np.allclose(back[0], down * sector.radius) and np.allclose(back[1], right * sector.radius)
    grid = Grid.of(sector, 64)
    mask = scan_converter(sector, 64, len(grid.radii), len(grid.angles)).mask
    top, bottom, left, right = (edge * 64 for edge in sector.bounds())
    rows, columns = np.nonzero(mask)
    assert top - 1 <= rows.min() and rows.max() <= bottom + 1
    assert left - 1 <= columns.min() and columns.max() <= right + 1


def test_irregular_beats_keep_systole_and_vary_diastole():
    cycle = IrregularCycle(80.0, 0.3, 0.2, 7)
    t = np.linspace(0, 20, 20001)
    phase = cycle.phase(t)
    assert phase.min() >= 0 and phase.max() <= cycle.beat + 1e-9
    starts = t[1:][np.diff(phase) < -0.1]
    assert 0.1 < np.diff(starts).std() / np.diff(starts).mean() < 0.35
    early = phase < 0.9 * cycle.end_systole
    assert np.allclose(np.gradient(phase, t)[early & (phase > 0.02)], 1, atol=0.01)
    assert np.allclose(IrregularCycle(80.0, 0.3, 0.0, 7).phase(t[:500]), t[:500])
