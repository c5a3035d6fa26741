"""One optimiser step of each stage: forward, backward and update of a batch that is on the device already."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.inference.precision import Outcome, Precision
from echoviewclip.models.outputs import NO_TEXTS
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.tools.benchmarks.cases import (
    COMPILED,
    PLAIN,
    STAGES,
    Seen,
    Setting,
    build,
    clips,
    compiled,
    precisions,
)
from echoviewclip.tools.benchmarks.result import Measured, measure
from echoviewclip.trainers.optimiser import build_optimiser
from echoviewclip.trainers.stages import Stage, build_stage
from echoviewclip.utils.errors import UserError


def benchmark_train(setting: Setting, repeats: int) -> list[Measured]:
    """Per stage: plain in float32, ours at O0, and at O1 where that is another precision."""
    return [row for stage in STAGES for row in of_stage(setting, stage, repeats)]


def of_stage(setting: Setting, stage: str, repeats: int) -> list[Measured]:
    """The rows of a stage; its models are gone when it returns."""
    plain, ours = model_of(setting, stage, PLAIN), model_of(setting, stage, "ours")
    forms = {PLAIN: (plain, Precision("O0", plain, setting.device, tf32=False))}
    forms |= {level: (ours, precision) for level, precision in precisions(ours, setting.device, trains=True).items()}
    same = {}
    if setting.compile:
        fastest = list(forms)[-1]
        copied = compiled(ours, setting.device)
        forms[COMPILED] = (copied, Precision(fastest, copied, setting.device))
        same[COMPILED] = fastest
    work = {name: step(setting, stage, name, *form) for name, form in forms.items()}
    computes = {name: precision for name, (_, precision) in forms.items()}
    rows = measure(f"training step, {stage}", work, computes, ours, setting, repeats, same)
    for name, form in work.items():
        if form().failed:
            raise UserError(f"{name}: the loss of a training step of stage {stage} is not finite; nothing was measured")
    return rows


def model_of(setting: Setting, stage: str, form: str) -> VideoCLIP:
    """A stage's model, of which that stage's parts train."""
    model = build(setting, stage, form)
    made = build_stage(setting.config(stage, form))
    made.prepare(model)
    made.train_mode(model)
    return model


def step(
    setting: Setting, stage: str, form: str, model: VideoCLIP, precision: Precision, seen: Seen | None = None
) -> Callable[[], Outcome]:
    """What the loop does with a batch; `seen` are its clips, noise unless given."""
    config = setting.config(stage, form)
    made, optimiser = build_stage(config), build_optimiser(precision.master.items(), config)
    video, lit = seen or (clips(setting, config), None)
    video, targets = video.to(setting.device), targets_of(made, setting)
    aug = config.AUG
    transform = DeviceTransform(
        train=True, color_jitter=aug.COLOR_JITTER, gray_scale=aug.GRAY_SCALE, flip=aug.FLIP, erasing=aug.ERASING
    )
    seeds = torch.arange(setting.batch)
    texts = NO_TEXTS
    if form != PLAIN:  # what does not train is read once
        with torch.no_grad(), precision.autocast():
            texts = model.encode_texts(made.parts, frozen=True)

    def run() -> Outcome:
        with precision.autocast():
            terms = made.loss(model(transform(video, seeds), made.parts, texts, lit), targets)
            loss = torch.stack(list(terms.values())).sum()
        precision.backward(loss)
        outcome = precision.step(optimiser, config.TRAIN.CLIP_GRAD)
        made.constrain(model)
        return outcome

    return run


def targets_of(made: Stage, setting: Setting) -> Tensor:
    """Targets of a batch: grades, which are also numbers of views, one after the other."""
    labels = torch.arange(setting.batch) % made.config.DATA.NUM_QUALITIES
    return made.targets(labels, labels / made.config.DATA.NUM_QUALITIES).to(setting.device)
