"""Which precision a level means on this processor: bfloat16 with instructions for it, float32 without."""

from __future__ import annotations

import logging
import platform

import pytest
import torch
from torch import nn

from echoviewclip.inference import half
from echoviewclip.inference.half import half_precision, lacks_bfloat16
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.prediction import Prediction
from echoviewclip.inference.predictor import load_predictor, predict
from echoviewclip.trainers.evaluate import Evaluator
from tests.tiny_data import metrics, tiny, train

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch):
    """Makes this processor another one, as PyTorch would describe it; ONEDNN_MAX_CPU_ISA is not set."""

    def become(machine: str, *instructions: str, onednn: bool = True, supported: bool = True) -> None:
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
        monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True), raising=False)

    return become


@pytest.mark.parametrize(
    ("machine", "instructions", "supported", "reason"),
    [
        ("x86_64", ["avx2"], False, "the processor has no bfloat16 instructions (AVX512_BF16, AMX)"),
        ("x86_64", ["avx2", "avx512_f", "avx512_vnni"], True, "the processor has no bfloat16 instructions"),
        ("x86_64", ["avx512_f", "avx512_bf16"], True, ""),
        ("AMD64", ["amx_bf16"], True, ""),
        ("aarch64", ["bf16"], True, ""),
        ("aarch64", ["bf16"], False, "the processor has no bfloat16 instructions (BF16)"),  # PyTorch does not use them
    ],
)
def test_instructions_of_the_processor(processor, machine, instructions, supported, reason):
    processor(machine, *instructions, supported=supported)
    assert lacks_bfloat16().startswith(reason) and bool(lacks_bfloat16()) == bool(reason)


def test_an_older_pytorch_is_asked_in_its_own_words(processor, monkeypatch):
    processor("x86_64")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    for answer in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda answer=answer: answer)
        assert bool(lacks_bfloat16()) != answer


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("limit", "forbidden"),
    [
        *(("AVX2", True), ("avx2", True), ("AVX512_CORE_VNNI", True)),
        *(("AVX512_CORE_BF16", False), ("AVX10_1_512_AMX", False), ("DEFAULT", False), ("", False)),
    ],
)
def test_onednn_may_be_kept_from_the_instructions(processor, monkeypatch, name, limit, forbidden):
    processor("x86_64", "avx512_bf16")
    monkeypatch.setenv(name, limit)
    assert lacks_bfloat16() == (f"{name}={limit.upper()} forbids bfloat16 instructions" if forbidden else "")


def test_the_first_of_both_names_counts(processor, monkeypatch):
    processor("x86_64", "avx512_bf16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "DEFAULT")
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "AVX2")
    assert lacks_bfloat16() == ""


def test_without_onednn_there_is_no_fast_bfloat16(processor):
    processor("arm64", "bf16", onednn=False)
    assert lacks_bfloat16() == "PyTorch was built without oneDNN"


@pytest.mark.parametrize(("supported", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_gpus_have_a_half_precision_of_their_own(monkeypatch, no_bfloat16, supported, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert half_precision(torch.device("cuda")) == (dtype, "")


@pytest.mark.parametrize(
    ("level", "trains", "slow", "computes"),
    [
        ("O0", True, False, torch.float32),
        ("O1", True, False, torch.bfloat16),
        ("O1", False, False, torch.bfloat16),
        ("O1", True, True, torch.float32),
        ("O1", False, True, torch.float32),
        ("O2", True, False, torch.bfloat16),
        ("O2", False, False, torch.bfloat16),
        ("O2", True, True, torch.bfloat16),
        ("O2", False, True, torch.float32),
    ],
)
def test_what_a_level_means(monkeypatch, caplog, level, trains, slow, computes):
    monkeypatch.setattr(half, "lacks_bfloat16", lambda: "it is old" if slow else "")
    model, pictures = nn.Linear(4, 4), torch.randn(2, 4)
    rounded = model.weight.detach().bfloat16().float()
    with caplog.at_level(logging.INFO):
        precision = Precision(level, model, CPU, trains=trains)
    with precision.autocast():
        assert model(pictures).dtype == computes
    assert str(precision) == f"{level} ({str(computes).removeprefix('torch.')})"
    assert torch.equal(model.weight.detach().float(), rounded) == (level == "O2")
    assert not precision.scaler.is_enabled()
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert len(said) == (level != "O0")
    for name, sentence in said:
        assert str(computes).removeprefix("torch.") in sentence
        assert sentence.endswith(": it is old") == slow
        assert (name == "WARNING") == (slow and level == "O2" and trains) == ("slower" in sentence)


def run_of(folder, output, stage="view", **changes):
    """The lines of a run's log that name the level, and the precision that its results name."""
    run = train(tiny(folder, output, stage, DEVICE="cpu", **changes), device="cpu")
    lines = [line for line in (run / "log.txt").read_text().splitlines() if "TRAIN.OPT_LEVEL" in line]
    return run, lines, metrics(run)["environment"]["precision"]


def test_a_run_says_once_what_it_computes_in(tiny_folder, tmp_path, no_bfloat16):
    _, lines, precision = run_of(tiny_folder, tmp_path)
    assert len(lines) == 1
    assert lines[0].endswith("TRAIN.OPT_LEVEL O1 computes in float32 on cpu: no instructions")
    assert precision == "O1 (float32)"


def test_an_evaluation_chooses_for_its_own_processor_not_for_the_one_that_trained(tiny_folder, tmp_path, monkeypatch):
    made: list[Precision] = []
    init = Evaluator.__init__

    def noted(self, config, sets, precision, *args, **kwargs):
        made.append(precision)
        init(self, config, sets, precision, *args, **kwargs)

    monkeypatch.setattr(Evaluator, "__init__", noted)
    monkeypatch.setattr(half, "lacks_bfloat16", lambda: "")
    run, _, trained = run_of(tiny_folder, tmp_path / "run")
    monkeypatch.setattr(half, "lacks_bfloat16", lambda: "no instructions")
    resume = {"MODEL__RESUME": str(run / "last.pth"), "TEST__ONLY_TEST": True}
    _, lines, here = run_of(tiny_folder, tmp_path / "again", **resume)
    assert (trained, here) == ("O1 (bfloat16)", "O1 (float32)")
    assert len(lines) == 1 and "float32" in lines[0]
    assert [precision.computes for precision in made] == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_predict_computes_in_float32_without_instructions(tiny_folder, tiny_runs, no_bfloat16, level):
    def answer(chosen: str) -> Prediction:
        predictor = load_predictor(tiny_runs["quality"] / "last.pth", changes=[("TRAIN.OPT_LEVEL", chosen)])
        return predict(predictor, [str(tiny_folder / "videos" / "clip 0.avi")], CPU)[0]

    expected, given = answer("O0"), answer(level)
    assert given == expected if level == "O1" else given != expected  # O2 rounds the weights
    assert given.probability == pytest.approx(expected.probability, abs=0.02)
