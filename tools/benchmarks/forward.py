"""One batch of clips to its answers, as predict.py does it: the three questions, plain and ours."""

from __future__ import annotations

import torch
from torch import Tensor

from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.inference.collect import merge_views
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.replayed import Replayed
from echoviewclip.models.outputs import NO_TEXTS, ModelOutput
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.tools.benchmarks.cases import (
    COMPILED,
    PLAIN,
    REPLAYED,
    Seen,
    Setting,
    build,
    clips,
    compiled,
    precisions,
)
from echoviewclip.tools.benchmarks.result import Measured, measure
from echoviewclip.tools.benchmarks.timing import Form

PARTS = {"view": ("positive",), "negation": ("positive", "negative"), "quality": ("positive", "negative", "quality")}


def benchmark_forward(setting: Setting, repeats: int) -> list[Measured]:
    """Per question: plain in float32, ours at O0, and at O1 where that is another precision."""
    plain, ours = (build(setting, "quality", form).eval().requires_grad_(False) for form in (PLAIN, "ours"))
    faster = compiled(ours, setting.device) if setting.compile else None
    rows = []
    for question, parts in PARTS.items():
        forms = {PLAIN: (plain, Precision("O0", plain, setting.device, trains=False, tf32=False))}
        forms |= {level: (ours, p) for level, p in precisions(ours, setting.device, trains=False).items()}
        same, fastest = {}, list(forms)[-1]
        if faster is not None:
            forms[COMPILED] = (faster, Precision(fastest, faster, setting.device, trains=False))
            same[COMPILED] = fastest
        work = {name: answer(setting, *form, parts, plain=name == PLAIN) for name, form in forms.items()}
        if setting.device.type == "cuda":
            forms[REPLAYED], same[REPLAYED] = forms[fastest], fastest
            work[REPLAYED] = answer(setting, *forms[fastest], parts, plain=False, replay=True)
        computes = {name: precision for name, (_, precision) in forms.items()}
        rows += measure(f"forward, {question}", work, computes, ours, setting, repeats, same)
    return rows


def answer(
    setting: Setting,
    model: VideoCLIP,
    precision: Precision,
    parts: tuple[str, ...],
    plain: bool,
    replay: bool = False,
    seen: Seen | None = None,
) -> Form:
    """From uint8 clips to what is said of each video; class texts once for all batches, in the plain form for each.

    `replay`: the model's work on a GPU as a recording. `seen` are the clips, noise unless given.
    """
    video, lit = seen or (clips(setting, setting.config("quality", "ours")), None)
    video = video.to(setting.device)
    transform = DeviceTransform(train=False)
    with torch.no_grad(), precision.autocast():
        texts = NO_TEXTS if plain else model.encode_texts(parts)

    def encode(given: Tensor) -> ModelOutput:
        with precision.autocast():
            return model(given, parts, texts, lit)

    work = Replayed(encode) if replay else encode

    @torch.no_grad()
    def run() -> object:
        return merge_views(work(transform(video)), views=1)

    return run
