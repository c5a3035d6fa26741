"""Which half precision a device computes in, and whether it has instructions for it."""

from __future__ import annotations

import os
import platform
from typing import NamedTuple

import torch

# What ONEDNN_MAX_CPU_ISA may be set to that keeps oneDNN, which multiplies matrices in bfloat16, from AVX512_BF16
# and AMX (https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html).
BELOW_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
X86 = ("x86_64", "AMD64")


class Half(NamedTuple):
    """A half precision: its dtype, and why it is slower than float32 on this device; empty where it is not."""

    dtype: torch.dtype
    slow: str = ""


def half_precision(device: torch.device) -> Half:
    """bfloat16 where the device computes in it; else float16 on a GPU, and bfloat16, slowly, on a processor."""
    if device.type == "cpu":
        return Half(torch.bfloat16, slow=lacks_bfloat16())
    bfloat = torch.cuda.is_bf16_supported(including_emulation=False)
    return Half(torch.bfloat16 if bfloat else torch.float16)


def lacks_bfloat16() -> str:
    """Why this processor multiplies matrices slower in bfloat16 than in float32; empty where it has instructions.

    Those are AVX512_BF16 and AMX on x86, BF16 on ARM, as far as PyTorch's oneDNN uses them. AVX512 alone does not
    count: oneDNN then converts to float32 and back.
    """
    if not torch.backends.mkldnn.is_available():
        return "PyTorch was built without oneDNN"
    x86 = platform.machine() in X86
    if not (_has_bfloat16_on_x86() if x86 else torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return f"the processor has no bfloat16 instructions ({'AVX512_BF16, AMX' if x86 else 'BF16'})"
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):  # the first that is set counts
        limit = os.environ.get(name, "").upper()
        if limit:
            return f"{name}={limit} forbids bfloat16 instructions" if x86 and limit in BELOW_BFLOAT16 else ""
    return ""


def _has_bfloat16_on_x86() -> bool:
    if not hasattr(torch.cpu, "get_capabilities"):  # every processor with AMX has AVX512_BF16, too
        return torch.cpu._is_avx512_bf16_supported()
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
