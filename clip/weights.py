"""Pretrained weights into the towers: from open_clip's registry, the Hugging Face hub, or a local file."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.constants import HF_CONFIG_NAME, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import resize_pos_embed
from open_clip.pretrained import download_pretrained, download_pretrained_from_hf, get_pretrained_cfg, is_pretrained_cfg
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from echoviewclip.clip.architectures import REGISTRY_NAME, build_towers
from echoviewclip.clip.torchscript import is_torchscript, read_torchscript
from echoviewclip.utils.checkpoint import unwrapped
from echoviewclip.utils.errors import UserError, first_line
from echoviewclip.utils.files import find_own

log = logging.getLogger(__name__)

# What TorchScript archives carry beside the weights: OpenAI's three numbers, open_clip's mask.
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")


def load_towers(
    arch: str, pretrained: str | None, image_size: int, quick_gelu: bool = True, overwritten: bool = False
) -> open_clip.CLIP:
    """The towers of `arch` in float32, with the weights that `pretrained` names.

    `pretrained`: `openai` or another tag that open_clip knows for `arch`, `hf-hub:NAME`, the path of an OpenAI `.pt`
    (TorchScript archive or state dict), a safetensors or a state-dict file, also of the package (`find_own`), empty for
    random weights (with a loud warning), or None for random weights without one. Where something else will overwrite
    the weights (`overwritten`) none are loaded. `quick_gelu` is the activation (`activation_of`). Position embeddings
    are resized to `image_size`. Raises UserError with what to do where the weights cannot be had or do not fit.
    """
    towers = build_towers(arch, image_size, quick_gelu)
    if pretrained is None or overwritten:
        return towers
    if not pretrained:
        log.warning(
            "MODEL.PRETRAINED is empty: %s STARTS FROM RANDOM WEIGHTS and has to learn everything from your videos; "
            "set it to openai, an open_clip tag, hf-hub:NAME or a file",
            arch,
        )
        return towers
    file = _locate(arch, pretrained)
    _load(towers, read_state_dict(file), file, arch)
    log.info("weights of %s from %s", arch, file.name)
    return towers


def tag_activation(arch: str, pretrained: str) -> bool | None:
    """Whether the weights of a tag were trained with QuickGELU; None where open_clip knows no such tag of `arch`."""
    if not is_pretrained_cfg(REGISTRY_NAME.get(arch, ""), pretrained):
        return None
    return bool(get_pretrained_cfg(REGISTRY_NAME[arch], pretrained).get("quick_gelu", False))


def activation_of(arch: str, pretrained: str) -> bool | None:
    """Whether weights were trained with QuickGELU, in their own words; None where they do not say.

    A tag knows it, `hf-hub:NAME` has it in its open_clip_config.json, a file in the one beside it or, from
    `tools/export.py`, in its metadata. The log warns of weights that were trained on pictures of another normalisation.
    """
    if (known := tag_activation(arch, pretrained)) is not None:
        return known
    if _own_metadata(pretrained).get("quick_gelu") in ("True", "False"):
        return _own_metadata(pretrained)["quick_gelu"] == "True"
    stated = _hub_configuration(pretrained)
    if not stated:
        return None
    normalisation = stated.get("preprocess_cfg", {})
    for key, ours in (("mean", OPENAI_DATASET_MEAN), ("std", OPENAI_DATASET_STD)):
        if key in normalisation and tuple(normalisation[key]) != tuple(ours):
            log.warning(
                "MODEL.PRETRAINED %s was trained on pictures with the %s %s, here they have %s: expect weaker features",
                *(pretrained, key, normalisation[key], list(ours)),
            )
    return bool(stated.get("model_cfg", stated).get("quick_gelu", False))


def _own_metadata(pretrained: str) -> dict[str, str]:
    """What is noted in a safetensors file; empty for everything else."""
    if not pretrained.endswith(".safetensors") or not (file := find_own(pretrained)).is_file():
        return {}
    try:
        with safe_open(file, "pt") as tensors:
            return tensors.metadata() or {}
    except (SafetensorError, OSError):  # loading says it better
        return {}


def _hub_configuration(pretrained: str) -> dict[str, Any]:
    """The open_clip_config.json of `hf-hub:NAME`, or beside a file; empty where there is none."""
    try:
        if pretrained.startswith("hf-hub:"):
            file = Path(download_pretrained_from_hf(pretrained.removeprefix("hf-hub:"), filename=HF_CONFIG_NAME))
        else:
            file = find_own(pretrained).parent / HF_CONFIG_NAME
            if not pretrained or not file.is_file():
                return {}
        return json.loads(file.read_text())
    except Exception as error:  # whatever the network raises
        log.warning(
            "MODEL.PRETRAINED %s: its %s could not be read (%s), so MODEL.QUICK_GELU decides on the activation",
            *(pretrained, HF_CONFIG_NAME, type(error).__name__),
        )
        return {}


def _locate(arch: str, pretrained: str) -> Path:
    registry_name = REGISTRY_NAME.get(arch, "")
    tag_known = is_pretrained_cfg(registry_name, pretrained)
    if (file := find_own(pretrained)).is_file():
        return file
    try:
        if pretrained.startswith("hf-hub:"):
            return Path(download_pretrained_from_hf(pretrained.removeprefix("hf-hub:")))
        if tag_known:
            return Path(download_pretrained(get_pretrained_cfg(registry_name, pretrained)))
    except Exception as error:  # whatever the network raises, the remedy is the same
        source = pretrained
        if tag_known:
            entry = get_pretrained_cfg(registry_name, pretrained)
            source = entry.get("url") or f"hf-hub:{entry.get('hf_hub', '').rstrip('/')}"
        raise UserError(
            f"MODEL.PRETRAINED {pretrained}: the weights could not be downloaded ({type(error).__name__}). "
            f"Fetch {source} on a machine with a network, copy the file here, and give its path: "
            "--pretrained /path/to/file"
        ) from None
    tags = open_clip.list_pretrained_tags_by_model(registry_name) if registry_name else []
    known = f"a tag of {arch} ({', '.join(tags)}), " if tags else ""
    raise UserError(f"MODEL.PRETRAINED {pretrained}: no such file; it must be {known}hf-hub:NAME or an existing file")


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """Name → tensor of a safetensors file, a TorchScript archive or a saved state dict (bare, or under `state_dict`).

    Nothing in the file is executed. Raises UserError for any other content.
    """
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        if is_torchscript(file):
            content = read_torchscript(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, OSError, SafetensorError) as error:
        raise UserError(f"{file}: not a file of weights: {first_line(error)}") from None
    except Exception as error:  # pickle.UnpicklingError and what a damaged archive makes of it
        raise UserError(f"{file}: not a file of plain weights ({type(error).__name__})") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{file}: expected a state dict (names and tensors), found something else")
    return unwrapped({key: value for key, value in state.items() if key not in _NOT_WEIGHTS})


def _load(towers: open_clip.CLIP, state: dict[str, torch.Tensor], file: Path, arch: str) -> None:
    expected = towers.state_dict()
    missing = sorted(set(expected) - set(state))
    unexpected = sorted(set(state) - set(expected))
    if missing or unexpected:
        raise UserError(
            f"{file}: not weights of {arch}: {len(missing)} names missing (first: {', '.join(missing[:3]) or 'none'}), "
            f"{len(unexpected)} unknown (first: {', '.join(unexpected[:3]) or 'none'}); check MODEL.ARCH"
        )
    state = {name: value.float() for name, value in state.items()}  # OpenAI's are halves, which cannot be resized
    resize_pos_embed(state, towers)
    for name, value in state.items():
        if value.shape != expected[name].shape:
            raise UserError(
                f"{file}: {name} has the shape {list(value.shape)}, {arch} needs {list(expected[name].shape)}; "
                "check MODEL.ARCH"
            )
    towers.load_state_dict(state)
