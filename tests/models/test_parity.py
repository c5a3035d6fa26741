"""The released variant answers what the published code answered, for all three stages and any further fixtures."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from echoviewclip.clip.architectures import build_towers
from echoviewclip.models.build import build_model, class_prompts
from echoviewclip.models.released import translate
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.config import load_config
from tests.tiny_data import entries

HERE = Path(__file__).parents[1] / "data" / "parity"
STAGE = {"view": "view", "ood": "negation", "negation": "negation", "qc": "quality", "quality": "quality"}
FILE = {"view": "train_stage1.yaml", "negation": "train_stage2.yaml", "quality": "train_qc.yaml"}
NAMES = {
    "logits": "positive.logits",
    "logits_no": "negative.logits",
    "text_features": "texts.positive",
    "text_features_no": "texts.negative",
    "video_features": "positive.features",
    "video_features_no": "negative.features",
    "attention": "positive.attention",
    "attention_no": "negative.attention",
    "logits_quality": "quality.logits",
}


def fixtures():
    for folder in (HERE, os.environ.get("PARITY_FIXTURES")):
        for manifest in sorted(Path(folder).glob("*.json")) if folder else ():
            if not manifest.stem.startswith("train_"):  # tests/trainers/test_parity_training.py
                # What stage 1 answers is computed, and compared, on the way to the answers of stage 2.
                slow = [pytest.mark.slow] * (folder == HERE and manifest.stem != "stage2_negation")
                yield pytest.param(manifest, id=manifest.stem, marks=slow)


def fixture_weights(folder: Path):
    """The fixtures' own `weights.py`; another folder may bring its own, else ours serves."""
    file = next((f for f in (folder / "weights.py", folder.parent / "weights.py") if f.is_file()), HERE / "weights.py")
    spec = importlib.util.spec_from_file_location("parity_weights", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def released_config(manifest: dict):
    """The published recipe's configuration of the fixture's stage, with its number of classes and its overrides."""
    stage = STAGE[manifest["stage"]]
    count = "DATA.NUM_QUALITIES" if stage == "quality" else "DATA.NUM_CLASSES"
    options = manifest["opts"]  # flat, as on the command line: key, value, key, value …
    overrides = [(count, len(manifest["classes"])), *zip(options[::2], options[1::2], strict=True)]
    return load_config(Path("configs/released") / FILE[stage], overrides)


def published_model(config, manifest: dict, weights) -> tuple[VideoCLIP, open_clip.CLIP, list[str]]:
    """The released model with a fixture's weights, the towers it was made of, and the names of the views."""
    towers = build_towers(config.MODEL.ARCH, config.DATA.INPUT_SIZE, quick_gelu=True)
    with torch.no_grad():
        towers.token_embedding.weight.copy_(torch.from_numpy(weights.token_embedding()))
    views = manifest["classes"] if config.STAGE != "quality" else [f"view {i}" for i in range(config.DATA.NUM_CLASSES)]
    model = build_model(config, views, towers)
    state = {key: torch.from_numpy(value) for key, value in weights.state_dict(manifest).items()}
    answer = model.load_state_dict(translate(state, config.MODEL.SHARED_BLOCKS), strict=False)
    assert not answer.unexpected_keys
    assert [key for key in answer.missing_keys if not key.endswith("prompts.embeddings")] == []
    return model, towers, views


@pytest.mark.parametrize("file", fixtures())
def test_released_variant_answers_as_the_published_code(file: Path):
    weights = fixture_weights(file.parent)
    manifest, expected = weights.load(file.stem, file.parent)
    config = released_config(manifest)
    model, towers, views = published_model(config, manifest, weights)
    model.eval()

    if "prompt_token_ids" in expected:
        ids = class_prompts(config, views, towers.token_embedding, negative=False).token_ids
        np.testing.assert_array_equal(ids, expected["prompt_token_ids"])
    if "prompt_token_ids_no" in expected:
        ids = class_prompts(config, views, towers.token_embedding, negative=True).token_ids
        np.testing.assert_array_equal(ids, expected["prompt_token_ids_no"])

    clips = torch.from_numpy(weights.inputs(manifest, config.DATA.NUM_FRAMES, config.DATA.INPUT_SIZE))
    parts = {"view": ("positive",), "negation": ("positive", "negative"), "quality": ("quality",)}[config.STAGE]
    with torch.no_grad():
        answers = entries(model(clips, parts))
    compared = set(expected) - {"prompt_token_ids", "prompt_token_ids_no"}
    assert compared and compared <= set(NAMES)
    for name in compared:
        np.testing.assert_allclose(answers[NAMES[name]].numpy(), expected[name], rtol=0, atol=1e-4, err_msg=name)
