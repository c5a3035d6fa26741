"""A training from shards: killed at a step it goes on to the same bits, also in two processes; its list is checked."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

import pytest

from echoviewclip.datasets.intake.preparation import Preparation
from echoviewclip.datasets.intake.shards import write_shards
from echoviewclip.trainers import loop
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.distributed import rank
from echoviewclip.utils.errors import UserError
from tests import forked
from tests.killed import Interrupted, killed_after
from tests.tiny_data import TRAINING, assert_same, history, tiny, tiny_options, train, write_standard_folder

SHARDS = {"DATA__SHUFFLE_BUFFER": 4, "TRAIN__EPOCHS": 2, "TRAIN__SAVE_STEPS": 1}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The tiny Standard Folder in shards of two or three videos."""
    folder = write_standard_folder(tmp_path_factory.mktemp("tiny") / "data")
    for file in (folder / "videos").iterdir():
        file.rename(file.with_name(file.name.replace(" ", "_")))
    for file in folder.glob("*.txt"):
        file.write_text(file.read_text().replace("clip ", "clip_").replace("near ", "near_").replace("far ", "far_"))
    (folder / "manifest.csv").write_text("name,warnings\n")
    (folder / "prepared.json").write_text(json.dumps(asdict(Preparation())))
    write_shards(folder, 25_000)
    return folder / "shards"


@pytest.mark.parametrize("step", [3, pytest.param(7, marks=pytest.mark.slow)])  # of five an epoch
def test_a_run_that_was_killed_goes_on_to_the_same_bits(packed, tmp_path, monkeypatch, step):
    whole = train(tiny(packed, tmp_path / "whole", **SHARDS))
    with monkeypatch.context() as patch:
        killed_after(patch, step)
        with pytest.raises(Interrupted):
            train(tiny(packed, tmp_path / "parts", **SHARDS))
    assert load_checkpoint(tmp_path / "parts" / "last.pth")["training"]["step"] == step
    parts = train(tiny(packed, tmp_path / "parts", **SHARDS, TRAIN__AUTO_RESUME=True, DATA__NUM_WORKERS=2))
    for name in ("last.pth", "best.pth"):
        expected, given = load_checkpoint(whole / name), load_checkpoint(parts / name)
        del expected["config"], given["config"]  # they name their own folders
        assert_same(given, expected)
    assert history(parts) == history(whole)
    assert (parts / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 4])  # of three an epoch
def test_two_processes_see_each_video_once_an_epoch_and_go_on_to_the_same_bits(packed, tmp_path, monkeypatch, step):
    gradients = loop.Trainer._gradients

    def noted(self, batch, synchronise):
        with open(f"{self.config.OUTPUT}/places_{rank()}.txt", "a") as file:
            file.writelines(f"{self.epoch} {self.step} {place}\n" for place in batch.place.tolist())
        return gradients(self, batch, synchronise)

    monkeypatch.setattr(loop.Trainer, "_gradients", noted)

    def in_two(output, **more) -> int:
        words = [str(word) for pair in tiny_options(packed, output, **SHARDS, **more) for word in pair]
        command = ["main.py", "-cfg", "configs/phantom/view.yaml", "--opts", *words]
        return forked.wait(forked.start(2, command, tmp_path / "log"), 300)

    def turns(output) -> set[tuple[int, ...]]:
        lines = [
            (number, line) for number in (0, 1) for line in (output / f"places_{number}.txt").read_text().split("\n")
        ]
        return {(number, *map(int, line.split())) for number, line in lines if line}

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert in_two(whole) == 0, (tmp_path / "log").read_text()
    for epoch in {turn[1] for turn in turns(whole)}:
        seen = Counter(video for _, of, _, video in turns(whole) if of == epoch)
        assert set(seen) == set(range(TRAINING)) and seen.total() == TRAINING + 1  # nine for two: one is seen twice
    with monkeypatch.context() as patch:
        killed_after(patch, step)
        assert in_two(parts) == 1
    assert load_checkpoint(parts / "last.pth")["training"]["step"] == step
    assert in_two(parts, TRAIN__AUTO_RESUME=True, DATA__NUM_WORKERS=1) == 0, (tmp_path / "log").read_text()
    for name in ("last.pth", "best.pth"):
        expected, given = load_checkpoint(whole / name), load_checkpoint(parts / name)
        del expected["config"], given["config"]  # they name their own folders
        assert_same(given, expected)
    assert turns(parts) == turns(whole) and history(parts) == history(whole)
    assert (parts / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()


def test_a_buffer_for_videos_that_lie_in_no_shard_is_refused(tiny_folder, tmp_path):
    with pytest.raises(
        UserError, match=r"train\.txt:1: DATA\.SHUFFLE_BUFFER reads shards, and this video lies in none"
    ):
        train(tiny(tiny_folder, tmp_path, DATA__SHUFFLE_BUFFER=4))


def test_without_a_buffer_the_log_says_that_shards_are_read_in_any_order(packed, tmp_path):
    train(tiny(packed, tmp_path, TRAIN__EPOCHS=1))
    said = [line for line in (tmp_path / "log.txt").read_text().splitlines() if "archives" in line]
    assert len(said) == 1 and said[0].endswith(
        "lie in 5 archives and are read in any order; DATA.SHUFFLE_BUFFER 1000 reads these front to back"
    )
