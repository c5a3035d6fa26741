"""Damaged checkpoints: every flipped bit, lost block and changed field is found, in one line, and the run goes on."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from echoviewclip.deploy.towers import towers_of
from echoviewclip.inference.checkpoint import read_file
from echoviewclip.inference.predictor import load_predictor
from echoviewclip.utils import checkpoint_fields
from echoviewclip.utils.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint
from echoviewclip.utils.errors import UserError
from tests.damage import changed_fields, damaged_bytes, small_content, write
from tests.tiny_data import history, tiny, train


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("small") / "last.pth"
    save_checkpoint(file, small_content())
    return file


def test_500_damaged_checkpoints_are_refused_in_one_line(small, tmp_path):
    assert load_checkpoint(small)["epoch"] == 0
    for name, data in damaged_bytes(small.read_bytes(), 500, seed=1):
        with pytest.raises(UserError) as caught:
            load_checkpoint(write(tmp_path / "a.pth", data))
            pytest.fail(f"{name}: loaded silently")
        assert str(caught.value).startswith(f"{tmp_path}/a.pth: ") and "\n" not in str(caught.value)


def test_every_bit_of_the_digest_itself_counts(small, tmp_path):
    whole = small.read_bytes()
    for place in range(len(whole) - 100, len(whole)):
        for bit in (0, 5, 7):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            with pytest.raises(UserError):
                load_checkpoint(write(tmp_path / "a.pth", data))


def earlier(file: Path, content: dict) -> Path:
    """As versions wrote it that ended a checkpoint with no digest."""
    torch.save({**content, "format": 1}, file)
    return file


def test_checkpoints_of_earlier_versions_load_and_have_the_checksums_of_their_records(small, tmp_path):
    content = load_checkpoint(small)
    del content["tokens"], content["preparation"]
    file = earlier(tmp_path / "a.pth", content)
    assert load_checkpoint(file).keys() == content.keys()
    whole, weights = file.read_bytes(), content["model"]["weight"].numpy().tobytes()
    start = whole.index(weights)
    random = np.random.default_rng(0)
    for place in random.integers(start, start + len(weights), 60):
        data = bytearray(whole)
        data[place] ^= 1 << int(random.integers(8))
        with pytest.raises(DamagedCheckpoint, match=r"the checksum of .* is another; take another checkpoint"):
            load_checkpoint(write(file, data))


def test_a_checkpoint_that_lost_its_digest_is_refused(small, tmp_path):
    content = load_checkpoint(small)
    torch.save(content, tmp_path / "a.pth")  # as an editor might
    with pytest.raises(DamagedCheckpoint, match="damaged: its digest is gone"):
        load_checkpoint(tmp_path / "a.pth")


def test_changed_fields_load_as_they_are_or_are_refused_in_one_line(tmp_path):
    """No traceback, whatever a field holds; what loads has fields of the right kind everywhere."""
    refused = 0
    for name, content in changed_fields(small_content(), 150, seed=2):
        file = earlier(tmp_path / "a.pth", content)
        try:
            assert checkpoint_fields.fault(load_checkpoint(file)) is None, name
        except UserError as error:
            refused += 1
            assert "\n" not in str(error), name
    assert refused > 75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": None}, "`views` is not a list of names"),
        ({"views": ["a"]}, "`views` are 1, but its configuration says 4"),
        ({"stage": "quality"}, "`stage` is quality, but its configuration says negation"),
        ({"config": "MODEL: {ARCH: 5"}, "the checkpoint's configuration: not valid yaml"),
        ({"config": "MODEL: {SIZE: 5}"}, "the checkpoint's configuration: unknown key MODEL.SIZE"),
        ({"calibration": {"score": "knn"}}, "`calibration` is not a score with its threshold, and a temperature"),
        ({"statistics": {"means": torch.ones(2, 2)}}, "`statistics` is not statistics of features"),
        ({"epoch": 0.5}, "`epoch` is not the number of an epoch"),
        ({"model": {"w": torch.tensor([1.0, torch.nan])}}, "weights are not finite: w"),
        ({"preparation": {"size": 256}}, "`preparation` is not how the training videos were prepared"),
        ({"training": {"epoch": 1}}, "`training` is not the state of a training"),
    ],
)
def test_the_message_names_the_field(tmp_path, change, message):
    save_checkpoint(tmp_path / "a.pth", small_content() | change)
    with pytest.raises(DamagedCheckpoint) as caught:
        load_checkpoint(tmp_path / "a.pth")
    assert str(caught.value).startswith(f"{tmp_path}/a.pth: damaged: {message}")


SETTINGS = {"TRAIN__AUTO_RESUME": True, "TRAIN__BATCH_SIZE": 9, "TRAIN__OPT_LEVEL": "O0", "TRAIN__WARMUP_EPOCHS": 0}
SETTINGS |= {"TRAIN__LR_SCHEDULER": "constant"}


@pytest.fixture(scope="module")
def two_epochs(tiny_folder, tmp_path_factory) -> Path:
    return train(tiny(tiny_folder, tmp_path_factory.mktemp("two"), **SETTINGS, TRAIN__EPOCHS=2))


def test_weights_that_are_not_finite_answer_nothing(tiny_folder, two_epochs, tmp_path):
    content, file = load_checkpoint(two_epochs / "last.pth"), tmp_path / "a.pth"
    content["model"]["positive.projection"][3, 4] = torch.nan
    save_checkpoint(file, content)
    commands = [
        lambda: train(tiny(tiny_folder, tmp_path / "test", MODEL__RESUME=str(file), TEST__ONLY_TEST=True)),
        lambda: train(tiny(tiny_folder, tmp_path / "next", "negation", MODEL__RESUME=str(file))),
        lambda: load_predictor(file),
        lambda: towers_of(read_file(file)),
    ]
    for command in commands:
        with pytest.raises(UserError, match=r"weights are not finite: positive\.projection; take another"):
            command()


def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tiny_folder, two_epochs, tmp_path):
    whole = train(tiny(tiny_folder, tmp_path / "whole", **SETTINGS, TRAIN__EPOCHS=3))
    run = Path(shutil.copytree(two_epochs, tmp_path / "run"))
    last, before = run / "last.pth", run / "last.prev.pth"
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 4
    last.write_bytes(data)
    assert load_checkpoint(before)["training"]["step"] <= 2
    train(tiny(tiny_folder, tmp_path / "run", **SETTINGS, TRAIN__EPOCHS=3))
    said = (run / "log.txt").read_text()
    assert f"{last}: damaged: its digest is another" in said and f"the run goes on from {before}" in said
    ours, theirs = load_checkpoint(run / "last.pth")["model"], load_checkpoint(whole / "last.pth")["model"]
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [line["step"] for line in history(run)] == [line["step"] for line in history(whole)]
    for file in (last, before):
        file.write_bytes(b"PK" + struct.pack("<I", 7))
    with pytest.raises(UserError, match=f"^{last}: damaged"):
        train(tiny(tiny_folder, tmp_path / "run", **SETTINGS, TRAIN__EPOCHS=3))
