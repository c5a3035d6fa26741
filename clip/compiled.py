"""The transformer blocks of a model compiled (`torch.compile`), each for itself: all of a kind share one code."""

from __future__ import annotations

import logging

import torch
import torch._dynamo
from torch import nn

from echoviewclip.clip.attention import AttentionBlock
from echoviewclip.utils.errors import first_line

log = logging.getLogger(__name__)

CODES = 64  # at most, of one function: towers of two widths, trained or frozen, clips of changing number


def compile_blocks(model: nn.Module, device: torch.device) -> str:
    """Compiles all transformer blocks where they are, so that names of parameters stay; says so, or why it cannot be.

    They are compiled as they first run; one that fails then runs as it is. What is compiled stays so. Returns why it
    cannot be done, or nothing.
    """
    blocks = [module for module in model.modules() if isinstance(module, AttentionBlock)]
    if all(block._compiled_call_impl is not None for block in blocks):
        return ""
    reason = why_not(device)
    if reason:
        log.warning("TRAIN.COMPILE True: nothing is compiled, since torch.compile does not work here: %s", reason)
        return reason
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = max(CODES, torch._dynamo.config.recompile_limit)
    for block in blocks:
        block.compile()
    log.info("TRAIN.COMPILE True: %d transformer blocks are compiled as they first run", len(blocks))
    return ""


def why_not(device: torch.device) -> str:
    """Why nothing can be compiled for a device, e.g. for want of a compiler of C++ or of Triton; empty where it can."""
    example = torch.ones(8, device=device, requires_grad=True)
    try:
        torch.compile(torch.sigmoid)(example).sum().backward()
    except Exception as error:
        return first_line(error)
    finally:
        torch._dynamo.reset()
    return ""
