"""Training from cached features: the same bits as without, whatever is random, and after any interruption."""

from __future__ import annotations

import shutil

import pytest
import torch

from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError
from tests.cached import CACHED, DETERMINISTIC, EARLIER, assert_same_training, caches, rows, settings
from tests.killed import RANDOM, Interrupted, killed_after
from tests.tiny_data import PLAIN, TRAINING, assert_same, history, tiny, train
from tests.trainers.test_distributed import two_processes

# All frames, all of each picture: nothing random but the order. Batches of 3, so that none is smaller than others.


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
