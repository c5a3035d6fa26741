"""Tensors and plain values as a folder that others can read: `model.safetensors`, `config.yaml`, and `model.json`.

`utils.checkpoint` writes and reads checkpoints in this form; every changed bit of the three files is found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from echoviewclip.utils.errors import UserError, first_line
from echoviewclip.utils.files import atomic_path, make_folder

TENSORS, CONFIG, REST = FILES = ("model.safetensors", "config.yaml", "model.json")
BETWEEN = "/"  # the keys that lead to a tensor in the content


def write_bundle(folder: str | Path, content: dict[str, Any]) -> None:
    """Writes nested dicts of tensors and plain values, whose `config` is a text, `model.json` last.

    Raises UserError where the folder cannot be written.
    """
    folder = make_folder(folder)
    tensors = {name: tensor.contiguous().clone() for name, tensor in _tensors(content)}
    files = {TENSORS: save(tensors), CONFIG: content["config"].encode()}
    rest = _without_tensors({name: value for name, value in content.items() if name != "config"})
    rest["digests"] = {name: _digest(data) for name, data in files.items()}
    rest["digests"][REST] = _digest(_canonical(rest))
    files[REST] = (json.dumps(rest, indent=1, ensure_ascii=False) + "\n").encode()
    for name, data in files.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(data)


def read_bundle(folder: str | Path) -> dict[str, Any]:
    """The content that `write_bundle` wrote, tensors on the CPU. Raises UserError for missing or changed files."""
    folder, data = Path(folder), {}
    for name in FILES:
        try:
            data[name] = (folder / name).read_bytes()
        except OSError:
            raise UserError(f"{folder}: not an exported checkpoint: it has no {name} (tools/export.py)") from None
    try:
        content = json.loads(data[REST])
        told = content["digests"].pop(REST)
        found = {REST: _digest(_canonical(content)), **{name: _digest(data[name]) for name in (TENSORS, CONFIG)}}
        changed = [name for name, digest in ({REST: told} | content.pop("digests")).items() if digest != found[name]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{folder / REST}: damaged ({first_line(error)}); export the checkpoint again") from None
    if changed:
        raise UserError(f"{folder / changed[0]}: not as it was exported; export the checkpoint again")
    for name, tensor in load(data[TENSORS]).items():
        *keys, last = name.split(BETWEEN)
        place = content
        for key in keys:
            place = place.setdefault(key, {})
        place[last] = tensor
    return content | {"config": data[CONFIG].decode()}


def _tensors(content: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    for name, value in content.items():
        if isinstance(value, Tensor):
            yield BETWEEN.join((*path, name)), value
        elif isinstance(value, dict):
            yield from _tensors(value, (*path, name))


def _without_tensors(content: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_tensors(value) if isinstance(value, dict) else value
        for name, value in content.items()
        if not isinstance(value, Tensor)
    }


def _canonical(rest: dict[str, Any]) -> bytes:
    return json.dumps(rest, sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
