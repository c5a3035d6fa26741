"""Damaged and hostile files: each ends in frames or in a VideoError that names it; never a crash, a hang, a memory hog.

A child process (`reading_child.py`) reads them, so that even a fault inside a decoding library is seen and named.
"""

from __future__ import annotations

import random
import struct
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import KINDS, NUMBERS, SUFFIXES, Reader, damage, fuzz

HOSTILE = [
    *NUMBERS,
    *(struct.pack(f"{order}{kind}", number)
      for order in "<>" for kind, number in (("I", 0xFFFFFFFE), ("H", 0), ("Q", (1 << 63) - 1))),
]  # fmt: skip
chance = st.randoms(use_true_random=False)  # drawn by hypothesis, which finds the least damage that fails


@pytest.mark.parametrize("kind", KINDS)
def test_undamaged_files_are_read(read, whole, tmp_path, kind):
    """Else nothing that follows would mean anything."""
    path = tmp_path / f"a{KINDS[kind][0]}"
    path.write_bytes(whole[kind])
    assert read(path) is None


def damage_and_read(read: Reader, whole: bytes, path: Path, draw: random.Random, times: int) -> None:
    for _ in range(times):
        whole = damage(whole, draw, HOSTILE)
    path.write_bytes(whole)
    read(path)


@pytest.mark.parametrize("kind", KINDS)
@fuzz(25)
@given(draw=chance, times=st.integers(1, 2))
def test_damaged_files_are_read_or_named(read, whole, tmp_path, kind, draw, times):
    damage_and_read(read, whole[kind], tmp_path / f"a{KINDS[kind][0]}", draw, times)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@fuzz(1500, chance=True)
@given(draw=chance, times=st.integers(1, 2))
def test_many_damaged_files_are_read_or_named(read, whole, tmp_path, kind, draw, times):
    damage_and_read(read, whole[kind], tmp_path / f"a{KINDS[kind][0]}", draw, times)


@pytest.mark.parametrize("kind", KINDS)
def test_every_wrong_suffix_is_read_or_named(read, whole, tmp_path, kind):
    for suffix in SUFFIXES:
        path = tmp_path / f"b{suffix}"
        path.write_bytes(whole[kind])
        read(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_files_are_named(read, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    assert read(path) == f"{path}: is empty"


@fuzz(60)
@given(content=st.binary(max_size=4096), suffix=st.sampled_from(SUFFIXES), head=st.sampled_from(sorted(KINDS)))
def test_noise_behind_a_true_beginning_is_read_or_named(read, whole, tmp_path, content, suffix, head):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(whole[head][:200] + content)
    read(path)


@fuzz(40)
@given(draw=chance)
def test_damaged_archives_are_read_or_named(read, whole, tmp_path, draw):
    plain = tmp_path / "plain.tar"
    if not plain.exists():
        (tmp_path / "a.avi").write_bytes(whole["mjpeg"])
        with tarfile.open(plain, "w") as tar:
            tar.add(tmp_path / "a.avi", "a.avi")
        assert read(f"{plain}/a.avi") is None
    path = tmp_path / "damaged.tar"
    path.write_bytes(damage(plain.read_bytes(), draw, HOSTILE))
    read(f"{path}/a.avi")


@fuzz(30)
@given(draw=chance, which=st.integers(0, 3))
def test_folders_with_a_damaged_image_are_read_or_named(read, whole, tmp_path, draw, which):
    folder = tmp_path / "frames"
    folder.mkdir(exist_ok=True)
    for number in range(4):
        content = whole["png"]
        (folder / f"{number}.png").write_bytes(damage(content, draw, HOSTILE) if number == which else content)
    read(folder)
