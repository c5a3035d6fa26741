"""Twenty steps of each stage with the settings' defaults: what tests/data/loss_curves.json keeps.

Where a change is meant to move the curves, renew them and say in the commit why:
`PYTHONPATH=src python -m tests.loss_curve`
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.files import write_text
from tests.tiny_data import STAGES, VIEWS, configure, history, tiny_options, train

STORED = Path(__file__).parent / "data" / "loss_curves.json"
VIDEOS, EPOCHS = 17, 4  # in batches of 4: five steps an epoch, the last of one clip

# All that the small tower needs; what is not named here is the default.
SETTINGS = {
    "MODEL.SHARED_BLOCKS": 2,
    "DATA.NUM_FRAMES": 3,
    "DATA.OOD_FILE": "",
    "EVAL_FREQ": EPOCHS,
    "SAVE_FREQ": 0,
    "TRAIN.EPOCHS": EPOCHS,
    "TRAIN.WARMUP_EPOCHS": 1,
    "TRAIN.BATCH_SIZE": 4,
    "TRAIN.LR": 1e-4,
    "TRAIN.OPT_LEVEL": "O0",  # half precision rounds differently from machine to machine
}


def write_arrays(folder: Path) -> Path:
    """A Standard Folder of arrays, which no codec changes: views are squares in four places, grades are contrasts."""
    (folder / "videos").mkdir(parents=True)
    random, lists = np.random.default_rng(0), {"train": [], "quality_train": []}
    for number in range(VIDEOS):
        view, grade = number % len(VIEWS), number % 3
        video = random.integers(0, 60, (5, 48, 48, 3), dtype=np.uint8)
        top, left = 24 * (view // 2), 24 * (view % 2)
        video[:, top : top + 20, left : left + 20] += np.uint8(40 + 60 * grade)
        np.save(folder / "videos" / f"{number}.npy", video)
        lists["train"].append(f"{number}.npy {view}\n")
        lists["quality_train"].append(f"{number}.npy {grade}\n")
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(lines))
        (folder / f"{name.replace('train', 'val')}.txt").write_text("".join(lines))
    (folder / "labels.csv").write_text("id,name\n" + "".join(f"{i},{name}\n" for i, name in enumerate(VIEWS)))
    return folder


def curve(data: Path, output: Path, stage: str, resume: Path | None = None, **changes: Any) -> dict[str, list[float]]:
    """Trains a stage; what it showed at each step by name, and the norm of the weights at the end."""
    output.mkdir(parents=True)
    (output / "defaults.yaml").write_text(f"STAGE: {stage}\n")
    settings = dict(tiny_options(data, output / "run", stage)) | SETTINGS
    settings |= {"MODEL.RESUME": str(resume / "last.pth") if resume else ""}
    settings |= {name.replace("__", "."): value for name, value in changes.items()}
    run = train(configure(str(output / "defaults.yaml"), list(settings.items())))
    lines = [line["train"] for line in history(run) if "train" in line]
    weights = load_checkpoint(run / "last.pth")["model"].values()
    norm = sum(float(value.double().square().sum()) for value in weights if value.is_floating_point()) ** 0.5
    return {name: [line[name] for line in lines] for name in lines[0]} | {"weights": [norm]}


def curves(folder: Path) -> dict[str, dict[str, list[float]]]:
    """The curves of the three stages, each grown from the one before."""
    data, found, resume = write_arrays(folder / "data"), {}, None
    for stage in STAGES:
        found[stage] = curve(data, folder / stage, stage, resume)
        resume = folder / stage / "run"
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        write_text(STORED, json.dumps(curves(Path(temporary)), indent=1) + "\n")
