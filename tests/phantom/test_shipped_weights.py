"""The small tower that the phantom configurations start from: it fits, is small, and met none of their patients."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from safetensors import safe_open

from echoviewclip.clip.weights import load_towers
from echoviewclip.phantom.patient import Patient
from echoviewclip.utils.config import load_config

CONFIG = Path("configs/phantom/view.yaml")
PRETRAINING = Path("configs/benchmark/view.yaml")


def test_the_small_tower_loads_and_is_under_16_megabytes():
    config = load_config(CONFIG)
    file = Path(config.MODEL.PRETRAINED)
    assert file.stat().st_size < 16e6
    towers = load_towers(config.MODEL.ARCH, str(file), config.DATA.INPUT_SIZE)
    with safe_open(file, "pt") as weights:
        assert set(weights.keys()) == set(towers.state_dict())


def test_no_patient_it_learned_from_is_in_the_data_of_the_demo():
    text = PRETRAINING.read_text()
    patients, seed = (int(re.search(rf"--{name} (\d+)", text)[1]) for name in ("patients", "seed"))
    makes = re.search(r"tools/phantom.py \$data( .*)?; fi", Path("demo.sh").read_text())
    assert makes and not makes[1]  # the defaults: 36 patients of seed 0
    learned = {Patient.draw(seed, number).heart for number in range(patients)}
    assert len(learned) == patients
    assert not learned & {Patient.draw(0, number).heart for number in range(36)}


@pytest.mark.parametrize("stage", ["view", "negation", "quality"])
def test_the_phantom_s_stages_start_from_it_and_it_from_nothing(stage):
    assert load_config(PRETRAINING).MODEL.PRETRAINED == ""
    assert load_config(f"configs/phantom/{stage}.yaml").MODEL.PRETRAINED == "weights/tiny-phantom.safetensors"
