"""Damaged and hostile files: each ends in frames or in a VideoError that names it; never a crash, a hang, a memory hog.

A child process (`reading_child.py`) reads them, so that even a fault inside a decoding library is seen and named.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import KINDS, SUFFIXES, Reader, fuzz

# Damage: functions of a content, drawn by hypothesis. Places are shares of the length; headers get half of the hits.

places = st.one_of(st.floats(0, 1), st.floats(0, 0.05))
hostile_numbers = st.sampled_from(
    [struct.pack(order + code, number) for order in "<>" for code, number in
     (("I", 0), ("I", 0x7FFFFFFF), ("I", 0xFFFFFFFF), ("I", 0xFFFFFFFE), ("I", 1 << 28), ("H", 0), ("H", 0xFFFF),
      ("Q", (1 << 63) - 1))]
)  # fmt: skip


@st.composite
def damages(draw) -> Callable[[bytes], bytes]:
    kind = draw(st.sampled_from(["cut", "flip", "number", "number", "zeros", "repeat", "drop", "noise"]))
    first, second = sorted((draw(places), draw(places)))
    bits = draw(st.lists(st.tuples(places, st.integers(0, 7)), min_size=1, max_size=12))
    number, noise = draw(hostile_numbers), draw(st.binary(min_size=1, max_size=64))

    def damage(content: bytes) -> bytes:
        a, b = int(first * len(content)), int(second * len(content))
        changed = bytearray(content)
        if kind == "cut":
            return content[:b]
        if kind == "flip":
            for place, bit in bits:
                changed[min(int(place * len(content)), len(content) - 1)] ^= 1 << bit
        elif kind == "number":
            changed[b : b + len(number)] = number
        elif kind == "zeros":
            changed[a:b] = bytes(b - a)
        elif kind == "repeat":
            changed[b:b] = changed[a:b]
        elif kind == "drop":
            del changed[a:b]
        else:
            changed[b : b + len(noise)] = noise
        return bytes(changed)

    return damage


@pytest.mark.parametrize("kind", KINDS)
def test_undamaged_files_are_read(read, whole, tmp_path, kind):
    """Else nothing that follows would mean anything."""
    path = tmp_path / f"a{KINDS[kind][0]}"
    path.write_bytes(whole[kind])
    assert read(path) is None


def damage_and_read(read: Reader, whole: bytes, path: Path, damage_once, damage_twice) -> None:
    content = damage_once(whole)
    path.write_bytes(damage_twice(content) if damage_twice and content else content)
    read(path)


@pytest.mark.parametrize("kind", KINDS)
@fuzz(25)
@given(damage=damages(), again=st.none() | damages())
def test_damaged_files_are_read_or_named(read, whole, tmp_path, kind, damage, again):
    damage_and_read(read, whole[kind], tmp_path / f"a{KINDS[kind][0]}", damage, again)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@fuzz(1500, chance=True)
@given(damage=damages(), again=st.none() | damages())
def test_many_damaged_files_are_read_or_named(read, whole, tmp_path, kind, damage, again):
    damage_and_read(read, whole[kind], tmp_path / f"a{KINDS[kind][0]}", damage, again)


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
@given(damage=damages())
def test_damaged_archives_are_read_or_named(read, whole, tmp_path, damage):
    plain = tmp_path / "plain.tar"
    if not plain.exists():
        (tmp_path / "a.avi").write_bytes(whole["mjpeg"])
        with tarfile.open(plain, "w") as tar:
            tar.add(tmp_path / "a.avi", "a.avi")
        assert read(f"{plain}/a.avi") is None
    path = tmp_path / "damaged.tar"
    path.write_bytes(damage(plain.read_bytes()))
    read(f"{path}/a.avi")


@fuzz(30)
@given(damage=damages(), which=st.integers(0, 3))
def test_folders_with_a_damaged_image_are_read_or_named(read, whole, tmp_path, damage, which):
    folder = tmp_path / "frames"
    folder.mkdir(exist_ok=True)
    for number in range(4):
        content = whole["png"]
        (folder / f"{number}.png").write_bytes(damage(content) if number == which else content)
    read(folder)
