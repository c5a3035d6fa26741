"""CAMUS as lists and videos, on a tiny folder of the layout that its authors publish; NIfTI, which it comes as."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoviewclip.datasets.intake.adapters.nifti import DATATYPES, NiftiError, read_nifti
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.errors import UserError
from tests.datasets.intake.layouts import nifti, put


def put_camus(source: Path, patients: int = 2, shape=(60, 50, 5), spacing=(0.2, 0.4, 1.0)) -> np.ndarray:
    """Sequences whose frames are brighter at the top (y = 0) and at the right (large x), and ever brighter."""
    x, y, t = np.ogrid[: shape[0], : shape[1], : shape[2]]
    voxels = (100 + 80 * (x / shape[0] - y / shape[1]) + 10 * t).astype(np.uint8)
    for patient in range(1, patients + 1):
        folder = source / "database_nifti" / f"patient{patient:04d}"
        for view, grade in (("2CH", "Poor"), ("4CH", "Good")):
            put(
                folder / f"Info_{view}.cfg",
                f"ED: 1\nES: 5\nNbFrame: 5\nImageQuality: {grade}\nEF: 56\nFrameRate: 51.3\n",
            )
            file = folder / f"patient{patient:04d}_{view}_half_sequence.nii.gz"
            file.write_bytes(gzip.compress(nifti(voxels, spacing)))
    return voxels


def test_camus_gives_views_grades_patients_and_the_authors_splits(source, lists, tmp_path):
    put_camus(source)
    put(source / "database_split/subgroup_training.txt", "patient0002\n")
    put(source / "database_split/subgroup_testing.txt", "patient0001\n")
    assert lists("camus", "train") == [
        ("videos/patient0002_2CH.avi", 1, "patient0002"),
        ("videos/patient0002_4CH.avi", 0, "patient0002"),
    ]
    assert [label for _, label, _ in lists("camus", "test", target="quality")] == [0, 2]
    assert "ef" in (tmp_path / "lists/annotations.csv").read_text().splitlines()[0]


def test_camus_sequences_become_upright_videos_with_square_pixels(source, lists, tmp_path):
    voxels = put_camus(source, patients=1)
    lists("camus")
    with open_video(tmp_path / "lists/videos/patient0001_2CH.avi") as video:
        assert (len(video), video.height, video.width) == (5, 100, 60)  # 50 · 0.4 by 60 · 0.2, in units of 0.2
        assert video.fps == pytest.approx(51.3, rel=1e-3)
        frames = video.frames(range(5)).float().mean(1)
    np.testing.assert_allclose(frames.mean((1, 2)), voxels.mean((0, 1)), atol=2)
    assert frames[0, :20].mean() - frames[0, -20:].mean() > 50  # bright at the top
    assert frames[0, :, -10:].mean() - frames[0, :, :10].mean() > 50  # and at the right


def test_large_sequences_come_out_at_the_prepared_size(source, lists, tmp_path):
    put_camus(source, patients=1, shape=(549, 778, 2), spacing=(0.308, 0.154, 1.0))
    lists("camus")
    with open_video(tmp_path / "lists/videos/patient0001_4CH.avi") as video:
        assert (video.height, video.width) == (256, 361)


def test_a_second_run_converts_only_what_is_missing(source, lists, tmp_path):
    put_camus(source, patients=1)
    lists("camus")
    videos = sorted((tmp_path / "lists/videos").iterdir())
    content = videos[0].read_bytes()
    videos[0].unlink()
    videos[1].write_bytes(b"not touched")
    lists("camus")
    assert (videos[0].read_bytes(), videos[1].read_bytes()) == (content, b"not touched")


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ("ImageQuality: Great\n", "Info_2CH.cfg:1: ImageQuality is 'Great', expected one of Poor, Medium, Good"),
        ("ED: 1\nImageQuality: Good\nFrameRate: fast\n", "Info_2CH.cfg:3: FrameRate is 'fast', expected frames per"),
        ("ED: 1\n", "Info_2CH.cfg: ImageQuality is '', expected one of"),
    ],
)
def test_a_faulty_description_is_named(source, lists, cfg, message):
    put_camus(source, patients=1)
    put(source / "database_nifti/patient0001/Info_2CH.cfg", cfg)
    with pytest.raises(UserError, match=message):
        lists("camus")


def test_a_sequence_that_is_no_picture_is_named(source, lists):
    put_camus(source, patients=1)
    file = source / "database_nifti/patient0001/patient0001_2CH_half_sequence.nii.gz"
    file.write_bytes(gzip.compress(nifti(np.full((4, 4, 2), 300, np.int16))))
    with pytest.raises(UserError, match=r"2CH_half_sequence.nii.gz: expected grey levels in \[0, 255\]"):
        lists("camus")
    file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(UserError, match=r"2CH_half_sequence.nii.gz: not a NIfTI-1 volume"):
        lists("camus")


# ── NIfTI ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    kind=st.sampled_from(sorted(DATATYPES.values())),
    order=st.sampled_from("<>"),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    packed=st.booleans(),
)
def test_nifti_of_every_type_and_byte_order(tmp_path_factory, kind, order, shape, packed):
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    file = tmp_path_factory.mktemp("nifti") / ("a.nii.gz" if packed else "a.nii")
    spacing = [0.5 + axis for axis in range(len(shape))]
    content = nifti(voxels, spacing, order)
    file.write_bytes(gzip.compress(content) if packed else content)
    read, sizes = read_nifti(file)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, voxels)
    assert sizes == pytest.approx(spacing)


def test_nifti_scales_as_its_header_says(tmp_path):
    (tmp_path / "a.nii").write_bytes(nifti(np.array([[1, 2]], np.int16), (1, 1), slope=2.0, intercept=-1.0))
    assert read_nifti(tmp_path / "a.nii")[0].tolist() == [[1, 3]]


@given(cut=st.integers(0, 399), at=st.integers(0, 351), value=st.integers(0, 255))
def test_damaged_nifti_is_an_error_that_names_the_file_or_a_volume(tmp_path_factory, cut, at, value):
    content = bytearray(nifti(np.zeros((4, 4, 3), np.uint8)))
    content[at] = value
    file = tmp_path_factory.mktemp("nifti") / "a.nii"
    for part in (content, content[:cut]):
        file.write_bytes(part)
        try:
            assert read_nifti(file)[0].nbytes <= 4 * len(content)
        except NiftiError as error:
            assert str(error).startswith(f"{file}: ")


def test_nifti_that_declares_more_than_there_can_be_takes_no_memory(tmp_path):
    content = bytearray(nifti(np.zeros((1, 1, 1), np.uint8)))
    struct.pack_into("<8h", content, 40, 3, 30000, 30000, 3000, 1, 1, 1, 1)
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(NiftiError, match=r"it declares \[30000, 30000, 3000\] voxels"):
        read_nifti(tmp_path / "a.nii")
