"""What it is worth to leave out patches that are black (MODEL.DROP_BLACK): off and on, on clips of the phantom."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.phantom.probe.views import view_names
from echoviewclip.phantom.study.study import Job, make
from echoviewclip.tools.benchmarks.cases import Setting, build, precisions
from echoviewclip.tools.benchmarks.forward import PARTS, answer
from echoviewclip.tools.benchmarks.result import Measured, measure
from echoviewclip.tools.benchmarks.training import model_of, step
from echoviewclip.utils.errors import UserError

OFF, ON = "all patches", "black dropped"
VIDEOS, SIDE, LENGTH = 12, 256, 16  # of the phantom, each of another patient and view; pixels and frames of each


@dataclass(frozen=True)
class Clips:
    """Clips as a model sees them, and how much of them is black.

    Attributes:
        video: uint8 [N, T, 3, S, S].
        lit: bool [N, S, S], pixels that are not black in every frame.
        black: float64 [N], the share of patches that are.
    """

    video: Tensor
    lit: np.ndarray
    black: np.ndarray

    def typical(self, count: int) -> Clips:
        """The `count` clips whose share of black patches is nearest the mean."""
        order = np.abs(self.black - self.black.mean()).argsort(kind="stable")[np.arange(count) % len(self.black)]
        return Clips(self.video[torch.from_numpy(order)], self.lit[order], self.black[order])


@dataclass(frozen=True)
class Dropped:
    """What was measured.

    Attributes:
        black: mean share of black patches of the clips that were measured, and of all by what they are cut of and for.
        rows: of each work, with all patches and without black ones.
    """

    black: dict[str, float]
    rows: list[Measured]


def benchmark_black(setting: Setting, repeats: int) -> Dropped:
    """All three answers of forward passes, and a training step of stage view. Raises UserError for the tiny tower."""
    if setting.arch == "tiny":
        raise UserError("--arch tiny computes all patches: MODEL.DROP_BLACK needs a ViT")
    model = build(setting, "quality", "ours").eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        found = {
            f"{videos}, {'training' if train else 'evaluation'}": clips_of(files, setting, model, train)
            for videos, files in phantom_videos(Path(folder)).items()
            for train in (False, True)
        }
    clips = next(iter(found.values())).typical(setting.batch)
    rows = forward(setting, model, clips, repeats) + training_step(setting, clips, repeats)
    return Dropped({name: float(part.black.mean()) for name, part in {"measured": clips, **found}.items()}, rows)


def phantom_videos(folder: Path) -> dict[str, list[Path]]:
    """Videos of the phantom as its study has them, and prepared, which cuts the picture to the image's box."""
    names = view_names()
    (folder / "study").mkdir()
    for number in range(VIDEOS):
        view = names[number * len(names) // VIDEOS]
        make(Job(folder, 0, number, number, f"{number:02d}.avi", view, "test", SIDE, LENGTH, folder="study"))
    prepare(folder / "study", folder / "prepared", Options(keep_names=True), workers=1)
    files = {"as made": folder / "study", "prepared": folder / "prepared/videos"}
    return {name: sorted(place.iterdir()) for name, place in files.items()}


def clips_of(videos: list[Path], setting: Setting, model: VideoCLIP, train: bool) -> Clips:
    """A clip of each video, cut as for an evaluation or, with `train`, at random as for training."""
    config = setting.config("quality", "ours")
    dataset = VideoDataset(
        Annotations.of_paths(videos),
        frames=config.DATA.NUM_FRAMES,
        size=config.DATA.INPUT_SIZE,
        train=train,
        scales=config.AUG.SCALES,
        finds_black=True,
    )
    samples = [dataset[number] for number in range(len(dataset))]
    lit = torch.cat([sample.lit for sample in samples if sample.lit is not None]).numpy()
    black = 1 - model.stem.lit_patches(lit).mean(axis=1)
    return Clips(torch.cat([sample.video for sample in samples]), lit, black)


def forward(setting: Setting, model: VideoCLIP, clips: Clips, repeats: int) -> list[Measured]:
    """From clips to the three answers, at the level that is fastest here."""
    precision = list(precisions(model, setting.device, trains=False).values())[-1]
    forms = {
        name: answer(setting, model, precision, PARTS["quality"], plain=False, seen=(clips.video, lit))
        for name, lit in ((OFF, None), (ON, clips.lit))
    }
    return measure("forward, quality", forms, dict.fromkeys(forms, precision), model, setting, repeats)


def training_step(setting: Setting, clips: Clips, repeats: int) -> list[Measured]:
    """An optimiser step of stage view, without flips, so that both forms see the same."""
    setting = replace(setting, smaller={**setting.smaller, "AUG.FLIP": 0.0})
    model = model_of(setting, "view", "ours")
    level, precision = list(precisions(model, setting.device, trains=True).items())[-1]
    forms = {
        name: step(setting, "view", level, model, precision, seen=(clips.video, lit))
        for name, lit in ((OFF, None), (ON, clips.lit))
    }
    return measure("training step, view", forms, dict.fromkeys(forms, precision), model, setting, repeats)


def show(dropped: Dropped) -> None:
    """Prints what `result.show` does not: how much of the clips is black."""
    shares = "; ".join(f"{name} {share:.3f}" for name, share in dropped.black.items())
    print(f"share of black patches in clips of the phantom: {shares}")
