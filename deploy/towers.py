"""The towers of a checkpoint under open_clip's names, for MODEL.PRETRAINED of other trainings."""

from __future__ import annotations

import re
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from echoviewclip.deploy.folder import halve
from echoviewclip.inference.checkpoint import Checkpoint
from echoviewclip.inference.restore import own_towers
from echoviewclip.inference.resume import with_activation
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import atomic_path


def write_towers(checkpoint: Checkpoint, file: Path, half: bool = False) -> None:
    """Writes `towers_of` a checkpoint as safetensors, with `half` in 16-bit numbers. Raises UserError as it does."""
    state, metadata = towers_of(checkpoint), metadata_of(checkpoint)
    if half:
        state = halve(state)
    with atomic_path(file) as temporary:
        save_file({name: value.contiguous().clone() for name, value in state.items()}, temporary, metadata)


def metadata_of(checkpoint: Checkpoint) -> dict[str, str]:
    """What the tensors do not say: the activation they were trained with."""
    config = with_activation(checkpoint.origin.configuration(), checkpoint)
    return {"arch": config.MODEL.ARCH, "quick_gelu": str(config.MODEL.QUICK_GELU)}


def towers_of(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """A checkpoint's positive branch as the state dict of open_clip's `CLIP`, float32.

    Raises UserError for learnable prompts, which no plain tower has, and where the token table of its training cannot
    be had.
    """
    config = checkpoint.origin.configuration()
    if config.TRAINER.ViFi_CLIP.PROMPT_MODEL:
        raise UserError("the checkpoint's towers hold learnable prompts (PROMPT_MODEL), which a plain tower has not")
    # Prompts are looked up in a table that never trains and that a checkpoint does not hold whole.
    state = own_towers(checkpoint).state_dict()
    for name, value in checkpoint.weights.items():
        if (place := _place(name, config.MODEL.SHARED_BLOCKS)) in state:
            state[place] = value
    return state


def _place(name: str, shared_blocks: int) -> str:
    """Where open_clip keeps what a checkpoint calls `name`."""

    def later(match: re.Match) -> str:
        return f"visual.transformer.resblocks.{int(match[1]) + shared_blocks}."

    rules = (
        (r"^trunk\.blocks\.", "visual.transformer.resblocks."),
        (r"^positive\.blocks\.blocks\.(\d+)\.", later),
        (r"^positive\.projection$", "visual.proj"),
        (r"^(?:stem|positive)\.", "visual."),
        (r"^positive_text\.tower\.blocks\.blocks\.", "transformer.resblocks."),
        (r"^positive_text\.tower\.", ""),
    )
    for pattern, place in rules:
        if re.search(pattern, name):
            return re.sub(pattern, place, name)
    return name
