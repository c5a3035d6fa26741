"""The files of a cache: of exactly these weights, videos and settings, whole, no more than there is room for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from echoviewclip.trainers import cache_files, feature_cache
from echoviewclip.trainers.feature_cache import FeatureCache
from echoviewclip.utils.errors import UserError
from tests.cached import CACHED, assert_same_training, caches, rows, settings
from tests.killed import Interrupted
from tests.tiny_data import assert_same, tiny, train


def key(folder: Path, output: Path, **changes) -> str:
    return caches(folder, output, **changes).folder.name


def test_the_key_knows_weights_videos_and_what_makes_clips_of_them(tiny_folder, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(tiny_folder, folder)
    known = key(folder, tmp_path)
    assert key(folder, tmp_path / "elsewhere") == known
    for same in ({"TRAIN__LR": 0.5}, {"TRAIN__CACHE_DRAWS": 3}, {"AUG__LABEL_SMOOTH": 0.3}, {"TRAIN__EPOCHS": 5}):
        assert key(folder, tmp_path, **same) == known
    other = [key(folder, tmp_path, seed=1)]
    for change in (
        {"AUG__FLIP": 0.5},
        {"AUG__OUTLIERS": ["turned"]},
        {"TRAIN__OUTLIER_WEIGHT": 0.0},
        {"DATA__SAMPLING": "stride"},
        {"TRAIN__OPT_LEVEL": "O0"},
        {"TRAIN__CACHE_DTYPE": "half"},
        {"TRAIN__BATCH_SIZE": 4},
        {"SEED": 3},
    ):
        other.append(key(folder, tmp_path, **change))
    lines = (folder / "train.txt").read_text().splitlines()
    (folder / "train.txt").write_text("\n".join(lines[:-1]))
    other.append(key(folder, tmp_path))
    (folder / "train.txt").write_text("\n".join([*lines[:-1], lines[-1][:-1] + "3"]))
    other.append(key(folder, tmp_path))
    (folder / "train.txt").write_text("\n".join(lines))
    assert key(folder, tmp_path) == known
    os.utime(folder / "videos" / "clip 3.avi", (0, 0))
    other.append(key(folder, tmp_path))
    assert len({known, *other}) == len(other) + 1


def test_the_key_changes_with_the_code(tiny_folder, tmp_path, monkeypatch):
    known = key(tiny_folder, tmp_path)
    monkeypatch.setattr("echoviewclip.trainers.cache_key.VERSION", 0)
    assert key(tiny_folder, tmp_path) != known


def test_a_cache_that_is_half_written_is_finished(tiny_folder, tmp_path, monkeypatch):
    whole = caches(tiny_folder, tmp_path / "whole", TRAIN__OPT_LEVEL="O0")
    expected = rows(whole, 0)
    cache = caches(tiny_folder, tmp_path / "parts", TRAIN__OPT_LEVEL="O0")
    write, written = cache_files.save_file, []

    def killed(tensors, file, metadata):
        if len(written) == 2:
            file.write_bytes(b"half of a")
            os.rename(file, file.with_name(".draw_0.safetensors"))  # as one that nobody can remove any more
            raise Interrupted
        written.append(write(tensors, file, metadata))

    with monkeypatch.context() as patch:
        patch.setattr(cache_files, "save_file", killed)
        with pytest.raises(Interrupted):
            rows(cache, 0)
    assert len(list(cache.folder.glob("draw_*"))) == 2
    encode, seen = FeatureCache._encode, []
    monkeypatch.setattr(
        FeatureCache, "_encode", lambda self, video, lit: seen.append(len(video)) or encode(self, video, lit)
    )
    assert_same(rows(cache, 0), expected)
    assert len(seen) == cache.data.batches - 2
    assert_same(rows(cache, 0), expected)
    assert len(seen) == cache.data.batches - 2


def test_runs_share_a_folder_and_leave_it(tiny_folder, tiny_runs, tmp_path, monkeypatch):
    options = settings(tiny_runs, "quality", **CACHED, TRAIN__CACHE_FOLDER=str(tmp_path / "shared"))
    first = train(tiny(tiny_folder, tmp_path / "first", "quality", **options))
    monkeypatch.setattr(feature_cache, "write_batch", None)  # nothing is left to compute
    second = train(tiny(tiny_folder, tmp_path / "second", "quality", **options))
    assert_same_training(second, first)
    assert len(list((tmp_path / "shared").iterdir())) == 1
    monkeypatch.undo()
    train(tiny(tiny_folder, tmp_path / "third", "quality", **options, SEED=8))
    assert len(list((tmp_path / "shared").iterdir())) == 2


def test_a_run_removes_its_own_caches_of_other_weights(tiny_folder, tmp_path):
    first = caches(tiny_folder, tmp_path)
    rows(first, 0)
    assert caches(tiny_folder, tmp_path).folder == first.folder and first.folder.is_dir()
    other = caches(tiny_folder, tmp_path, seed=1)
    assert other.folder != first.folder and not first.folder.exists()


def test_too_little_room_is_refused_before_anything_is_written(tiny_folder, tmp_path, monkeypatch):
    cache = caches(tiny_folder, tmp_path, TRAIN__EPOCHS=3)
    rows(cache, 0), rows(cache, 1), rows(cache, 2)
    files = [file.stat().st_size for file in cache.folder.iterdir()]
    needed = 3 * (13 * cache.clip_bytes() + 5 * cache_files.HEADER)
    assert sum(files) <= needed <= sum(files) + len(files) * cache_files.HEADER
    said = f"TRAIN.CACHE_FEATURES True: 3 draws of 9 videos and 4 outliers take {needed / 1e9:.3g} GB in "
    ways = "lower TRAIN.CACHE_DRAWS, name a folder on another disk (TRAIN.CACHE_FOLDER), or set it False"
    with pytest.raises(UserError) as caught:
        caches(tiny_folder, tmp_path / "small", TRAIN__EPOCHS=3, TRAIN__CACHE_LIMIT=0.0001)
    assert str(caught.value) == (
        f"{said}{tmp_path}/small/feature_cache, more than TRAIN.CACHE_LIMIT 0.0001 GB; raise that, {ways}"
    )
    with pytest.raises(UserError) as caught:
        caches(
            *(tiny_folder, tmp_path / "beside"),
            seed=1,
            TRAIN__EPOCHS=3,
            TRAIN__CACHE_LIMIT=needed / 1e9,
            TRAIN__CACHE_FOLDER=str(tmp_path / "feature_cache"),
        )
    assert str(caught.value) == (
        f"{said}{tmp_path}/feature_cache beside {sum(files) / 1e9:.3g} GB of other caches, more than "
        f"TRAIN.CACHE_LIMIT {needed / 1e9:g} GB; raise that, {ways}"
    )
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 1000))
    assert caches(tiny_folder, tmp_path, TRAIN__EPOCHS=3).folder == cache.folder  # is there already
    with pytest.raises(UserError) as caught:
        caches(tiny_folder, tmp_path / "full", TRAIN__EPOCHS=3)
    assert str(caught.value) == (
        f"{said}{tmp_path}/full/feature_cache, of which 0 GB are there and 1e-06 GB are free; {ways}"
    )
    assert not any((tmp_path / name).exists() for name in ("small", "beside", "full"))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named(tiny_folder, tmp_path, workers):
    cache = caches(tiny_folder, tmp_path, DATA__NUM_WORKERS=workers)
    rows(cache, 0)
    file = next(cache.folder.glob("draw_0_process_0_batch_3*"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError) as caught:
        rows(cache, 0)
    assert str(caught.value).startswith(f"{file}: corrupted (")
    assert str(caught.value).endswith("); remove it, and it is computed again")


def test_features_beyond_half_precision_are_refused(tiny_folder, tmp_path):
    cache = caches(tiny_folder, tmp_path, TRAIN__OPT_LEVEL="O0", TRAIN__CACHE_DTYPE="half")
    assert cache._stored(torch.tensor([65504.0, torch.inf])).dtype == torch.float16
    with pytest.raises(UserError) as caught:
        cache._stored(torch.tensor([1e5]))
    assert str(caught.value) == (
        "TRAIN.CACHE_DTYPE half: the features reach beyond the range of float16; set it to computed"
    )
