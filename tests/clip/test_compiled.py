"""TRAIN.COMPILE: the same blocks under the same names, compiled, or as they are where that does not work."""

from __future__ import annotations

import logging

import pytest
import torch

from echoviewclip.clip.attention import AttentionBlock
from echoviewclip.clip.compiled import compile_blocks, why_not
from echoviewclip.inference.predictor import load_predictor, predict
from echoviewclip.trainers import session
from echoviewclip.utils.checkpoint import load_checkpoint
from tests.tiny_data import assert_same, entries, tiny, tiny_clips, tiny_model, train

CPU = torch.device("cpu")
NO_COMPILER = "no compiler\nand a page of advice"


@pytest.fixture
def traced(monkeypatch):
    """Compilation without a compiler of C++: functions are traced and run as they are; counts them."""
    compiled, made = torch.compile, []

    def trace(function, *arguments, **named):
        made.append(function)
        return compiled(function, *arguments, **named | {"backend": "eager"})

    monkeypatch.setattr(torch, "compile", trace)
    yield made
    torch._dynamo.reset()


def test_blocks_keep_their_names_and_answer_as_before(traced, caplog):
    _, model = tiny_model("negation")
    model.eval()
    names, before = list(model.state_dict()), entries(model(tiny_clips(), model.parts))
    caplog.set_level(logging.INFO)
    assert compile_blocks(model, CPU) == ""
    blocks = [module for module in model.modules() if isinstance(module, AttentionBlock)]
    assert len(blocks) == len(traced) - 1 > 4  # the first was the trial
    assert f"TRAIN.COMPILE True: {len(blocks)} transformer blocks are compiled as they first run" in caplog.text
    assert list(model.state_dict()) == names
    assert_same(entries(model(tiny_clips(), model.parts)), before)
    assert compile_blocks(model, CPU) == "" and len(traced) == len(blocks) + 1  # what is compiled stays so


def test_without_a_compiler_the_run_says_why_and_trains_as_it_does_uncompiled(tiny_folder, tmp_path, monkeypatch):
    plain = train(tiny(tiny_folder, tmp_path / "plain"))

    def fail(*_, **__):
        raise RuntimeError(NO_COMPILER)

    monkeypatch.setattr(torch, "compile", fail)
    assert why_not(CPU) == "no compiler"
    run = train(tiny(tiny_folder, tmp_path / "run", TRAIN__COMPILE=True))
    said = "TRAIN.COMPILE True: nothing is compiled, since torch.compile does not work here: no compiler"
    assert said in (run / "log.txt").read_text()
    assert_same(*(load_checkpoint(folder / "last.pth")["model"] for folder in (run, plain)))


def test_training_compiles_where_it_is_asked_to(tiny_folder, tmp_path, traced):
    train(tiny(tiny_folder, tmp_path, TRAIN__COMPILE=True))
    assert traced


def test_predictions_are_compiled_only_on_request(tiny_folder, tmp_path, traced, monkeypatch):
    asked = []
    monkeypatch.setattr(session, "compile_blocks", lambda *_: None)
    monkeypatch.setattr("echoviewclip.inference.predictor.compile_blocks", lambda *given: asked.append(given))
    run = train(tiny(tiny_folder, tmp_path, TRAIN__COMPILE=True))
    videos = [str(next((tiny_folder / "videos").iterdir()))]
    for changes, times in (((), 0), ((("TRAIN.COMPILE", True),), 1)):
        predict(load_predictor(run / "last.pth", changes=changes), videos, CPU)
        assert len(asked) == times


@pytest.mark.slow
def test_compiled_blocks_compute_the_same(tiny_folder):
    if why_not(CPU):
        pytest.skip("no compiler")
    outputs = []
    for compiled in (False, True):
        _, model = tiny_model()
        if compiled:
            compile_blocks(model, CPU)
        output = model(tiny_clips(), model.parts)
        output.positive.logits.square().sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        outputs.append(entries(output) | gradients)
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
