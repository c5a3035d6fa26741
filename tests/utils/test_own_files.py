"""The package's configurations, labels and weights are found in every current folder, behind those that it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from echoviewclip.experiment import chain
from echoviewclip.experiment.steps import Step
from echoviewclip.inference.checkpoint import read_file
from echoviewclip.models.build import configured_towers
from echoviewclip.utils.config import given_keys, load_config
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import find_own
from echoviewclip.utils.label_list import read_names

VIEW = "configs/phantom/view.yaml"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_configuration_of_the_package_says_the_same_everywhere(elsewhere):
    config = load_config(VIEW)
    assert config.MODEL.ARCH == "tiny" and config.DATA.DATASET == "phantom"  # view.yaml's own
    assert "MODEL.ARCH" in given_keys(VIEW, ())


def test_the_files_that_it_names_are_the_package_s_too(elsewhere):
    config = load_config(VIEW)
    assert len(read_names(config.DATA.LABEL_LIST)) == config.DATA.NUM_CLASSES == 38
    assert len(read_names(config.DATA.QUALITY_LIST)) == config.DATA.NUM_QUALITIES
    first, second = configured_towers(config).state_dict(), configured_towers(config).state_dict()
    assert all(first[name].equal(second[name]) for name in first)  # read, not drawn


def test_the_checkpoint_that_knows_real_views_is_the_package_s_too(elsewhere):
    checkpoint = read_file("weights/world")
    assert checkpoint.origin.stage == "view" and len(checkpoint.origin.views) == 38
    assert checkpoint.origin.configuration().DATA.ROOT == "data/world"
    Path("weights/world").mkdir(parents=True)  # in the way of the package's
    (Path("weights/world") / "model.json").write_text("{}")
    with pytest.raises(UserError, match=r"^weights/world: not an exported checkpoint"):
        read_file("weights/world")


def test_a_file_of_the_current_folder_comes_first(elsewhere):
    for name, text in ((VIEW, "SEED: 77\n"), ("labels/quality.csv", "id,name\n0,dark\n1,bright\n")):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text(text)
    assert load_config(VIEW).SEED == 77
    assert read_names("labels/quality.csv") == ["dark", "bright"]
    Path("weights/tiny-phantom.safetensors").mkdir(parents=True)  # in the way of the package's
    with pytest.raises(UserError, match="no such file"):
        configured_towers(
            load_config(VIEW, [("MODEL.ARCH", "tiny"), ("MODEL.PRETRAINED", "weights/tiny-phantom.safetensors")])
        )


def test_what_neither_holds_is_named_as_it_was_given(elsewhere):
    for name in ("configs/mine/view.yaml", "labels", "/nowhere/labels/quality.csv", "", "no\0name"):
        assert find_own(name) == Path(name)
    with pytest.raises(UserError, match=r"^labels/mine\.csv: no such label list"):
        read_names("labels/mine.csv")


def test_an_experiment_knows_its_steps_by_the_package_s_labels(elsewhere, monkeypatch):
    for name in ("train.csv", "val.csv"):
        Path(name).write_text("path,label\na.avi,0\n")
    monkeypatch.setattr(chain, "call", lambda command: 3)
    step = Step("view", True, Path(VIEW), [("DATA.ROOT", "."), ("DATA.OOD_FILE", "")], elsewhere / "run")
    assert chain.run_steps([step], print) == 3
