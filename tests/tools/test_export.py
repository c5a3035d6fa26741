"""Exported towers: they start another run where the checkpoint's stood."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from echoviewclip.inference.resume import load_weights
from echoviewclip.models.build import build_model, configured_towers
from echoviewclip.tools import export
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import exit_code
from tests.tiny_data import VIEWS, configure, tiny_clips, tiny_options


@pytest.mark.parametrize(("half", "tolerance"), [(False, 0.0), (True, 5e-3)])
def test_a_model_of_exported_towers_has_the_features_of_the_checkpoint(
    tiny_runs, tmp_path, monkeypatch, capsys, half, tolerance
):
    file = tmp_path / "towers.safetensors"
    command = ["export.py", str(tiny_runs["view"] / "last.pth"), str(file)]
    monkeypatch.setattr(sys, "argv", command + ["--half"] * half)
    assert exit_code(export.main) == 0
    assert capsys.readouterr().out == f"{file}\n"

    config = configure("configs/phantom/view.yaml", tiny_options(Path(), Path(), MODEL__PRETRAINED=str(file)))
    again, first = (build_model(config, VIEWS, configured_towers(config, random)).eval() for random in (False, True))
    load_weights(first, load_checkpoint(tiny_runs["view"] / "last.pth")["model"], "last.pth")
    again.positive.pooling = first.positive.pooling  # which an export leaves behind
    with torch.no_grad():
        ours, theirs = (model(tiny_clips(), ("positive",)) for model in (again, first))
    for name in ("features", "cosines"):
        pair = (getattr(output.positive, name) for output in (ours, theirs))
        torch.testing.assert_close(*pair, rtol=0, atol=tolerance)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["export.py", "none.pth", str(tmp_path / "out.safetensors")])
    assert exit_code(export.main) == 2
    assert capsys.readouterr().err == "error: none.pth: no such checkpoint (--resume, MODEL.RESUME)\n"
