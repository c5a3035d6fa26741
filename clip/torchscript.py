"""The weights in a TorchScript archive, read without the code that it carries."""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

# The names of storages in pickles, as torch's serialisation writes them.
_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
}
# How a class in an archive's code begins; other tensors that its instances hold are no part of the state dict.
_CLASS = re.compile(
    r"^class (\w+)\(Module\):\n  __parameters__ = \[(.*)\](?:\n  __buffers__ = \[(.*)\])?$", re.MULTILINE
)
_LONGEST_CODE = 16 << 20  # bytes of a file; OpenAI's are below 1 MB
# A pickle of a few hundred bytes can describe a tree without end.
_MOST_MODULES = 100_000
_LONGEST_NAME = 1_000  # characters


def is_torchscript(file: Path) -> bool:
    """Whether the file is an archive that `torch.jit.save` wrote."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def read_torchscript(file: Path) -> dict[str, torch.Tensor]:
    """Name → tensor of all parameters and buffers in a TorchScript archive, on the CPU, in the stored dtype.

    `torch.jit.load` would run the `__setstate__` of the archive's classes; here they are objects without behaviour.
    Raises pickle.UnpicklingError, and what `zipfile` and `pickle` raise, for a damaged archive.
    """
    with zipfile.ZipFile(file) as archive:
        pickled = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickled) != 1:
            raise pickle.UnpicklingError("an archive holds one data.pkl")
        module = _Reader(archive, pickled[0].removesuffix("data.pkl")).load()
    return _tensors(module)


class _Object:
    """An instance of any class: keeps its attributes and does nothing; `tensors` names parameters and buffers."""

    tensors: frozenset[str] = frozenset()

    def __new__(cls, *_: object) -> _Object:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.attributes = state if isinstance(state, dict) else {}


class _Reader(pickle.Unpickler):
    """Imports nothing: tensors are put together here, every other name stands for `_Object`."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(_read(archive, f"{folder}data.pkl")))
        self.archive, self.folder = archive, folder
        self.storages: dict[str, torch.Tensor] = {}
        self.classes: dict[str, dict[str, type[_Object]]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch":
            return _DTYPES.get(name, _Object)
        if module not in self.classes:
            self.classes[module] = _classes(self.archive, f"{self.folder}code/{module.replace('.', '/')}.py")
        return self.classes[module].get(name, _Object)

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """The storage as a flat tensor; `pid` is ("storage", dtype, key, device, number of elements)."""
        _, dtype, key, *_ = pid
        if key not in self.storages:
            data = bytearray(_read(self.archive, f"{self.folder}data/{key}"))
            self.storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self.storages[key]


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:  # torch compresses code alone
        raise pickle.UnpicklingError("an archive is not compressed")
    return archive.read(name)


def _classes(archive: zipfile.ZipFile, name: str) -> dict[str, type[_Object]]:
    """The modules' classes in a file of an archive's code, of which only the names of their tensors are read."""
    if name not in archive.namelist():
        return {}
    with archive.open(name) as file:
        code = file.read(_LONGEST_CODE).decode()
    names = {cls: frozenset(re.findall(r'"([^"]+)"', first + second)) for cls, first, second in _CLASS.findall(code)}
    return {cls: type("_Object", (_Object,), {"tensors": tensors}) for cls, tensors in names.items()}


def _tensor(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> torch.Tensor:
    if math.prod(size) > len(storage):
        raise pickle.UnpicklingError("a tensor is larger than its storage")
    return storage.as_strided(size, stride, offset)


def _tensors(module: Any) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    waiting, seen = [("", module)], 0
    while waiting:
        prefix, owner = waiting.pop()
        seen += 1
        if seen > _MOST_MODULES or len(prefix) > _LONGEST_NAME or not isinstance(owner, _Object):
            raise pickle.UnpicklingError("an archive holds a tree of modules")
        for name, value in owner.attributes.items():
            if isinstance(value, torch.Tensor) and name in owner.tensors:
                found[f"{prefix}{name}"] = value
            elif isinstance(value, _Object):
                waiting.append((f"{prefix}{name}.", value))
    return found
