"""The echo phantom's labels are true: what an observer measures in the image is what the annotations say."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from echoviewclip.phantom.heart.anatomy import Heart, Pose
from echoviewclip.phantom.heart.section import Section
from echoviewclip.phantom.machine import CORE
from echoviewclip.phantom.patient import Patient
from echoviewclip.phantom.probe import bmode, doppler
from echoviewclip.phantom.probe.planes import PLANES, apical_four
from echoviewclip.phantom.probe.render import polar_images, section
from echoviewclip.phantom.probe.shot import Grid, Shot
from echoviewclip.phantom.probe.views import VIEWS
from echoviewclip.phantom.quality import DEFECTS, Quality
from echoviewclip.phantom.study.recording import heart_video, image_mask
from echoviewclip.phantom.study.study import plan, shoot
from echoviewclip.utils.seeding import generator

SPECTRAL = [name for name, view in VIEWS.items() if view.flow]


def shot_of(patient: Patient, view: str, defects: dict[str, float] | None = None, size: int = 128) -> Shot:
    times = 0.3 + np.arange(6) * 1.2 * patient.heart.cycle.beat / 6
    return Shot.draw(patient, VIEWS[view], Quality(defects or {}), size, times, generator(0, 7))


@pytest.mark.parametrize("number", range(6))
def test_left_ventricle_s_area_gives_the_ejection_fraction(number):
    """The area-length method on the four-chamber cut, V = 8 A² / (3 π L), as a reader of the video would apply it."""
    heart = Patient.draw(0, number).heart
    radii, angles = np.linspace(0, 1, 240), np.linspace(-0.7, 0.7, 160)
    plane = apical_four(heart)
    scene = Section(heart, plane.points(radii, angles)).at(np.linspace(0, heart.cycle.beat, 40))
    depth = radii * plane.reach
    cell = depth[:, None] * (depth[1] - depth[0]) * (angles[1] - angles[0])
    cavity = np.zeros(scene.blood.shape, bool)
    cavity[scene.cavity.window] = scene.cavity.distance < 0
    area = (cavity * cell).sum((1, 2))
    down = (depth[:, None] * np.cos(angles)[None, :])[None]
    length = np.where(cavity, down, -np.inf).max((1, 2)) - np.where(cavity, down, np.inf).min((1, 2))
    volume = 8 * area**2 / (3 * np.pi * length)
    assert 1 - volume.min() / volume.max() == pytest.approx(heart.ejection_fraction, abs=0.03)
    assert volume.max() == pytest.approx(heart.end_diastolic_volume, rel=0.15)


def test_volume_follows_the_ejection_fraction():
    heart = Heart.draw(generator(3))
    beat = np.linspace(0, heart.cycle.beat, 500)
    volume = heart.volume(beat)
    assert 1 - volume.min() / volume.max() == pytest.approx(heart.ejection_fraction, abs=1e-3)
    assert beat[volume.argmin()] == pytest.approx(heart.cycle.end_systole, abs=0.02)


@pytest.mark.parametrize("name", SPECTRAL)
def test_doppler_peak_read_from_the_strip_is_the_annotated_one(name):
    patient = Patient.draw(0, 2)
    shot = shot_of(patient, name, size=256)
    rows, columns = shot.strip
    strip = heart_video(shot, generator(0, 8))[:, rows, columns].max(-1).astype(float)
    low, high = shot.scale
    velocity = np.linspace(high, low, strip.shape[1])
    truth = patient.velocity(shot.view.flow, np.linspace(0, patient.heart.cycle.beat, 2000))
    peak = truth[np.abs(truth).argmax()]
    bright = (strip > 90).sum(2) > 2  # rows that the envelope reaches, [T, rows]
    same_side = bright & (np.sign(velocity) == np.sign(peak)) & (np.abs(velocity) < 1.3 * abs(peak))
    measured = np.abs(velocity[same_side.any(0)]).max()
    assert measured == pytest.approx(abs(peak), rel=0.05)


def test_velocities_have_the_textbook_s_size_and_sign():
    peaks = {name: [] for name in SPECTRAL}
    for number in range(60):
        patient = Patient.draw(1, number)
        beat = np.linspace(0, patient.heart.cycle.beat, 400)
        for name in SPECTRAL:
            speed = patient.velocity(VIEWS[name].flow, beat)
            peaks[name].append(speed[np.abs(speed).argmax()])
    mean = {name: np.mean(values) for name, values in peaks.items()}
    assert mean["Apical 4C MV PW"] == pytest.approx(0.67, rel=0.06)
    assert mean["Parasternal Short Axis Tricuspid PW"] == pytest.approx(0.51, rel=0.06)
    assert mean["Parasternal Short Axis Tricuspid Regurgitation CW"] == pytest.approx(-2.7, rel=0.06)
    assert mean["Apical 5C AV CW"] < -0.9
    assert mean["Parasternal Right Ventricular Outflow Tract PR CW"] > 1.2
    assert 0.05 < abs(mean["Apical 4C MV Annulus TDI PW"]) < 0.15


def test_colours_are_red_towards_blue_away_and_wrap_beyond_nyquist():
    towards, away, aliased = doppler.colours(np.array([0.4, -0.4, 1.2 * doppler.NYQUIST]))
    assert towards[0] > towards[2] and away[2] > away[0] and aliased[2] > aliased[0]


def test_mitral_inflow_is_red_and_the_pulmonary_artery_blue():
    patient = Patient.draw(0, 2)
    cycle = patient.heart.cycle
    for name, when, channel in (
        ("Apical 4C Color", cycle.end_systole + 0.15, 0),
        ("Parasternal Right Ventricular Outflow Tract Color", 0.2, 2),
    ):
        shot = replace(shot_of(patient, name), times=np.array([when, when + 0.01]))
        frame = heart_video(shot, generator(0, 8))[0].astype(int)
        coloured = np.abs(frame[..., 0] - frame[..., 2]) > 60
        assert coloured.sum() > 300
        assert frame[coloured][:, channel].mean() > 1.5 * frame[coloured][:, 2 - channel].mean()


def test_speckle_is_rayleigh_distributed():
    """The ratio of mean to standard deviation of a fully developed speckle's envelope is 1.91 (Burckhardt 1978)."""
    shape = (4, 160, 100)
    index = generator(5).integers(0, 64**3, shape, dtype=np.int32)
    none = np.zeros(shape, np.float32)
    envelope = bmode.envelope(np.ones(shape, np.float32), index, none, np.arange(4.0), Quality({}), fine=True)
    middle = envelope[:, 10:-10, 10:-10]
    assert middle.mean() / middle.std() == pytest.approx(1.91, abs=0.06)


def test_speckle_travels_with_the_muscle():
    """The scatterer under a point of the septum at end-diastole is found where that point is at end-systole."""
    heart = Patient.draw(0, 1).heart
    plane = apical_four(heart)
    t = np.array([0.0, heart.cycle.end_systole])
    section = Section(heart, plane.points(np.linspace(0, 1, 60), np.linspace(-0.6, 0.6, 50)))
    scene = section.at(t)
    _, _, height = scene.material()
    base = scene.pose.length[:, 0, 0]
    for moment in range(2):
        near = np.abs(section.points[2] - base[moment]) < 0.1
        near &= np.hypot(section.points[0], section.points[1]) < 2.0
        assert height[moment][near] == pytest.approx(heart.length, abs=0.25)
    assert base[1] < base[0] - 0.5  # the base descends in systole, and the speckle with it


def test_base_descends_wall_thickens_cavity_shrinks_in_systole():
    heart = Patient.draw(0, 4).heart
    pose = Pose.at(heart, np.array([0.0, heart.cycle.end_systole]))
    assert pose.length[1] < pose.length[0] and pose.radius[1] < pose.radius[0] and pose.wall[1] > pose.wall[0]


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize(
    "name", ["Apical 4C 2D", "Parasternal Long Axis Color", "Apical 4C MV PW", "Apical 4C TAPSE", "A2C LVO"]
)
def test_every_defect_shows_in_every_mode(name, defect):
    patient = Patient.draw(0, 3)
    clean, half, full = (
        heart_video(shot_of(patient, name, {defect: s} if s else {}), generator(0, 8)).astype(float)
        for s in (0, 0.5, 1)
    )
    mask = image_mask(shot_of(patient, name))
    change = [np.abs(worse - clean).mean(0)[mask].mean() for worse in (half, full)]
    assert change[1] > 4.0  # grey levels
    assert change[0] > 1.5


@pytest.fixture(scope="module")
def study() -> list[tuple]:
    """Mean frame [64, 64, 3], image mask, view and split of every view's video of 12 patients."""
    jobs = [job for job in plan(Path("x"), 12, 5, 64, 2) if job.kind in VIEWS]
    made = [(job, *shoot(job)) for job in jobs]
    return [(frames.mean(0), image_mask(shot), job.kind, job.set) for job, frames, shot in made]


def ridge_score(pixels: list[np.ndarray], rows: list[tuple]) -> float:
    """Accuracy on validation and test patients of a linear classifier of `pixels` trained on training patients."""
    from sklearn.linear_model import RidgeClassifier

    data, views = np.stack([p.ravel() for p in pixels]), np.array([view for _, _, view, _ in rows])
    training = np.array([split == "train" for *_, split in rows])
    model = RidgeClassifier(alpha=1e4).fit(data[training], views[training])
    return float((model.predict(data[~training]) == views[~training]).mean())


@pytest.mark.parametrize("layouts", ["all", "one large sector"])
def test_a_classifier_of_pixels_outside_the_image_is_at_chance(study, layouts):
    """The BackMix control (arXiv 2406.19148): the screen around the image must not tell the view.

    Once over all 38 views with the border that no layout uses, once over the views that show one large sector with
    all that is outside it. The same classifier sees far more in the whole frame, so the test can fail.
    """
    top, bottom, left, right = (round(edge * 64) for edge in CORE)
    border = np.ones((64, 64, 1), bool)
    border[top:bottom, left:right] = False
    whole_layout = layouts == "all"
    rows = [row for row in study if whole_layout or VIEWS[row[2]].mode in ("bmode", "colour", "lvo", "mce", "flash")]
    outside = [mean * (border if whole_layout else ~mask[..., None]) for mean, mask, _, _ in rows]
    chance = 1 / len({view for _, _, view, _ in rows})
    count = sum(split != "train" for *_, split in rows)
    assert ridge_score(outside, rows) < chance + 3 * np.sqrt(chance * (1 - chance) / count)
    assert ridge_score([mean for mean, *_ in rows], rows) > 4 * chance


def brightness(view: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean grey level over time of the left ventricle's cavity and of its muscle in a clean recording, [T] each."""
    patient = Patient.draw(0, 2)
    shot = replace(shot_of(patient, view), times=np.linspace(0.0, 1.2 * patient.heart.cycle.beat, 30))
    grid = Grid.of(shot.sector, shot.size)
    cavity, muscle = [], []
    for part in polar_images(shot, grid, section(shot, grid), shot.times, generator(0, 8), fine=True):
        inner, outer = part.scene.cavity, part.scene.muscle
        grey = part.image[inner.window]
        wall = (inner.distance > 0.2) & (outer.distance < -0.2)
        for store, where in ((cavity, inner.distance < -0.4), (muscle, wall)):
            store += [image[at].mean() for image, at in zip(grey, where, strict=True)]
    return np.array(cavity), np.array(muscle)


def test_contrast_fills_the_cavity_and_in_perfusion_imaging_the_muscle():
    plain, filled, perfused = (brightness(view) for view in ("Apical 4C 2D", "A4C LVO", "A4C MCE"))
    assert (plain[1] - plain[0]).mean() > 40  # grey levels
    assert (filled[0] - filled[1]).mean() > 40
    assert (perfused[1] - filled[1]).mean() > 40


def test_a_flash_is_white_then_the_muscle_is_dark_and_refills():
    cavity, muscle = brightness("A4C MCE Flash")
    white = muscle > 210
    first, last = np.flatnonzero(white)[[0, -1]]
    assert 2 <= white.sum() == last - first + 1 < 0.2 * len(white)  # a few frames in a row
    assert first > 0 and last < 0.4 * len(white)
    assert muscle[first - 1] - muscle[last + 1] > 40  # the bubbles in it have burst
    assert muscle[-1] - muscle[last + 1] > 40
    assert (cavity > muscle)[~white].all()


@pytest.mark.slow
def test_a_linear_classifier_of_the_mean_frame_stays_below_60_percent():
    """On the demo set's 24 training patients: hard enough to be useful, and confused where views are neighbours."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    jobs = [job for job in plan(Path("x"), 36, 0, 96, 6) if job.kind in VIEWS]
    frames = np.stack([shoot(job)[0].mean(0).reshape(48, 2, 48, 2, 3).mean((1, 3)).ravel() / 255 for job in jobs])
    labels = np.array([list(VIEWS).index(job.kind) for job in jobs])
    training = np.array([job.set == "train" for job in jobs])
    basis = PCA(200, random_state=0).fit(frames[training])
    model = LogisticRegression(max_iter=300).fit(basis.transform(frames[training]), labels[training])
    truth, answer = labels[~training], model.predict(basis.transform(frames[~training]))
    assert 0.3 < (truth == answer).mean() < 0.6
    pairs = product(VIEWS.values(), repeat=2)
    close = np.array([a.mode == b.mode or a.plane == b.plane for a, b in pairs]).reshape(38, 38)
    by_chance = (close.sum() - 38) / (38 * 37)
    assert close[truth, answer][truth != answer].mean() > 2 * by_chance  # confusions are among neighbours


def test_planes_look_the_way_their_names_say():
    """Orientation: in apical views the apex is at the top and the left ventricle on the right of the right one."""
    heart = Patient.draw(0, 0).heart
    mark, four = heart.landmarks, PLANES["apical_four"](heart)
    assert four.locate(mark["apex"])[0] < four.locate(mark["mitral"])[0]
    assert four.locate(mark["tricuspid"])[1] < 0 < four.locate(mark["lateral annulus"])[1]
    long = PLANES["long_axis"](heart)
    assert long.locate(mark["aortic"])[1] > long.locate(mark["mid"])[1]  # the base is on the right
    short = PLANES["short_papillary"](heart)
    assert short.locate(mark["right ventricle"])[1] < short.locate(mark["mid"])[1]
