"""The keys in one place: what is derived from them, and which of them the user set."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from echoviewclip import main
from echoviewclip.datasets.outliers import KINDS
from echoviewclip.datasets.sampling import MODES
from echoviewclip.datasets.video.open import DECODERS
from echoviewclip.models.pooling import POOLINGS
from echoviewclip.models.quality import HEADS
from echoviewclip.trainers.stages import ORDINAL_LOSSES, STAGES
from echoviewclip.utils.config import default_config, given_keys, load_config, without_effect
from echoviewclip.utils.config.reference import PAGE, page
from echoviewclip.utils.config.schema import KEYS, SECTIONS, value_of
from echoviewclip.utils.errors import UserError
from tests.tiny_data import tiny, tiny_options, undisturbed_logging

SET_LATER = ("STAGE", "DATA.NUM_CLASSES", "DATA.NUM_QUALITIES")  # follow from other keys when they are read
LABEL_SMOOTH = "AUG.LABEL_SMOOTH 0.1 has no effect: TRAIN.NEGATION_LOSS clipn is a yes or no for each class"


# ── The keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_default_is_of_its_key_s_type_and_allowed(key):
    item = get_args(key.kind)
    if item:
        assert isinstance(key.default, list) and {type(value) for value in key.default} <= {*item}
    else:
        assert type(key.default) is key.kind
    assert value_of(default_config(), key.name) == key.default
    if key.name not in SET_LATER:
        key.check(key.default)


def test_each_key_is_in_the_section_of_its_group():
    for section in SECTIONS:
        assert {key.name.rpartition(".")[0] for key in section.keys} == {section.name}
    assert len(KEYS) == sum(len(section.keys) for section in SECTIONS)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("STAGE", STAGES),
        ("DATA.DECODER", DECODERS),
        ("DATA.SAMPLING", MODES),
        ("MODEL.POOLING", POOLINGS),
        ("MODEL.QUALITY_HEAD", HEADS),
        ("TRAIN.ORDINAL_LOSS", ORDINAL_LOSSES),
        ("AUG.OUTLIERS", [*KINDS, "virtual"]),
    ],
)
def test_choices_are_what_the_modules_know(name, known):
    assert sorted(KEYS[name].choices) == sorted(known)


def test_texts_name_keys_that_there_are():
    texts = [key.meaning for key in KEYS.values()]
    texts += [text for key in KEYS.values() for rule in key.no_effect for text in (rule.reason, rule.condition)]
    named = {name for text in texts for name in re.findall(r"\b(?:[A-Z]\w*\.)+[A-Z]\w+", text)}
    assert named and named <= KEYS.keys()


def test_a_list_that_was_empty_takes_numbers_again():
    assert load_config(None, [("AUG.SCALES", "[]"), ("AUG.SCALES", "[0.5, 1]")]).AUG.SCALES == [0.5, 1.0]


def test_defaults_are_not_shared():
    default_config().AUG.SCALES.append(0.1)
    assert 0.1 not in default_config().AUG.SCALES


def test_the_reference_is_the_one_that_the_keys_give():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m echoviewclip.utils.config.reference writes it anew"
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(KEYS) and all(len(re.split(r"(?<!\\\\)\|", row)) == 7 for row in rows)


def test_the_configuration_imports_nothing_heavy():
    heavy = ("torch", "numpy", "pandas", "scipy", "av", "open_clip")
    code = f"import sys, echoviewclip.utils.config; print([name for name in {heavy!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# ── What the user set ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_given_are_the_keys_of_the_file_and_of_the_command_line_not_of_base(tmp_path):
    (tmp_path / "base.yaml").write_text("SEED: 1\nAUG: {MIXUP: 0.1}\n")
    file = tmp_path / "own.yaml"
    file.write_text("BASE: base.yaml\nTRAINER: {ViFi_CLIP: {USE: both}}\nAUG: {FLIP: 0}\n")
    assert given_keys(file, [("TRAIN.LR", "1")]) == {"BASE", "TRAINER.ViFi_CLIP.USE", "AUG.FLIP", "TRAIN.LR"}
    assert given_keys(None, [("SEED", 1)]) == {"SEED"}
    with pytest.raises(UserError, match="expected keys and values, found list"):
        file.write_text("- 1")
        given_keys(file, ())


def test_a_run_s_config_yaml_gives_no_key(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(load_config("configs/phantom/negation.yaml").dump())
    assert given_keys(file, [("TRAIN.LR", "1")]) == {"TRAIN.LR"}
    assert without_effect(load_config(file), given_keys(file, ())) == []


@pytest.mark.parametrize(
    ("stage", "setting", "said"),
    [
        ("negation", {"AUG__LABEL_SMOOTH": 0.1}, [LABEL_SMOOTH]),
        ("negation", {"AUG__LABEL_SMOOTH": 0.0}, []),
        ("negation", {"AUG__LABEL_SMOOTH": 0.1, "TRAIN__NEGATION_LOSS": "class"}, []),
        ("view", {"TRAIN__NEGATION_LOSS": "clipn"}, ["TRAIN.NEGATION_LOSS clipn has no effect: it belongs to stage"]),
        ("view", {"AUG__MIXUP_SWITCH_PROB": 0.0}, ["AUG.MIXUP_SWITCH_PROB 0.0 has no effect: AUG.MIXUP or"]),
        ("negation", {"TEST__FIT_FEATURES": False}, ["TEST.FIT_FEATURES False has no effect: stage negation fits"]),
        ("quality", {"TEST__FIT_FEATURES": False}, []),
        ("view", {"DATA__STRIDE_SECONDS": 0.04}, ["DATA.STRIDE_SECONDS 0.04 has no effect: DATA.SAMPLING is not"]),
    ],
)
def test_a_given_key_without_effect_is_said_at_its_default_too(tiny_folder, tmp_path, stage, setting, said):
    config = tiny(tiny_folder, tmp_path, stage, **setting)
    sentences = without_effect(config, given_keys(None, tiny_options(tiny_folder, tmp_path, stage, **setting)))
    assert len(sentences) == len(said)
    assert all(sentence.startswith(start) for sentence, start in zip(sentences, said, strict=True))


def test_the_log_says_which_given_keys_have_no_effect(tiny_folder, tmp_path, monkeypatch):
    own = tmp_path / "own.yaml"
    own.write_text(f"BASE: {Path('configs/phantom/view.yaml').resolve()}\nTRAIN: {{ORDINAL_LOSS: emd}}\n")
    options = tiny_options(tiny_folder, tmp_path / "run", TRAIN__OUTLIER_WEIGHT=0.5)
    words = [str(word) for pair in options for word in pair]
    monkeypatch.setattr(sys, "argv", ["main.py", "-cfg", str(own), "--opts", *words])
    with undisturbed_logging():
        main.main()
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count("has no effect") == 2
    assert "TRAIN.ORDINAL_LOSS emd has no effect: it belongs to stage quality" in log
    assert "TRAIN.OUTLIER_WEIGHT 0.5 has no effect: it belongs to stage negation" in log
