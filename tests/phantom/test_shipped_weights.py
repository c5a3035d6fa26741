"""The small towers that configurations start from: they fit, are small, and met none of the patients to come."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from safetensors import safe_open

from echoviewclip.clip.weights import load_towers
from echoviewclip.phantom.patient import Patient
from echoviewclip.utils.config import load_config
from echoviewclip.utils.label_list import read_names

CONFIG = Path("configs/phantom/view.yaml")
PRETRAINING = Path("configs/benchmark/view.yaml")


@pytest.mark.parametrize("file", [CONFIG, "configs/fewshot/full.yaml", "configs/fewshot/frozen.yaml"])
def test_the_small_tower_loads_and_is_under_16_megabytes(file):
    config = load_config(file)
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


def test_the_varied_tower_starts_from_the_plain_one_and_has_not_met_the_hospital_elsewhere():
    assert load_config("configs/world/view.yaml").MODEL.PRETRAINED == "weights/tiny-phantom.safetensors"
    text = Path("configs/world/view.yaml").read_text()
    assert "--variety world" in text and load_config("configs/fewshot/full.yaml").DATA.ROOT == "data/elsewhere"


def test_pictures_of_the_public_gallery_are_labelled_by_names_of_views():
    views = set(read_names("labels/ultracls.csv"))
    with open("labels/tte47.csv", newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 37 and {row["label"] for row in rows} < views
