"""Training from cached features: the same bits as without, after any interruption, and never features of others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from echoviewclip.datasets.configured import training_data
from echoviewclip.inference.precision import Precision
from echoviewclip.trainers import cache_files, feature_cache
from echoviewclip.trainers.data import read_list
from echoviewclip.trainers.feature_cache import FeatureCache
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.stopping import Stop
from tests.tiny_data import PLAIN, TRAINING, assert_same, history, tiny, tiny_model, train
from tests.trainers.test_distributed import two_processes
from tests.trainers.test_training import RANDOM, Interrupted, killed_after

CPU = torch.device("cpu")
EARLIER = {"negation": "view", "quality": "negation"}
CACHED = {"TRAIN__CACHE_FEATURES": True, "TRAIN__CACHE_DTYPE": "computed"}
# All frames, all of each picture: nothing random but the order. Batches of 3, so that none is smaller than others.
DETERMINISTIC = PLAIN | {"DATA__NUM_FRAMES": 6, "AUG__OUTLIERS": ["virtual"], "TRAIN__BATCH_SIZE": 3}


def settings(tiny_runs, stage: str, **changes) -> dict:
    """Of a stage that grows from the stage before."""
    return {
        "MODEL__RESUME": str(tiny_runs[EARLIER[stage]] / "last.pth"),
        "DATA__OOD_FILE": "",
        "EVAL_FREQ": 9,
    } | changes


def assert_same_training(run: Path, other: Path) -> None:
    """Checkpoints, lines and predictions, to the bit."""
    for name in ("last.pth", "best.pth"):
        given, expected = load_checkpoint(run / name), load_checkpoint(other / name)
        del given["config"], expected["config"]
        assert_same(given, expected)
    assert history(run) == history(other)
    assert (run / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()


def caches(folder: Path, output: Path, stage: str = "negation", seed: int = 0, **changes) -> FeatureCache:
    """The cache of a training from random weights."""
    config = tiny(folder, output, stage, **CACHED | changes)
    _, model = tiny_model(stage, **changes)
    if seed:
        torch.nn.init.normal_(model.positive.projection, generator=torch.Generator().manual_seed(seed))
    made = build_stage(config)
    made.prepare(model)
    precision = Precision(config.TRAIN.OPT_LEVEL, model, CPU)
    data = training_data(config, read_list(config, config.DATA.TRAIN_FILE, "DATA.TRAIN_FILE"))
    return FeatureCache(config, made, model, precision, data, Stop())


@pytest.mark.parametrize(
    ("stage", "variant", "level", "dtype"),
    [
        ("negation", "paper", "O0", "computed"),
        pytest.param("negation", "paper", "O1", "computed", marks=pytest.mark.slow),
        pytest.param("negation", "released", "O2", "computed", marks=pytest.mark.slow),
        ("quality", "paper", "O0", "computed"),
        pytest.param("quality", "paper", "O2", "computed", marks=pytest.mark.slow),
        pytest.param("quality", "released", "O0", "computed", marks=pytest.mark.slow),
    ],
)
def test_epochs_of_a_draw_of_their_own_are_those_without_a_cache(
    tiny_folder, tiny_runs, tmp_path, stage, variant, level, dtype
):
    """Whatever is random: augmentation, blending, synthetic outliers, stochastic depth."""
    resume = str(tiny_runs[EARLIER[stage]] / "last.pth") if variant == "paper" else ""
    if variant == "released":
        for before in ("view", "negation")[: 1 if stage == "negation" else 2]:
            run = train(tiny(tiny_folder, tmp_path / before, before, MODEL__VARIANT=variant, MODEL__RESUME=resume))
            resume = str(run / "last.pth")
    options = settings(tiny_runs, stage, **RANDOM, MODEL__VARIANT=variant, TRAIN__OPT_LEVEL=level, TRAIN__EPOCHS=2)
    options |= {"MODEL__RESUME": resume, "TRAIN__CACHE_DTYPE": dtype}
    plain = train(tiny(tiny_folder, tmp_path / "plain", stage, **options))
    options |= {"TRAIN__CACHE_FEATURES": True, "TRAIN__CACHE_DRAWS": 2}
    assert_same_training(train(tiny(tiny_folder, tmp_path / "cached", stage, **options)), plain)
    assert not (tmp_path / "cached" / "feature_cache").exists()


@pytest.mark.parametrize("stage", ["negation", "quality"])
def test_with_deterministic_transforms_one_draw_trains_as_no_cache_does(tiny_folder, tiny_runs, tmp_path, stage):
    options = settings(tiny_runs, stage, **DETERMINISTIC, TRAIN__EPOCHS=3)
    plain = train(tiny(tiny_folder, tmp_path / "plain", stage, **options))
    cached = train(tiny(tiny_folder, tmp_path / "cached", stage, **options, **CACHED, TRAIN__CACHE_DRAWS=1))
    assert_same_training(cached, plain)


def test_half_storage_is_exact_where_half_is_computed_and_close_elsewhere(tiny_folder, tiny_runs, tmp_path):
    options = settings(tiny_runs, "negation", **DETERMINISTIC)
    plain = train(tiny(tiny_folder, tmp_path / "plain", "negation", **options))
    options |= {"TRAIN__CACHE_FEATURES": True, "TRAIN__CACHE_DTYPE": "half"}
    half = train(tiny(tiny_folder, tmp_path / "half", "negation", **options))
    weights, expected = (load_checkpoint(run / "last.pth")["model"] for run in (half, plain))
    name = "negative.projection"
    torch.testing.assert_close(weights[name], expected[name], rtol=1e-2, atol=1e-4)
    assert not torch.equal(weights[name], expected[name])


def rows(cache: FeatureCache, epoch: int) -> tuple[list[int], dict[int, torch.Tensor], torch.Tensor]:
    """The order of an epoch's videos, the trunk's tokens of each, and those of the outliers."""
    order, tokens, outliers = [], {}, []
    for batch in cache.epoch(epoch):
        places = batch.place.tolist()
        order += places
        tokens |= dict(zip(places, batch.seen.tokens, strict=False))
        outliers.append(batch.seen.tokens[len(places) :])
        assert not batch.targets[len(places) :].any() and batch.targets[: len(places)].any(dim=1).all()
    return order, tokens, torch.cat(outliers)


def test_draws_are_taken_in_turn_and_only_the_order_is_new(tiny_folder, tmp_path):
    cache = caches(tiny_folder, tmp_path, **PLAIN, TRAIN__EPOCHS=4, TRAIN__CACHE_DRAWS=2)
    epochs = [rows(cache, epoch) for epoch in range(4)]
    assert all(sorted(order) == list(range(TRAINING)) for order, _, _ in epochs)
    assert len({tuple(order) for order, _, _ in epochs}) == 4
    for first, later in ((0, 2), (1, 3)):
        assert_same(epochs[later][1], epochs[first][1])
        assert torch.equal(epochs[later][2], epochs[first][2])
    assert not all(torch.equal(epochs[0][1][video], epochs[1][1][video]) for video in range(TRAINING))


def test_an_epoch_goes_on_after_the_batches_that_are_done(tiny_folder, tmp_path):
    cache = caches(tiny_folder, tmp_path, **PLAIN, TRAIN__EPOCHS=2, TRAIN__CACHE_DRAWS=1)
    for epoch in range(2):
        whole = [(batch.place, batch.targets, batch.seen.tokens) for batch in cache.epoch(epoch)]
        rest = [(batch.place, batch.targets, batch.seen.tokens) for batch in cache.epoch(epoch, skip=2)]
        assert_same(rest, whole[2:])


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


def test_a_run_that_was_killed_goes_on_to_the_same_bits(tiny_folder, tiny_runs, tmp_path, monkeypatch):
    options = settings(tiny_runs, "negation", **RANDOM | CACHED, TRAIN__EPOCHS=2, TRAIN__SAVE_STEPS=1)
    options |= {"TRAIN__CACHE_DRAWS": 1}
    whole = train(tiny(tiny_folder, tmp_path / "whole", "negation", **options))
    for step in (3, 8):  # in the draw's first epoch, and in one that repeats it
        run = tmp_path / str(step)
        with monkeypatch.context() as patch:
            killed_after(patch, step)
            with pytest.raises(Interrupted):
                train(tiny(tiny_folder, run, "negation", **options))
        assert load_checkpoint(run / "last.pth")["training"]["step"] == step
        if step == 8:
            shutil.rmtree(run / "feature_cache")  # lost: computed again, which leaves the run's account alone
        assert_same_training(train(tiny(tiny_folder, run, "negation", **options, TRAIN__AUTO_RESUME=True)), whole)


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
    monkeypatch.setattr(FeatureCache, "_encode", lambda self, video: seen.append(len(video)) or encode(self, video))
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


def test_a_stage_that_trains_the_image_tower_is_refused(tiny_folder, tmp_path):
    with pytest.raises(UserError) as caught:
        train(tiny(tiny_folder, tmp_path, **CACHED))
    assert str(caught.value) == (
        "TRAIN.CACHE_FEATURES True: stage view trains the image tower, so what it sees in a video changes with every "
        "step; set it False"
    )
    assert not (tmp_path / "config.yaml").exists()


def test_stage_view_trains_its_texts_alone_from_cached_features(tiny_folder, tmp_path):
    options = DETERMINISTIC | {"TRAINER__ViFi_CLIP__USE": "text", "TRAIN__EPOCHS": 2}
    plain = train(tiny(tiny_folder, tmp_path / "plain", **options))
    assert_same_training(train(tiny(tiny_folder, tmp_path / "cached", **options, **CACHED)), plain)


def test_unreadable_videos_are_replaced_and_counted_as_without_a_cache(tiny_folder, tiny_runs, tmp_path):
    lines = (tiny_folder / "train.txt").read_text().splitlines()
    (tmp_path / "train.txt").write_text("\n".join([*lines[:4], "lost.avi 1", *lines[4:]]))
    options = settings(tiny_runs, "negation", DATA__TRAIN_FILE=str(tmp_path / "train.txt"), TRAIN__EPOCHS=2)
    options |= {"DATA__MAX_BAD_FRACTION": 0.2}
    plain = train(tiny(tiny_folder, tmp_path / "plain", "negation", **options))
    cached = train(tiny(tiny_folder, tmp_path / "cached", "negation", **options, **CACHED))
    assert_same_training(cached, plain)
    assert history(cached)[-2]["train"]["bad_videos"] == 1
    assert (cached / "log.txt").read_text().count("lost.avi cannot be read and is replaced by another video") == 1
    with pytest.raises(UserError, match="1 of 10 training videos cannot be read"):
        train(tiny(tiny_folder, tmp_path / "bad", "negation", **options | {"DATA__MAX_BAD_FRACTION": 0.0}, **CACHED))


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


@pytest.mark.slow
def test_two_processes_share_a_cache(tiny_folder, tiny_runs, tmp_path):
    """Each computes its own share, and later epochs read what either has computed."""
    options = settings(tiny_runs, "negation", **DETERMINISTIC | {"TRAIN__EPOCHS": 3, "TRAIN__BATCH_SIZE": 2})
    cached = options | CACHED | {"TRAIN__CACHE_DRAWS": 1, "TRAIN__CACHE_FOLDER": str(tmp_path / "shared")}
    for name, settings_ in (("plain", options), ("cached", cached)):
        configured = tiny(tiny_folder, tmp_path / name, "negation", **settings_)
        (tmp_path / f"{name}.yaml").write_text(configured.dump())
        two_processes("-cfg", tmp_path / f"{name}.yaml")
    assert_same_training(tmp_path / "cached", tmp_path / "plain")
    names = {file.name for file in (tmp_path / "shared").glob("*/*")}
    assert names == {f"draw_0_process_{process}_batch_{k}.safetensors" for process in range(2) for k in range(3)}
