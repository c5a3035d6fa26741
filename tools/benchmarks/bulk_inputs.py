"""What a bulk prediction is tried on: a list of any length over few videos, and a checkpoint of the tiny tower."""

from __future__ import annotations

import os
from pathlib import Path

from echoviewclip.inference.checkpoint import Checkpoint, Origin
from echoviewclip.inference.restore import restore_model
from echoviewclip.phantom.study.files import write_video
from echoviewclip.tools.benchmarks.cases import LABELS, ROOT
from echoviewclip.tools.benchmarks.clips import speckle
from echoviewclip.utils.checkpoint import save_checkpoint
from echoviewclip.utils.config import load_config
from echoviewclip.utils.label_list import read_names

FILES, SIDE, LENGTH = 20, 128, 16  # behind all rows, which are links to them
DAMAGED_EVERY = 97  # rows, of which one is a file that cannot be read


def write_list(folder: Path, rows: int) -> Path:
    """A text list of so many videos under `folder`, links to FILES of them and to a damaged one."""
    (folder / "source").mkdir(parents=True)
    video = speckle(LENGTH, SIDE)
    for number in range(FILES):
        brightness = (number + 1) / FILES
        write_video(folder / f"source/{number}.avi", (video * brightness).astype(video.dtype), fps=30)
    damaged = folder / "source/damaged.avi"
    damaged.write_bytes((folder / "source/0.avi").read_bytes()[:300])
    (folder / "videos").mkdir()
    names = [str(folder / f"videos/{row}.avi") for row in range(rows)]
    for row, name in enumerate(names):
        os.symlink(damaged if row % DAMAGED_EVERY == 1 else folder / f"source/{row % FILES}.avi", name)
    file = folder / "list.txt"
    file.write_text("".join(f"{name} -1\n" for name in names), encoding="utf-8")
    return file


def write_tiny_checkpoint(file: Path) -> None:
    """A checkpoint of stage view that has not been trained: the shipped weights of the tiny tower, random heads."""
    views, grades = read_names(LABELS), read_names(ROOT / "labels/quality.csv")
    options = [("DATA.LABEL_LIST", str(LABELS)), ("DATA.NUM_CLASSES", len(views)), ("DEVICE", "cpu")]
    config = load_config(ROOT / "configs/phantom/view.yaml", options)
    model, tokens = restore_model(config, views, None, answers=False)
    origin = Origin("view", config.MODEL.VARIANT, config.dump(), views, grades, tokens, None)
    save_checkpoint(file, Checkpoint(origin, model.state_dict(), 0, None, None, {}, None).content())
