"""Runs to predict from, and a place to predict in."""

from __future__ import annotations

import pytest

from tests.tiny_data import STAGES, configure, tiny_options, train, write_standard_folder


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Folder of `data` and of a run of each stage; each stage's checkpoint is `STAGE/last.pth`."""
    root = tmp_path_factory.mktemp("runs")
    write_standard_folder(root / "data")
    earlier = ""
    for stage in STAGES:
        options = tiny_options(
            root / "data", root / stage, stage, MODEL__RESUME=earlier, TRAIN__OPT_LEVEL="O0", TRAIN__EPOCHS=5
        )
        train(configure(f"configs/ultracls/{stage}.yaml", options))
        earlier = str(root / stage / "last.pth")
    return root


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory without label lists or configurations."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
