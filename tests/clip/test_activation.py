"""The activation of the towers is that of their weights, wherever those come from, and in every stage after."""

from __future__ import annotations

import json
import logging

import open_clip
import pytest
import torch
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file

from echoviewclip.clip import weights
from echoviewclip.clip.architectures import build_towers
from echoviewclip.clip.weights import activation_of
from echoviewclip.inference.predictor import load_predictor
from echoviewclip.inference.restore import restore_model
from echoviewclip.inference.resume import read_checkpoint, with_activation
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.tools import export
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.config import load_config
from tests.tiny_data import VIEWS, tiny, tiny_model, train

ONE_STEP = {"TRAIN__BATCH_SIZE": 9, "TRAIN__OPT_LEVEL": "O0", "DATA__OOD_FILE": ""}
STATED = {"model_cfg": {"embed_dim": 128}, "preprocess_cfg": {}}


@pytest.fixture
def hub(tmp_path, monkeypatch) -> dict[str, dict]:
    """A hub with one model, `ours/tiny`, whose configuration is what a test puts there."""
    configurations = {"ours/tiny": STATED}
    torch.manual_seed(3)
    save_file(build_towers("tiny", 32, quick_gelu=False).state_dict(), tmp_path / "weights.safetensors")

    def download(name: str, filename: str | None = None) -> str:
        if filename is None:
            return str(tmp_path / "weights.safetensors")
        (tmp_path / "hub").mkdir(exist_ok=True)
        (tmp_path / "hub" / filename).write_text(json.dumps(configurations[name]))
        return str(tmp_path / "hub" / filename)

    monkeypatch.setattr(weights, "download_pretrained_from_hf", download)
    return configurations


def activations(model: VideoCLIP) -> set[str]:
    """The names of all activations in a model's blocks."""
    return {type(module).__name__ for module in model.modules() if type(module).__name__ in ("GELU", "QuickGELU")}


@pytest.mark.parametrize(("tag", "quick"), [("openai", True), ("laion2b_s34b_b79k", False)])
def test_a_tag_says_its_activation(tag, quick):
    assert activation_of("ViT-B/32", tag) is quick


@pytest.mark.parametrize(
    ("model_cfg", "quick"), [({}, False), ({"quick_gelu": True}, True), ({"quick_gelu": 0}, False)]
)
def test_the_hub_s_configuration_says_the_activation(hub, model_cfg, quick):
    hub["ours/tiny"] = {"model_cfg": model_cfg}
    assert activation_of("tiny", "hf-hub:ours/tiny") is quick


def test_a_configuration_beside_a_file_says_its_activation(tmp_path):
    file = tmp_path / "open_clip_model.safetensors"
    save_file(build_towers("tiny", 32, quick_gelu=False).state_dict(), file)
    assert activation_of("tiny", str(file)) is None
    (tmp_path / "open_clip_config.json").write_text(json.dumps(STATED))
    assert activation_of("tiny", str(file)) is False


@pytest.mark.parametrize(("name", "quick"), [("ViT-B-32", False), ("ViT-B-32-quickgelu", True)])
def test_what_open_clip_itself_writes_for_the_hub_is_read(tmp_path, name, quick):
    model = open_clip.create_model(name, pretrained=None)
    save_config_for_hf(model, tmp_path / "open_clip_config.json", open_clip.get_model_config(name))
    assert activation_of("ViT-B/32", str(tmp_path / "open_clip_model.safetensors")) is quick


def test_a_hub_without_a_configuration_leaves_it_to_the_setting(hub, caplog):
    del hub["ours/tiny"]
    assert activation_of("tiny", "hf-hub:ours/tiny") is None
    assert caplog.messages == [
        "MODEL.PRETRAINED hf-hub:ours/tiny: its open_clip_config.json could not be read (KeyError), "
        "so MODEL.QUICK_GELU decides on the activation"
    ]


def test_weights_that_saw_other_pictures_are_warned_of(hub, caplog):
    hub["ours/tiny"] = {"model_cfg": {}, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}
    activation_of("tiny", "hf-hub:ours/tiny")
    assert caplog.messages == [
        "MODEL.PRETRAINED hf-hub:ours/tiny was trained on pictures with the mean [0.5, 0.5, 0.5], here they have "
        "[0.48145466, 0.4578275, 0.40821073]: expect weaker features"
    ]


def test_it_stays_through_every_stage_and_answer(hub, tiny_folder, tmp_path, monkeypatch, caplog):
    """Also where the settings say otherwise, as those of a stage's own file do, and the hub is gone."""
    caplog.set_level(logging.WARNING)
    views = train(tiny(tiny_folder, tmp_path / "view", **ONE_STEP, MODEL__PRETRAINED="hf-hub:ours/tiny"))
    assert not load_config(views / "config.yaml").MODEL.QUICK_GELU
    monkeypatch.setattr(weights, "download_pretrained_from_hf", None)
    resume = {"MODEL__RESUME": str(views / "last.pth"), "MODEL__QUICK_GELU": True, "MODEL__PRETRAINED": ""}
    config, _ = tiny_model("negation", **resume)
    checkpoint = read_checkpoint(config, VIEWS, [])
    config = with_activation(config, checkpoint)
    assert activations(restore_model(config, VIEWS, checkpoint)[0]) == {"GELU"}
    run = train(tiny(tiny_folder, tmp_path / "negation", "negation", **ONE_STEP, **resume))
    assert not load_config(run / "config.yaml").MODEL.QUICK_GELU
    assert activations(load_predictor(run / "last.pth").model) == {"GELU"}
    again = {"MODEL__RESUME": str(run / "last.pth"), "MODEL__QUICK_GELU": True, "TEST__ONLY_TEST": True}
    test = train(tiny(tiny_folder, tmp_path / "test", "negation", **ONE_STEP, **again))
    assert "QUICK_GELU True" not in "".join(caplog.messages)
    assert (test / "log.txt").read_text().count("MODEL.QUICK_GELU is False: the weights were trained so") == 1


def test_exported_towers_say_it_themselves(hub, tiny_folder, tmp_path, monkeypatch):
    run = train(tiny(tiny_folder, tmp_path / "view", **ONE_STEP, MODEL__PRETRAINED="hf-hub:ours/tiny"))
    towers = tmp_path / "towers.safetensors"
    monkeypatch.setattr("sys.argv", ["export.py", str(run / "last.pth"), str(towers)])
    assert export.main() == 0
    again = train(tiny(tiny_folder, tmp_path / "again", **ONE_STEP, MODEL__PRETRAINED=str(towers)))
    assert not load_config(again / "config.yaml").MODEL.QUICK_GELU
    assert load_checkpoint(again / "last.pth")["config"].count("QUICK_GELU: false") == 1
