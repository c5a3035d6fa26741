"""Checkpoints: tensors and plain values only, written whole or not at all, read without executing anything."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoviewclip.utils.bundle import REST, read_bundle, write_bundle
from echoviewclip.utils.checkpoint_fields import bad_weights, fault, is_weights
from echoviewclip.utils.errors import UserError, first_line
from echoviewclip.utils.files import atomic_path, find_own
from echoviewclip.utils.seal import DamageError, check_archive, seal

FORMAT = 2  # ends with a digest of itself
WITHOUT_DIGEST = 1  # as earlier versions wrote it


class DamagedCheckpoint(UserError):
    """A checkpoint that is not, or not wholly, what was written."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` to a temporary file, flushes it to disk and renames it to `path`.

    Raises UserError where the disk is full; the former file is kept.
    """
    with atomic_path(path) as temporary:
        write_checkpoint(temporary, content)


def export_checkpoint(folder: str | Path, content: dict[str, Any]) -> None:
    """Writes `content` without the state of its training as a folder (`utils.bundle`). Raises UserError."""
    write_bundle(folder, {name: value for name, value in content.items() if name != "training"} | {"format": FORMAT})


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` straight to `path`, which a caller renames."""
    with path.open("wb") as file:  # a file of Python's, since torch's own does not say why a write failed
        torch.save({**content, "format": FORMAT}, file)
    seal(path)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of one of our checkpoints, or of one of the published code (whose only key then is `model`).

    `path` is a file, or a folder that `export_checkpoint` wrote, the package's own (weights/…) too. Tensors arrive on
    the CPU. Raises UserError where it is missing, damaged, or holds neither: every flipped bit is found (`utils.seal`),
    every field is looked at (`utils.checkpoint_fields`), and weights are finite.
    """
    path = find_own(Path(path) / REST).parent
    if path.is_dir():
        return _checked(path, read_bundle(path), sealed=True)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint (--resume, MODEL.RESUME)")
    try:
        sealed = check_archive(path)
        content = _load_plain(path)
    except DamageError as error:
        raise DamagedCheckpoint(f"{path}: damaged: {first_line(error)}; take another checkpoint of the run") from None
    except pickle.UnpicklingError as error:
        if not (found := re.search(r"GLOBAL (\S+)", str(error))):
            raise DamagedCheckpoint(f"{path}: damaged or not a checkpoint ({first_line(error)})") from None
        raise UserError(
            f"{path}: holds objects ({found[1]}) that loading would have to execute; "
            "keep its weights alone: torch.save({'model': torch.load(FILE)['model']}, NEW)"
        ) from None
    except Exception as error:  # a cut-off archive raises whatever zip, pickle or torch meet first
        raise DamagedCheckpoint(f"{path}: damaged or not a checkpoint ({first_line(error)})") from None
    return _checked(path, content, sealed)


def _checked(path: Path, content: Any, sealed: bool) -> dict[str, Any]:
    """What a file held, each field looked at; `sealed`: its digest was right. Raises UserError."""
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise UserError(f"{path}: not a checkpoint of this program nor of the published code: it has no `model`")
    if "format" not in content:
        content = {"model": content["model"]}
        wrong = None if is_weights(content["model"]) else "`model` is not a dict of tensors"
        wrong = wrong or bad_weights(content["model"])
    elif content["format"] not in (FORMAT, WITHOUT_DIGEST):
        raise UserError(f"{path}: written in format {content['format']}, this program reads format {FORMAT}")
    else:
        wrong = fault(content) if sealed or content["format"] == WITHOUT_DIGEST else "its digest is gone"
    if wrong:
        raise DamagedCheckpoint(f"{path}: damaged: {wrong}; take another checkpoint of the run")
    return content | {"model": unwrapped(content["model"])}


def unwrapped(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights without what DistributedDataParallel, DataParallel and `torch.compile` put before every name."""
    wrappers = re.match(r"(?:module\.|_orig_mod\.)*", next(iter(weights), ""))
    prefix = wrappers[0] if wrappers else ""
    if not all(name.startswith(prefix) for name in weights):
        return weights
    return {name.removeprefix(prefix): value for name, value in weights.items()}


def _load_plain(path: Path) -> Any:
    """What the file holds, executing nothing.

    Published checkpoints carry their configuration as a yacs object and the best score as a numpy scalar; the one is
    read as the dict that it is, the other let through.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        kinds = [np.float64, np.float32, np.int64, np.int32]
        scalar = np.float64().__reduce__()[0]  # numpy 2 calls its module _core, numpy 1 core
        scalars = [(scalar, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")]
        numbers: list[Any] = [np.dtype, *scalars, *kinds, *(type(np.dtype(kind)) for kind in kinds)]
        with torch.serialization.safe_globals([(OrderedDict, "yacs.config.CfgNode"), *numbers]):
            return torch.load(path, map_location="cpu", weights_only=True)
