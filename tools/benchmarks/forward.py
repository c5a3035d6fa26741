"""One batch of clips to its answers, as predict.py does it: the three questions, plain and ours."""

from __future__ import annotations

import torch

from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.inference.collect import merge_views
from echoviewclip.inference.precision import Precision
from echoviewclip.models.outputs import NO_TEXTS
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.tools.benchmarks.cases import PLAIN, Setting, build, clips, precisions
from echoviewclip.tools.benchmarks.result import Measured, measure
from echoviewclip.tools.benchmarks.timing import Form

PARTS = {"view": ("positive",), "negation": ("positive", "negative"), "quality": ("positive", "negative", "quality")}


def benchmark_forward(setting: Setting, repeats: int) -> list[Measured]:
    """Per question: plain in float32, ours at O0, and at O1 where that is another precision."""
    plain, ours = (build(setting, "quality", form).eval().requires_grad_(False) for form in (PLAIN, "ours"))
    rows = []
    for question, parts in PARTS.items():
        forms = {PLAIN: (plain, Precision("O0", plain, setting.device, trains=False))}
        forms |= {level: (ours, p) for level, p in precisions(ours, setting.device, trains=False).items()}
        work = {name: answer(setting, *form, parts, plain=name == PLAIN) for name, form in forms.items()}
        computes = {name: precision.computes for name, (_, precision) in forms.items()}
        rows += measure(f"forward, {question}", work, computes, ours, setting, repeats)
    return rows


def answer(setting: Setting, model: VideoCLIP, precision: Precision, parts: tuple[str, ...], plain: bool) -> Form:
    """From uint8 clips to what is said of each video; class texts once for all batches, in the plain form for each."""
    video = clips(setting, setting.config("quality", "ours"))
    transform = DeviceTransform(train=False)
    with torch.no_grad(), precision.autocast():
        texts = NO_TEXTS if plain else model.encode_texts(parts)

    @torch.no_grad()
    def run() -> object:
        with precision.autocast():
            return merge_views(model(transform(video), parts, texts), views=1)

    return run
