"""What several test files share: the tiny data, and one run of the three stages on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from echoviewclip.inference import half
from tests.fuzzing import Reader, whole_files
from tests.tiny_data import DEVICE, STAGES, configure, tiny_options, train, undisturbed_logging, write_standard_folder

# Processes that tests start find the package as this one does.
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "src")

# Tests compare numbers in float32; what a GPU does in TF32 is tested in tests/gpu, without TEST_DEVICE.
if DEVICE == "cuda":
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"

# A busy machine is no fault of the code; what hangs is caught in tests/datasets/video/test_fuzz_readers.py.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """No test speaks into the log of another."""
    with undisturbed_logging():
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """The tiny Standard Folder."""
    return write_standard_folder(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="session")
def tiny_runs(tiny_folder, tmp_path_factory) -> dict[str, Path]:
    """Stage → folder of its run, each grown from the one before."""
    folder, resume, runs = tmp_path_factory.mktemp("runs"), "", {}
    for stage in STAGES:
        options = tiny_options(
            tiny_folder,
            folder / stage,
            stage,
            MODEL__RESUME=resume,
            DATA__OOD_FILE="ood_near.txt,ood_far.txt",
            TRAIN__EPOCHS=2,
            SAVE_FREQ=1,
        )
        runs[stage] = train(configure(f"configs/phantom/{stage}.yaml", options))
        resume = str(runs[stage] / "last.pth")
    return runs


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Writes text to a file of the test's own folder, which is returned; a list, unless its name says otherwise."""

    def write(text: str, name: str = "list.txt", encoding: str = "utf-8") -> Path:
        (tmp_path / name).write_text(text, encoding=encoding)
        return tmp_path / name

    return write


@pytest.fixture
def bfloat16(monkeypatch) -> None:
    """A processor with bfloat16 instructions, whatever this one is: O1 computes in bfloat16."""
    monkeypatch.setattr(half, "lacks_bfloat16", lambda: "")


@pytest.fixture
def no_bfloat16(monkeypatch) -> None:
    """A processor without bfloat16 instructions, whatever this one is."""
    monkeypatch.setattr(half, "lacks_bfloat16", lambda: "no instructions")


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> Iterator[Reader]:
    """Reads files in a child process, which may crash or hang."""
    with Reader(tmp_path_factory.mktemp("child")) as reader:
        yield reader


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """An undamaged file of each kind."""
    return whole_files(tmp_path_factory.mktemp("whole"))
