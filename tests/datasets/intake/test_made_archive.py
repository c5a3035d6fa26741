"""A made archive of 300 files: each accounted for, no name in a pixel beside an image, the same files when killed."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import fftconvolve

from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options, Record
from tests.datasets.intake.hospital import content, pixels
from tests.datasets.intake.killed_prepare import prepare_until_killed
from tests.datasets.intake.made_archive import CODINGS, PATIENTS, Archive, make_archive

pytestmark = pytest.mark.slow
ALIKE = 0.7  # correlation with a name's letters from which it can be read


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("made") / "archive")


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory) -> tuple[Path, list[Record]]:
    """The archive prepared in one go."""
    folder = tmp_path_factory.mktemp("whole") / "done"
    return folder, prepare(archive.root, folder, Options(), 1)


def test_every_file_is_accounted_for(archive, whole):
    folder, records = whole
    assert len(archive.recordings) + len(archive.others) == 300 == len(records)
    assert {made.coding for made in archive.recordings.values()} == set(CODINGS)
    fates = {record.source: record.skipped or ("fault" if record.fault else "prepared") for record in records}
    expected = dict.fromkeys(archive.recordings, "prepared")
    expected |= {name: why or "fault" for name, why in archive.others.items()}
    assert {name: fate for name, fate in fates.items() if expected[name] != fate} == {}
    with (folder.parent / "done-private/names.csv").open(newline="", encoding="utf-8") as lines:
        assert {row["source"] for row in csv.DictReader(lines)} == set(expected)
    assert len(list((folder / "videos").iterdir())) == len(archive.recordings)


def test_no_planted_name_is_in_any_byte(whole):
    folder, _ = whole
    files = content(folder)
    for secret in (*(part for name in PATIENTS for part in name.split("^")), "MRN-", "19561204", "Mercy", "Gregory"):
        assert not [name for name, data in files.items() if secret.encode() in data or secret in name], secret


def test_no_planted_name_is_in_any_pixel_beside_the_image(archive, whole):
    """Names the layouts that fail, as make, place and coding."""
    folder, records = whole
    readable = Counter()
    for record in records:
        if record.source not in archive.recordings:
            continue
        made = archive.recordings[record.source]
        left, top, right, bottom = map(int, record.box.split(","))
        picture = pixels(folder / "videos" / record.name).mean(0) * ~made.image[top:bottom, left:right]
        if best_match(picture, made.letters) > ALIKE:
            readable[f"{made.make}, {made.place}, {made.coding}"] += 1
    assert readable == {}


def best_match(picture: np.ndarray, letters: np.ndarray) -> float:
    """The best normalised correlation of the letters, bool [H, W], with any part of a picture [H, W]."""
    rows, columns = np.flatnonzero(letters.any(1)), np.flatnonzero(letters.any(0))
    template = letters[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(float)
    template -= template.mean()
    ones = np.ones_like(template)
    sums, squares = (fftconvolve(p, ones, "valid") for p in (picture, picture**2))
    spread = np.sqrt(np.maximum(squares - sums**2 / template.size, 25 * template.size))  # 5 grey levels at least
    return float((fftconvolve(picture, template[::-1, ::-1], "valid") / spread).max() / np.linalg.norm(template))


def test_the_search_finds_a_name_where_there_is_one(archive):
    made = next(iter(archive.recordings.values()))
    shown = np.roll(made.letters * 200.0, (3, 5), (0, 1)) + np.random.default_rng(0).normal(0, 10, made.letters.shape)
    assert best_match(shown, made.letters) > ALIKE
    assert best_match(np.random.default_rng(0).normal(0, 10, made.letters.shape), made.letters) < ALIKE


def test_a_run_killed_five_times_ends_with_the_same_files(archive, whole, tmp_path):
    folder, _ = whole
    for after in (3, 40, 1, 70, 25):
        prepare_until_killed(archive.root, tmp_path / "killed", after, Options())
    prepare(archive.root, tmp_path / "killed", Options(), 1)
    assert by_source(tmp_path / "killed") == by_source(folder)
    assert not [path for path in (tmp_path / "killed").rglob(".*")]


def by_source(folder: Path) -> dict[str, tuple]:
    """Video and row of the manifest of each source; names and patients are salted, so that they differ."""
    with (folder.parent / f"{folder.name}-private/names.csv").open(newline="", encoding="utf-8") as lines:
        names = {row["name"]: row["source"] for row in csv.DictReader(lines) if not row["skipped"] and not row["fault"]}
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        rows = {row["name"]: row for row in csv.DictReader(lines)}
    assert rows.keys() == names.keys()
    told = {name: {k: v for k, v in row.items() if k not in ("name", "patient")} for name, row in rows.items()}
    return {source: ((folder / "videos" / name).read_bytes(), told[name]) for name, source in names.items()}
