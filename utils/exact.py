"""Products of float32 matrices on a GPU: in TF32, which is several times as fast, and exact where that counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def has_tf32(device: torch.device) -> bool:
    """Whether the device multiplies in TF32, factors with 10 bits of mantissa, and the environment lets it."""
    if device.type != "cuda" or os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Products of float32 in float32, whatever the rest of a program allows."""
    allowed = torch.get_float32_matmul_precision() if device.type == "cuda" else "highest"
    if allowed == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)
