"""The words of the prompts: embeddings of the token table that a model was trained with, in every stage and answer."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from echoviewclip.clip.architectures import build_towers
from echoviewclip.clip.text import tokenize
from echoviewclip.inference.checkpoint import BareWeights
from echoviewclip.inference.predictor import load_predictor
from echoviewclip.inference.restore import restore_model
from echoviewclip.inference.resume import read_checkpoint
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.tools import export
from echoviewclip.utils.checkpoint import load_checkpoint, save_checkpoint
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import UserError, exit_code
from tests.tiny_data import VIEWS, metrics, tiny, tiny_model, train

POSITIVE, NEGATIVE = "positive_text.prompts.embeddings", "negative_text.prompts.embeddings"
GRADES = ["very bad", "not good", "good"]
ONE_STEP = {"TRAIN__BATCH_SIZE": 9, "TRAIN__OPT_LEVEL": "O0", "DATA__OOD_FILE": ""}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A file of pretrained weights, which is no table of any run's seed."""
    torch.manual_seed(77)
    file = tmp_path_factory.mktemp("weights") / "towers.safetensors"
    save_file(build_towers("tiny", 32, quick_gelu=True).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def table(weights) -> torch.Tensor:
    return load_file(weights)["token_embedding.weight"]


@pytest.fixture(scope="module")
def views(tiny_folder, weights, tmp_path_factory) -> dict[str, Path]:
    """A checkpoint of stage view from the file, one from random weights, and each as earlier versions wrote it."""
    found = {}
    for name, start in (("file", str(weights)), ("random", "")):
        run = train(tiny(tiny_folder, tmp_path_factory.mktemp(name), **ONE_STEP, MODEL__PRETRAINED=start, SEED=5))
        found[name] = run / "last.pth"
        found[f"earlier {name}"] = without_tokens(found[name], run / "earlier.pth")
    return found


def random_table() -> torch.Tensor:
    """That of the seed of `views`."""
    torch.manual_seed(5)
    return build_towers("tiny", 32, quick_gelu=True).token_embedding.weight.detach()


def without_tokens(file: Path, other: Path) -> Path:
    """The checkpoint as versions wrote it that kept no tokens beside the weights."""
    content = load_checkpoint(file)
    del content["tokens"]
    save_checkpoint(other, content)
    return other


def grown(resume: Path, stage: str = "negation", **changes) -> VideoCLIP:
    """The model of a stage as it starts to train from a checkpoint."""
    config, _ = tiny_model(stage, MODEL__RESUME=str(resume), **changes)
    return restore_model(config, VIEWS, read_checkpoint(config, VIEWS, GRADES))[0]


def assert_reads(model: VideoCLIP, table: torch.Tensor) -> None:
    for prompts in (model.positive_text.prompts, model.negative_text.prompts):
        embeddings = prompts.embeddings
        assert torch.equal(embeddings, table[prompts.token_ids[:, : embeddings.shape[1]]])


@pytest.mark.parametrize("source", ["file", "earlier file"])
def test_the_negative_prompts_are_words_of_the_pretrained_table(weights, table, views, source):
    """In stage 2 the words that stage 1 does not read are looked up in the same table."""
    assert_reads(grown(views[source], MODEL__PRETRAINED=str(weights)), table)


def test_stage_2_needs_no_weights_for_the_negative_prompts_that_stage_1_was_told(table, views):
    assert_reads(grown(views["file"], MODEL__PRETRAINED="gone.safetensors", SEED=99), table)


def test_other_negative_prompts_need_the_table(weights, table, views):
    words = {"TRAINER__ViFi_CLIP__CTX_INIT_NO": "certainly never an {view}"}
    with pytest.raises(UserError, match=r"^MODEL.PRETRAINED gone.safetensors: no such file"):
        grown(views["file"], MODEL__PRETRAINED="gone.safetensors", **words)
    assert_reads(grown(views["file"], MODEL__PRETRAINED=str(weights), **words), table)
    words = {"TRAINER__ViFi_CLIP__CTX_INIT_NO": "This {view} is an ultrasound video"}  # known from the positive ones
    assert_reads(grown(views["earlier file"], MODEL__PRETRAINED="gone.safetensors", **words), table)


@pytest.mark.parametrize("source", ["random", "earlier random"])
def test_the_random_table_of_stage_1_is_made_again_whatever_the_seed_of_stage_2(views, source):
    assert_reads(grown(views[source], MODEL__PRETRAINED="", SEED=6), random_table())


def test_weights_that_were_exported_in_half_precision_are_the_same_weights(weights, table, views, tmp_path):
    half = tmp_path / "half.safetensors"
    save_file({name: value.half() for name, value in load_file(weights).items()}, half)
    model = grown(views["earlier file"], MODEL__PRETRAINED=str(half))
    for prompts, tolerance in ((model.positive_text.prompts, 0), (model.negative_text.prompts, 1e-3)):
        expected = table[prompts.token_ids[:, : prompts.embeddings.shape[1]]]
        torch.testing.assert_close(prompts.embeddings, expected, rtol=tolerance, atol=1e-7)


@pytest.mark.parametrize(
    ("source", "start", "message"),
    [
        (
            "earlier file",
            "OTHER",
            "was not trained with the weights of MODEL.PRETRAINED OTHER; set MODEL.PRETRAINED FILE",
        ),
        (
            "earlier file",
            "",
            "lacks words of the prompts, and MODEL.PRETRAINED is empty: set it to FILE, which it was trained with",
        ),
        (
            "earlier random",
            "FILE",
            "was not trained with the weights of MODEL.PRETRAINED FILE; it started from random ones: "
            "set MODEL.PRETRAINED ''",
        ),
        (
            "changed random",
            "",
            "lacks the rest of its random token table, which its seed does not make again here: "
            "keep its prompts (CTX_INIT, CTX_INIT_NO), or train stage view again",
        ),
        (
            "changed file",
            "FILE",
            "MODEL.PRETRAINED FILE has changed since it was trained with it: give the weights as they were then",
        ),
    ],
)
def test_another_table_is_refused_with_the_one_to_give(weights, views, tmp_path, source, start, message):
    torch.manual_seed(78)
    save_file(build_towers("tiny", 32, quick_gelu=True).state_dict(), tmp_path / "other.safetensors")
    names = {"OTHER": str(tmp_path / "other.safetensors"), "FILE": str(weights)}
    resume = views.get(source)
    if resume is None:
        content = load_checkpoint(views[source.replace("changed", "earlier")])
        content["model"][POSITIVE][1, 2] += 0.01  # one word of one prompt
        save_checkpoint(resume := tmp_path / "changed.pth", content)
    with pytest.raises(UserError) as caught:
        grown(resume, MODEL__PRETRAINED=names.get(start, start))
    for name, file in names.items():
        message = message.replace(name, file)
    assert str(caught.value) == f"{resume}: {message}"


def test_every_answer_reads_the_negative_words_of_the_training(tiny_folder, weights, table, views, tmp_path):
    """Evaluation, prediction and the next stage read the text that stage 2 learned with, whatever weights are there."""
    settings = ONE_STEP | {"TEST__SCORE": "agreeing_to_differ", "MODEL__RESUME": str(views["earlier file"])}
    run = train(tiny(tiny_folder, tmp_path / "run", "negation", **settings, MODEL__PRETRAINED=str(weights)))
    trained = load_predictor(run / "last.pth").model
    assert_reads(trained, table)
    earlier = without_tokens(run / "last.pth", tmp_path / "earlier.pth")
    gone = {"MODEL__PRETRAINED": "gone.safetensors", "SEED": 12}
    for file in (run / "last.pth", earlier):
        assert_reads(grown(file, "quality", **gone), table)
    with torch.no_grad():
        again = load_predictor(earlier, changes=[("MODEL.PRETRAINED", "gone"), ("SEED", 12)]).model
        assert torch.equal(again.negative_text(), trained.negative_text())
    settings |= gone | {"MODEL__RESUME": str(earlier), "TEST__ONLY_TEST": True}
    test = train(tiny(tiny_folder, tmp_path / "test", "negation", **settings))
    assert metrics(test)["metrics"] == metrics(run)["metrics"]


def test_negative_words_of_an_earlier_version_s_random_table_are_kept_and_said(views, tmp_path, caplog):
    """The model answers as it was trained, on words that meant nothing, and the log says so."""
    config, model = tiny_model("negation")
    content = load_checkpoint(views["earlier file"])
    content |= {"stage": "negation", "config": config.dump(), "model": model.state_dict() | content["model"]}
    save_checkpoint(tmp_path / "a.pth", content)
    with caplog.at_level(logging.WARNING):
        again = grown(tmp_path / "a.pth", "quality").negative_text.prompts.embeddings
    assert torch.equal(again, content["model"][NEGATIVE])
    assert any("its negative prompts are words of another token table" in said for said in caplog.messages)


def test_prompts_of_the_command_line_take_effect_in_an_answer(table, views):
    words = ("TRAINER.ViFi_CLIP.CTX_INIT", "This ultrasound video does show an {view} view.")
    prompts = load_predictor(views["file"], changes=[words, ("MODEL.PRETRAINED", "gone")]).model.positive_text.prompts
    ids = tokenize([words[1].replace("{view}", view.replace("_", " ")) for view in VIEWS])
    assert torch.equal(prompts.embeddings, table[ids[:, : prompts.embeddings.shape[1]]])


@pytest.mark.parametrize("source", ["file", "earlier file", "random", "earlier random"])
def test_exported_towers_hold_the_table_of_the_training(table, views, tmp_path, monkeypatch, source):
    monkeypatch.setattr(sys, "argv", ["export.py", str(views[source]), str(tmp_path / "out.safetensors")])
    assert exit_code(export.main) == 0
    table = random_table() if "random" in source else table
    assert torch.equal(load_file(tmp_path / "out.safetensors")["token_embedding.weight"], table)


def test_towers_with_another_table_are_not_exported(weights, views, tmp_path, monkeypatch, capsys):
    """As earlier versions wrote them in stage 2: the configuration names weights that stage 1 did not start from."""
    content = load_checkpoint(views["earlier random"])
    content["config"] = content["config"].replace("PRETRAINED: ''", f"PRETRAINED: {weights}")
    save_checkpoint(tmp_path / "a.pth", content)
    monkeypatch.setattr(sys, "argv", ["export.py", str(tmp_path / "a.pth"), str(tmp_path / "out.safetensors")])
    assert exit_code(export.main) == 2
    said = f"error: {tmp_path}/a.pth: MODEL.PRETRAINED {weights} has changed since it was trained with it"
    assert capsys.readouterr().err.startswith(said)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("folder", ["ultracls", "phantom", "benchmark", "released"])
def test_the_stages_of_a_configuration_start_from_the_same_weights(folder):
    files = sorted(Path("configs", folder).glob("*.yaml"))
    assert len({load_config(file).MODEL.PRETRAINED for file in files}) == 1 and len(files) == 3


def test_the_released_variant_reads_the_positive_words_alone(tiny_folder, weights, table, tmp_path):
    released = {"MODEL__VARIANT": "released", "TRAIN__NEGATION_LOSS": "class", "MODEL__PRETRAINED": str(weights)}
    view = train(tiny(tiny_folder, tmp_path / "view", **ONE_STEP, **released)) / "last.pth"
    for words in ("", "a photo that is not one of any kind of a"):  # longer than the positive ones
        model = grown(view, **released, TRAINER__ViFi_CLIP__CTX_INIT_NO=words)
        ids, embeddings = tokenize([f"a photo of a {name}." for name in VIEWS]), model.positive_text.prompts.embeddings
        assert torch.equal(embeddings, table[ids[:, : embeddings.shape[1]]])
        assert embeddings.shape[1] == int(model.negative_text.end.max()) + 1
        assert NEGATIVE not in model.state_dict()


def test_a_published_checkpoint_s_prompts_must_be_those_of_its_labels_and_weights(weights, table, tmp_path):
    config, model = tiny_model("view", MODEL__VARIANT="released", MODEL__PRETRAINED=str(weights))
    state = {name: value for name, value in model.state_dict().items() if name != POSITIVE}
    state["image_encoder.class_embedding"] = state.pop("stem.class_embedding")
    prompts = table[tokenize([f"a photo of a {name}." for name in VIEWS])]
    for embeddings, message in (
        (prompts, None),
        (prompts.half(), None),
        (
            prompts.flip(0),
            f"its prompts are not these in the token table of MODEL.PRETRAINED {weights}: give the label",
        ),
        (prompts[:3], "was trained on 3 views, DATA.LABEL_LIST names 4"),
    ):
        published = state | {"prompt_learner.complete_text_embeddings": embeddings}
        given = BareWeights(published, tmp_path / "a.pth", published=True).renamed(config)
        if message is None:
            own = restore_model(config, VIEWS, given)[0].positive_text.prompts.embeddings
            assert torch.equal(own, embeddings[:, : own.shape[1]].float())
        else:
            with pytest.raises(UserError, match=f"^{re.escape(f'{tmp_path}/a.pth: {message}')}"):
                restore_model(config, VIEWS, given)
