"""Checkpoints: tensors and plain values only, written whole or not at all, read without executing anything."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.errors import UserError, first_line
from utils.files import atomic_path

FORMAT = 1


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` to a temporary file, flushes it to disk and renames it to `path`.

    Raises UserError where the disk is full; the former file is kept.
    """
    with atomic_path(path) as temporary:
        write_checkpoint(temporary, content)


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` straight to `path`, which a caller renames."""
    with path.open("wb") as file:  # a file of Python's, since torch's own does not say why a write failed
        torch.save({"format": FORMAT, **content}, file)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of one of our checkpoints, or of one of the published code (whose only key then is `model`).

    Tensors arrive on the CPU. Raises UserError where the file is missing, damaged, or holds neither.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint (--resume, MODEL.RESUME)")
    try:
        content = _load_plain(path)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise UserError(
            f"{path}: holds objects{f' ({found[1]})' if found else ''} that loading would have to execute; "
            "keep its weights alone: torch.save({'model': torch.load(FILE)['model']}, NEW)"
        ) from None
    except Exception as error:  # a cut-off archive raises whatever zip, pickle or torch meet first
        raise UserError(f"{path}: damaged or not a checkpoint ({first_line(error)})") from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise UserError(f"{path}: not a checkpoint of this program nor of the published code: it has no `model`")
    if "format" not in content:
        return {"model": content["model"]}
    if content["format"] != FORMAT:
        raise UserError(f"{path}: written in format {content['format']}, this program reads format {FORMAT}")
    return content


def _load_plain(path: Path) -> Any:
    """What the file holds, executing nothing.

    Published checkpoints carry their configuration as a yacs object and the best score as a numpy scalar; the one is
    read as the dict that it is, the other let through.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        kinds = [np.float64, np.float32, np.int64, np.int32]
        numbers = [np.dtype, np._core.multiarray.scalar, *kinds, *(type(np.dtype(kind)) for kind in kinds)]
        with torch.serialization.safe_globals([(OrderedDict, "yacs.config.CfgNode"), *numbers]):
            return torch.load(path, map_location="cpu", weights_only=True)
