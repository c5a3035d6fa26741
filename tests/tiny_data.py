"""A tiny Standard Folder, and the settings with which any configuration trains on it in a second or two."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from echoviewclip.models.build import build_model, configured_towers
from echoviewclip.models.outputs import ModelOutput
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.trainers.folder import results_folder
from echoviewclip.trainers.session import run
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.config import load_config
from tests.media import write_video

VIEWS = ("Apical_4C 2D", "Apical 2C 2D", "Short Axis", "Subcostal 4C")
TRAINING, VALIDATION, OUTSIDE = 9, 7, 3  # videos; odd, so that batches and groups have a rest
STAGES = ("view", "negation", "quality")
DEVICE = os.environ.get("TEST_DEVICE", "cpu")  # cuda: the trainings and evaluations of the tests run there


def write_standard_folder(folder: Path) -> Path:
    """Videos of 64×64 whose brightness tells the class and whose contrast the grade; lists of every kind.

    `train.txt`, `val.txt` (views), `quality_train.txt`, `quality_val.txt` (grades), `score_train.txt`,
    `score_val.txt` (scores), `ood_near.txt`, `ood_far.txt` (no labels), `labels.csv`.
    """
    (folder / "videos").mkdir(parents=True)
    lists: dict[str, list[str]] = {}
    for number in range(TRAINING + VALIDATION):
        view, grade, name = number % len(VIEWS), number % 3, f"clip {number}.avi"
        write_video(folder / "videos" / name, _frames(60 + 45 * view, 8 + 12 * grade, number))
        kind = "train" if number < TRAINING else "val"
        for start, target in (("", view), ("quality_", grade), ("score_", grade / 2)):
            lists.setdefault(f"{start}{kind}", []).append(f"{name} {target}")
    for kind, brightness in (("near", 20), ("far", 250)):
        for number in range(OUTSIDE):
            name = f"{kind} {number}.avi"
            write_video(folder / "videos" / name, _frames(brightness, 5, 100 + number))
            lists.setdefault(f"ood_{kind}", []).append(name)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    rows = "".join(f"{number},{name}\n" for number, name in enumerate(VIEWS))
    (folder / "labels.csv").write_text(f"id,name\n{rows}", encoding="utf-8")
    return folder


def _frames(brightness: int, contrast: int, seed: int) -> np.ndarray:
    """uint8 [6, 64, 64, 3]: noise in coarse blocks around a brightness."""
    blocks = np.random.default_rng(seed).normal(brightness, contrast, (6, 8, 8, 1))
    return np.kron(blocks, np.ones((1, 8, 8, 3))).clip(0, 255).astype(np.uint8)


def tiny_options(data: Path, output: Path, stage: str = "view", **changes: Any) -> list[tuple[str, Any]]:
    """Settings over any file of configs/; `changes` are further ones, `__` standing for the dot: `TRAIN__LR=0.1`."""
    start = "quality_" if stage == "quality" else ""
    options: dict[str, Any] = {
        "OUTPUT": str(output),
        "PRINT_FREQ": 1,
        "DEVICE": DEVICE,
        "DATA.ROOT": str(data),
        "DATA.TRAIN_FILE": f"{start}train.txt",
        "DATA.VAL_FILE": f"{start}val.txt",
        "DATA.OOD_FILE": "ood_near.txt,ood_far.txt" if stage == "negation" else "",
        "DATA.LABEL_LIST": str(data / "labels.csv"),
        "DATA.NUM_CLASSES": len(VIEWS),
        "DATA.INPUT_SIZE": 32,
        "DATA.NUM_FRAMES": 2,
        "DATA.NUM_WORKERS": 0,
        "MODEL.ARCH": "tiny",
        "MODEL.PRETRAINED": "",
        "MODEL.RESUME": "",
        "MODEL.SHARED_BLOCKS": 2,
        "TRAIN.EPOCHS": 1,
        "TRAIN.WARMUP_EPOCHS": 0,
        "TRAIN.BATCH_SIZE": 2,
        "TRAIN.LR": 1e-3,
    }
    options |= {name.replace("__", "."): value for name, value in changes.items()}
    return list(options.items())


# Float32 and nothing random but the order of the videos; steps in proportion to the gradient.
PLAIN = {
    "AUG__SCALES": [1.0],
    "TRAIN__OPT_LEVEL": "O0",
    "TRAIN__OPTIMIZER": "sgd",
    "TRAIN__LR_SCHEDULER": "constant",
    "TRAIN__CLIP_GRAD": 0.0,
}


def configure(file: str, options: Sequence[tuple[str, Any]]) -> CfgNode:
    """`load_config` without the warnings that a test does not ask for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_config(file, options)


def tiny_model(stage: str = "view", **changes: Any) -> tuple[CfgNode, VideoCLIP]:
    """The configuration and the model of a stage, with random weights that depend on nothing else."""
    config = configure(f"configs/phantom/{stage}.yaml", tiny_options(Path(), Path(), stage, **changes))
    torch.manual_seed(0)
    return config, build_model(config, VIEWS, configured_towers(config, overwritten=True))


def entries(output: ModelOutput) -> dict[str, Tensor]:
    """What a model answered, by dotted name: `positive.logits`, `texts.negative`, `intermediates.3`."""
    found = {f"intermediates.{block}": value for block, value in output.intermediates.items()}
    for part in ("positive", "negative", "quality", "texts"):
        fields = getattr(output, part)
        if fields is not None:
            found |= {f"{part}.{name}": value for name, value in fields._asdict().items() if value is not None}
    return found


def tiny_clips(batch: int = 2, frames: int = 2, size: int = 32) -> Tensor:
    """Normalised clips [B, T, 3, S, S], always the same."""
    return torch.randn(batch, frames, 3, size, size, generator=torch.Generator().manual_seed(1))


def train(
    config: CfgNode, content: dict[str, Any] | None = None, overwrite: bool = False, device: str = DEVICE
) -> Path:
    """Trains or evaluates in this process, as main.py does alone on a device; returns the folder of the results."""
    with undisturbed_logging():
        run(config, torch.device(device), content, overwrite)
    return results_folder(config)


def assert_same(given: Any, expected: Any, where: str = "") -> None:
    """Bit-equal trees of tensors and plain values."""
    if isinstance(expected, dict):
        assert given.keys() == expected.keys(), where
        for key in expected:
            assert_same(given[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(given) == len(expected), where
        for number, (ours, theirs) in enumerate(zip(given, expected, strict=True)):
            assert_same(ours, theirs, f"{where}/{number}")
    elif isinstance(expected, Tensor):
        assert given.dtype == expected.dtype and torch.equal(given, expected), where
    else:
        assert given == expected, where


def assert_same_files(run: Path, whole: Path) -> None:
    """Every file but the logs, checkpoints by their content, results but for how they came about."""

    def names(folder: Path) -> set[str]:
        return {file.name for file in folder.iterdir()} - {"log.txt", "tensorboard", "last.prev.pth"}

    assert names(run) == names(whole)
    for name in sorted(names(whole)):
        if name.endswith(".pth"):
            assert_same(load_checkpoint(run / name), load_checkpoint(whole / name), name)
        else:
            assert without_provenance(run / name) == without_provenance(whole / name), name


def without_provenance(file: Path) -> bytes:
    """What a file holds but for when and by which command it came about, which no two runs share."""
    content = file.read_bytes()
    if file.name == "metrics.json":
        return json.dumps(json.loads(content) | {"provenance": None}).encode()
    start, mark, _ = content.partition(b'<section id="made">')
    return start if mark else content


@contextmanager
def undisturbed_logging() -> Iterator[None]:
    """Takes back what `set_up_logging` changes for the whole process."""
    root = logging.getLogger()
    handlers, level, shape = root.handlers[:], root.level, warnings.formatwarning
    try:
        yield
    finally:
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)
            handler.close() if isinstance(handler, logging.FileHandler) else None
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
        warnings.formatwarning = shape


def tiny(folder: Path, output: Path, stage: str = "view", **changes: Any) -> CfgNode:
    """A phantom configuration on a folder of `write_standard_folder`."""
    return configure(f"configs/phantom/{stage}.yaml", tiny_options(folder, output, stage, **changes))


def history(run: Path) -> list[dict]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def metrics(run: Path) -> dict:
    """What metrics.json holds, but for how it came about."""
    return json.loads(without_provenance(run / "metrics.json"))
