"""A checkpoint as a folder of safetensors, yaml and JSON: nothing is lost, and nothing changed goes unseen."""

from __future__ import annotations

import re
import shutil

import pytest
import torch

from echoviewclip.utils.bundle import FILES
from echoviewclip.utils.checkpoint import export_checkpoint, load_checkpoint
from echoviewclip.utils.errors import UserError


@pytest.fixture(scope="module")
def content(tiny_runs):
    return load_checkpoint(tiny_runs["quality"] / "last.pth")


@pytest.fixture(scope="module")
def folder(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    export_checkpoint(folder, content)
    return folder


def assert_same(ours, theirs) -> None:
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert_same(ours[name], theirs[name])
    elif isinstance(ours, torch.Tensor):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    else:
        assert ours == theirs


def test_a_folder_holds_all_of_a_checkpoint_but_the_state_of_its_training(content, folder):
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    read = load_checkpoint(folder)
    assert_same(read, {name: value for name, value in content.items() if name != "training"})


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, tmp_path, name):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / name).unlink()
    with pytest.raises(UserError, match=re.escape(f"{copy}: not an exported checkpoint: it has no {name}")):
        load_checkpoint(copy)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_a_changed_byte_is_found(folder, tmp_path, name, place):
    copy = shutil.copytree(folder, tmp_path / "copy")
    data = bytearray((copy / name).read_bytes())
    at = int(place * len(data))
    while data[at] in b" \n":  # between the words of JSON, where any number of them means the same
        at += 1
    data[at] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(UserError, match=re.escape(str(copy))):
        load_checkpoint(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"digests": []}', '{"digests": {}}', "[" * 100_000])
def test_a_file_of_another_kind_is_refused_in_one_line(folder, tmp_path, text):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.json").write_text(text)
    with pytest.raises(UserError, match=re.escape(f"{copy / 'model.json'}: ")):
        load_checkpoint(copy)
