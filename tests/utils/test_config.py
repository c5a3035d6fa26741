"""Settings: every published key, strict reading, one clear line for each mistake."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from yacs.config import CfgNode

from echoviewclip.datasets.configured import evaluation_views
from echoviewclip.utils.config import config_from_text, default_config, load_config
from echoviewclip.utils.errors import UserError
from tests.published import PUBLISHED


def leaves(node: CfgNode, prefix: str = "") -> dict[str, object]:
    found = {}
    for key, value in node.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, CfgNode) else {f"{prefix}{key}": value}
    return found


def mistake(*arguments) -> str:
    with pytest.raises(UserError) as caught:
        load_config(*arguments)
    return str(caught.value)


def test_every_published_key_has_its_published_meaningful_default():
    known = leaves(default_config())
    assert {key: known.get(key, "absent") for key in PUBLISHED} == PUBLISHED
    assert {key: type(known[key]) for key in PUBLISHED} == {key: type(value) for key, value in PUBLISHED.items()}


def test_every_key_is_read_somewhere():
    read = set()
    for folder in ("clip", "datasets", "evaluation", "inference", "models", "trainers"):
        for file in Path(folder).rglob("*.py"):
            read |= {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
    read |= {"DEVICE"}  # main.py opens the device
    read |= {"BASE"}  # utils/config itself (tested below)
    assert [key for key in leaves(default_config()) if key.split(".")[-1] not in read] == []


def test_numbers_arrive_as_numbers_however_they_are_typed(written):
    config = load_config(written("TRAIN:\n  LR: 1e-3\n  WEIGHT_DECAY: 5\n  EPOCHS: 3.0\nAUG:\n  SCALES: [1, '1e-1']\n"))
    assert (config.TRAIN.LR, config.TRAIN.WEIGHT_DECAY, config.TRAIN.EPOCHS) == (1e-3, 5.0, 3)
    assert config.AUG.SCALES == [1.0, 0.1]
    assert [type(v) for v in (config.TRAIN.LR, config.TRAIN.WEIGHT_DECAY, config.TRAIN.EPOCHS)] == [float, float, int]


def test_settings_of_the_command_line_are_typed_like_those_of_a_file(written):
    pairs = [
        ("TRAIN.LR", "1e-3"),
        ("TRAIN.EPOCHS", "3"),
        ("MODEL.RESUME", "0123"),
        ("TEST.MULTI_VIEW_INFERENCE", "True"),
    ]
    config = load_config(written(""), [*pairs, ("AUG.SCALES", "[1, 0.5]"), ("MODEL.PRETRAINED", "")])
    assert (config.TRAIN.LR, config.TRAIN.EPOCHS, config.MODEL.RESUME) == (1e-3, 3, "0123")
    assert (config.TEST.MULTI_VIEW_INFERENCE, config.AUG.SCALES) == (True, [1.0, 0.5])


def test_a_later_file_wins_over_its_bases_and_the_command_line_over_all(written):
    written("TRAIN:\n  LR: 1\n  EPOCHS: 1\n  BATCH_SIZE: 1\nSEED: 1\n", "first.yaml")
    written("BASE: first.yaml\nTRAIN:\n  LR: 2\n  EPOCHS: 2\n", "second.yaml")
    config = load_config(written("BASE: ['second.yaml']\nTRAIN:\n  LR: 3\n"), [("SEED", 4)])
    assert (config.TRAIN.LR, config.TRAIN.EPOCHS, config.TRAIN.BATCH_SIZE, config.SEED) == (3.0, 2, 1, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TRAIN:\n  BATCHSIZE: 1", "{file}: unknown key TRAIN.BATCHSIZE; did you mean TRAIN.BATCH_SIZE?"),
        ("MODEL:\n  LR: 1", "{file}: unknown key MODEL.LR; did you mean TRAIN.LR?"),
        ("TRIAN:\n  LR: 1", "{file}: unknown key TRIAN; did you mean TRAIN?"),
        ("FOO: 1", "{file}: unknown key FOO; docs/config.md lists every key"),
        ("TRAIN:\n  LR: fast", "{file}: TRAIN.LR must be a number, found 'fast'"),
        ("TRAIN:\n  LR: .nan", "{file}: TRAIN.LR must be a number, found nan"),
        ("TRAIN:\n  LR: yes", "{file}: TRAIN.LR must be a number, found True"),
        ("TRAIN:\n  EPOCHS: 2.5", "{file}: TRAIN.EPOCHS must be a whole number, found 2.5"),
        ("TRAIN:\n  EPOCHS: .inf", "{file}: TRAIN.EPOCHS must be a whole number, found inf"),
        ("TRAIN:\n  AUTO_RESUME: 1", "{file}: TRAIN.AUTO_RESUME must be True or False, found 1"),
        ("MODEL:\n  RESUME: [a]", "{file}: MODEL.RESUME must be text, found ['a']"),
        ("AUG:\n  SCALES: [1, a]", "{file}: AUG.SCALES[1] must be a number, found 'a'"),
        ("AUG: 1", "{file}: AUG is a group of keys, not a value; set one of its keys: {aug}"),
        ("- 1", "{file}: expected keys and values, found list"),
        ("BASE: no.yaml", "{folder}/no.yaml: no such configuration file (-cfg, or BASE of another file)"),
        ("BASE: a.yaml", "{file}: BASE includes the file itself"),
        ("BASE: {a: 1}", "{file}: BASE must be a list, found {{'a': 1}}"),
        ("BASE: [[a.yaml]]", "{file}: BASE[0] must be text, found ['a.yaml']"),
        ("STAGE: views", "STAGE must be one of view, negation, quality; found 'views'"),
        (
            "STAGE: view\nTRAINER: {ViFi_CLIP: {USE: no_text}}",
            "TRAINER.ViFi_CLIP.USE no_text belongs to stage negation, but STAGE is view",
        ),
        (
            "TRAINER: {ViFi_CLIP: {USE: all}}",
            "TRAINER.ViFi_CLIP.USE must be one of both, image, text, no_text, quality; found 'all'",
        ),
        ("TRAIN: {OPT_LEVEL: O3}", "TRAIN.OPT_LEVEL must be one of O0, O1, O2; found 'O3'"),
        ("TRAIN: {BATCH_SIZE: 0}", "TRAIN.BATCH_SIZE must be at least 1; found 0"),
        ("AUG: {LABEL_SMOOTH: 2}", "AUG.LABEL_SMOOTH must lie between 0 and 1; found 2.0"),
        ("AUG: {SCALES: []}", "AUG.SCALES must be shares above 0 and up to 1, at least one; found []"),
        ("DATA: {STRIDE_SECONDS: 0}", "DATA.STRIDE_SECONDS must be above 0; found 0.0"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_the_key(written, text, message):
    file = written(text)
    expected = message.format(file=file, folder=file.parent, aug=", ".join(default_config().AUG))
    assert mistake(file) == expected
    assert "\n" not in expected


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("TRAIN.LRR", "1", "command line: unknown key TRAIN.LRR; did you mean TRAIN.LR?"),
        ("train.lr", "1", "command line: unknown key train.lr; did you mean TRAIN.LR?"),
        ("TRAIN.LR.PEAK", "1", "command line: unknown key TRAIN.LR.PEAK; did you mean TRAIN.LR?"),
        ("TRAIN.LR", "x", "command line: TRAIN.LR must be a number, found 'x'"),
        ("TRAIN.LR", "[1", "command line: cannot read the value '[1'"),
        ("TRAIN.LR", "-1", "TRAIN.LR must be at least 0; found -1.0"),
        ("BASE", "b.yaml", "command line: BASE belongs in a yaml file; name that file with -cfg"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_that_names_the_key(written, key, value, message):
    assert mistake(written(""), [(key, value)]) == message


def test_a_missing_file_and_broken_yaml_are_named(written, tmp_path):
    missing = tmp_path / "none.yaml"
    assert mistake(missing) == f"{missing}: no such configuration file (-cfg, or BASE of another file)"
    broken = written("a: [1")
    assert mistake(broken).startswith(f"{broken}: not valid yaml: ") and "\n" not in mistake(broken)
    (tmp_path / "latin.yaml").write_bytes(b"OUTPUT: \xe9")
    assert mistake(tmp_path / "latin.yaml").startswith(f"{tmp_path / 'latin.yaml'}: not valid yaml: ")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["LR", "x"]), inner, max_size=2),
        max_leaves=5,
    ),
    st.sampled_from(["TRAIN", "SEED", "BASE", "MODEL", "OUTPUT", "AUG", "FOO"]),
)
def test_whatever_a_file_says_it_is_read_or_refused(tmp_path_factory, value, key):
    file = tmp_path_factory.mktemp("any") / "a.yaml"
    file.write_text(yaml.safe_dump({key: value}), encoding="utf-8")
    try:
        load_config(file)
    except UserError as error:
        assert str(error)


def test_a_run_s_config_yaml_starts_the_same_run(written):
    written("TRAIN: {LR: 2}", "base.yaml")
    config = load_config(written("BASE: base.yaml\nTEST: {MULTI_VIEW_INFERENCE: True}\nSTAGE: negation"))
    assert load_config(written(config.dump(), "config.yaml")) == config
    assert config_from_text(config.dump()) == config


def test_of_the_step_s_videos_and_its_batches_whoever_sets_one_takes_back_the_other(written):
    def batches(file: Path | None, *pairs: tuple[str, str]) -> tuple[int, int]:
        train = load_config(file, pairs).TRAIN
        return train.GLOBAL_BATCH, train.ACCUMULATION_STEPS

    by_batches = written("TRAIN: {ACCUMULATION_STEPS: 16}", "batches.yaml")
    by_videos = written("BASE: batches.yaml\nTRAIN: {GLOBAL_BATCH: 256}", "videos.yaml")
    assert batches(by_batches) == (0, 16)
    assert batches(by_videos) == batches(by_batches, ("TRAIN.GLOBAL_BATCH", "256")) == (256, 1)
    assert batches(by_videos, ("TRAIN.ACCUMULATION_STEPS", "4")) == (0, 4)
    saved = load_config(by_videos).dump()
    assert batches(written(saved, "config.yaml")) == (256, 1)
    assert config_from_text(saved).TRAIN.GLOBAL_BATCH == 256
    both = [("TRAIN.GLOBAL_BATCH", "256"), ("TRAIN.ACCUMULATION_STEPS", "4")]
    assert mistake(by_batches, both) == (
        "command line: TRAIN.GLOBAL_BATCH 256 and TRAIN.ACCUMULATION_STEPS 4 are both given, and one follows from the "
        "other; leave one out"
    )


def test_multi_view_inference_means_four_clips_and_three_crops_unless_others_are_named(written):
    config = load_config(written("TEST: {MULTI_VIEW_INFERENCE: True}"))
    assert evaluation_views(config) == (4, 3)
    config = load_config(written("TEST: {MULTI_VIEW_INFERENCE: True, NUM_CLIP: 2}"))
    assert evaluation_views(config) == (2, 1)


def test_multi_view_inference_of_a_saved_configuration_can_be_taken_back(written):
    saved = load_config(written("TEST: {MULTI_VIEW_INFERENCE: True}")).dump()
    earlier = saved.replace("NUM_CLIP: 1", "NUM_CLIP: 4").replace("NUM_CROP: 1", "NUM_CROP: 3")
    for text in (saved, earlier):
        assert evaluation_views(config_from_text(text)) == (4, 3)
        assert evaluation_views(config_from_text(text, [("TEST.MULTI_VIEW_INFERENCE", "False")])) == (1, 1)
        assert evaluation_views(load_config(written(text), [("TEST.MULTI_VIEW_INFERENCE", "False")])) == (1, 1)
    clips = config_from_text(saved, [("TEST.MULTI_VIEW_INFERENCE", "False"), ("TEST.NUM_CLIP", "4")])
    assert evaluation_views(clips) == (4, 1)


@pytest.mark.parametrize(
    ("words", "tokens", "message"),
    [
        ("a photo of a", 16, "starts at most 4 learnable tokens, but N_CTX_TEXT is 16, which start at random; set"),
        (
            "an {view}",
            4,
            "'an {view}': with PROMPT_MODEL the words stand before the name of the view; leave {view} out",
        ),
    ],
)
@pytest.mark.parametrize("key", ["CTX_INIT", "CTX_INIT_NO"])
def test_words_that_learnable_tokens_cannot_start_from_are_refused(written, key, words, tokens, message):
    settings = [("PROMPT_MODEL", "True"), ("N_CTX_TEXT", tokens), (key, words)]
    said = mistake(written(""), [(f"TRAINER.ViFi_CLIP.{name}", value) for name, value in settings])
    assert said.startswith(f"TRAINER.ViFi_CLIP.{key} {message}") and "\n" not in said
