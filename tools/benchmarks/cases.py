"""The models that are measured: with random weights, on made-up clips, in the forms that are compared."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from echoviewclip.clip.architectures import SMALL
from echoviewclip.clip.compiled import compile_blocks
from echoviewclip.clip.text import CONTEXT_LENGTH, ClassPrompts
from echoviewclip.inference.precision import Precision
from echoviewclip.models.build import build_model, configured_towers
from echoviewclip.models.released import ReleasedVideoCLIP
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names

ROOT = Path(__file__).resolve().parents[2]
LABELS = ROOT / "labels/ultracls.csv"
RELEASED = {"view": "train_stage1", "negation": "train_stage2", "quality": "train_qc"}
STAGES = tuple(RELEASED)
COMPILED, REPLAYED = "compiled", "replayed"  # the fastest level with TRAIN.COMPILE, and as a recording
PLAIN = "plain"  # the released variant as its definition reads: all 77 tokens of a text, every time, float32

Seen = tuple[Tensor, np.ndarray | None]
"""Clips uint8 [B, T, 3, S, S], and, where black patches are left out, their lit pixels, bool [B, S, S]."""


@dataclass(frozen=True)
class Setting:
    """What is measured on what: MODEL.ARCH, videos a batch, the device; `smaller` are settings that tests change, and
    `compile` asks for compiled forms, too."""

    arch: str
    batch: int
    device: torch.device
    smaller: dict[str, object] = field(default_factory=dict)
    compile: bool = False

    def config(self, stage: str, form: str) -> CfgNode:
        """Of a stage's training: for `PLAIN` the published recipe, else that of `configs/`."""
        folder = "phantom" if self.arch in SMALL else "ultracls"
        options: dict[str, object] = {
            "MODEL.ARCH": self.arch,
            "MODEL.PRETRAINED": "",
            "MODEL.RESUME": "",
            "DATA.LABEL_LIST": str(LABELS),
            "DATA.QUALITY_LIST": str(ROOT / "labels/quality.csv"),
            "TRAIN.BATCH_SIZE": self.batch,
            **self.smaller,
        }
        ours = load_config(ROOT / "configs" / folder / f"{stage}.yaml", list(options.items()))
        if form != PLAIN:
            return ours
        options |= {
            "MODEL.SHARED_BLOCKS": ours.MODEL.SHARED_BLOCKS,
            "DATA.INPUT_SIZE": ours.DATA.INPUT_SIZE,
            "DATA.NUM_FRAMES": ours.DATA.NUM_FRAMES,
            "TRAIN.OPT_LEVEL": "O0",
        }
        return load_config(ROOT / "configs/released" / f"{RELEASED[stage]}.yaml", list(options.items()))


def build(setting: Setting, stage: str, form: str) -> VideoCLIP:
    """A stage's model with random weights, on the device; the plain one reads all 77 tokens of a text.

    Published models of stage quality carry no text; for all three answers that of stage negation gets their head.
    """
    config = setting.config("negation" if form == PLAIN and stage == "quality" else stage, form)
    torch.manual_seed(0)
    towers = configured_towers(config, overwritten=True)
    table = towers.token_embedding
    model = build_model(config, read_names(LABELS), towers)
    if form == PLAIN:
        assert isinstance(model, ReleasedVideoCLIP) and model.positive_text is not None
        prompts = model.positive_text.prompts
        model.positive_text.prompts = ClassPrompts(prompts.token_ids, table, prompts.context, CONTEXT_LENGTH)
        if stage == "quality":
            model.add_quality(config.DATA.NUM_QUALITIES)
    return model.to(setting.device)


def precisions(model: VideoCLIP, device: torch.device, *, trains: bool) -> dict[str, Precision]:
    """O0 and, where it computes in another precision on this device, O1."""
    found = {level: Precision(level, model, device, trains=trains) for level in ("O0", "O1")}
    return {level: found[level] for level in found if level == "O0" or found[level].computes != torch.float32}


def compiled(model: VideoCLIP, device: torch.device) -> VideoCLIP:
    """A copy whose blocks are compiled. Raises UserError where that cannot be done."""
    copied = copy.deepcopy(model)
    if reason := compile_blocks(copied, device):
        raise UserError(f"--compile: torch.compile does not work here: {reason}")
    return copied


def clips(setting: Setting, config: CfgNode) -> Tensor:
    """Noise, uint8 [B, T, 3, S, S] on the device."""
    shape = (setting.batch, config.DATA.NUM_FRAMES, 3, config.DATA.INPUT_SIZE, config.DATA.INPUT_SIZE)
    noise = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return noise.to(setting.device)
