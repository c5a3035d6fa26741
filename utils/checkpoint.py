"""Checkpoints: tensors and plain values only, written whole or not at all, read without executing anything."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from yacs.config import CfgNode

from utils.errors import UserError
from utils.files import atomic_path

FORMAT = 1


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` to a temporary file, flushes it to disk and renames it to `path`."""
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, **content}, temporary)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of one of our checkpoints, or of one of the published code (whose only key then is `model`).

    Tensors arrive on the CPU. Raises UserError where the file is missing, damaged, or holds neither.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint (--resume, MODEL.RESUME)")
    try:
        # Published checkpoints carry their configuration as a yacs object and the best score as a numpy scalar.
        with torch.serialization.safe_globals([CfgNode, *_numpy_scalars()]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds objects that loading would have to execute ({_first_line(error)}); "
            "keep its weights alone: torch.save({'model': torch.load(FILE)['model']}, NEW)"
        ) from None
    except Exception as error:  # a cut-off archive raises whatever zip, pickle or torch meet first
        raise UserError(f"{path}: damaged or not a checkpoint ({_first_line(error)})") from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise UserError(f"{path}: not a checkpoint of this program nor of the published code: it has no `model`")
    if "format" not in content:
        return {"model": content["model"]}
    if content["format"] != FORMAT:
        raise UserError(f"{path}: written in format {content['format']}, this program reads format {FORMAT}")
    return content


def _numpy_scalars() -> list[Any]:
    kinds = [np.float64, np.float32, np.int64, np.int32]
    return [np.dtype, np._core.multiarray.scalar, *kinds, *(type(np.dtype(kind)) for kind in kinds)]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
