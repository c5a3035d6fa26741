"""A run of transformer blocks, as both towers and all branches use it: prompts, stochastic depth, recomputation."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from echoviewclip.clip.packing import ALL, Packing

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Blocks(nn.Module):
    """Consecutive blocks of one tower: tokens [N, L, width] → tokens, of the same shape in a transformer.

    `prompts` maps the index of a block to its learnable tokens [n, width], which replace the tokens at `slot` before
    that block (deep prompting, ViFi-CLIP); `drop_path` is for each block the probability of leaving it out for a clip
    (stochastic depth, Huang et al. 2016), below 1, and 0 where a block changes the tokens' number or width.
    """

    def __init__(
        self,
        blocks: Iterable[nn.Module],
        *,
        prompts: dict[int, nn.Parameter] | None = None,
        slot: slice = slice(0, 0),
        drop_path: Sequence[float] = (),
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.prompts = nn.ParameterDict({str(i): prompt for i, prompt in (prompts or {}).items()})
        self.slot = slot
        self.drop_path = list(drop_path) or [0.0] * len(self.blocks)
        self.recompute = recompute

    def forward(self, tokens: Tensor, mask: Tensor | None = None, clips: int | None = None) -> Tensor:
        """`mask` [L, L] is added to the attention logits; the N frames are those of `clips` clips, or of N."""
        return self.forward_intermediates(tokens, mask, clips=clips)[0]

    def forward_intermediates(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        indices: Collection[int] = (),
        clips: int | None = None,
        packing: Packing = ALL,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """As `forward`, and by index the tokens [N, L', width'] after each of the blocks `indices`, from 0.

        Only the tokens of `packing` are computed; the others are 0 in what is returned.
        """
        intermediates, clips = {}, clips or tokens.shape[0]
        tokens = packing.pack(tokens)
        for i, block in enumerate(self.blocks):
            if str(i) in self.prompts:
                tokens = packing.pack(self._replace(packing.unpack(tokens), self.prompts[str(i)]))
            if self.training and self.drop_path[i]:
                tokens = self._run_for_some(block, tokens, mask, clips, self.drop_path[i], packing)
            else:
                tokens = self._run(block, tokens, mask, packing)
            if i in indices:
                intermediates[i] = packing.unpack(tokens)
        return packing.unpack(tokens), intermediates

    def _run(self, block: nn.Module, tokens: Tensor, mask: Tensor | None, packing: Packing) -> Tensor:
        seen = mask if packing.padding is None else packing.padding
        if self.recompute and torch.is_grad_enabled():
            first_and_again = partial(_contexts, block)
            return checkpoint(block, tokens, attn_mask=seen, use_reentrant=False, context_fn=first_and_again)
        return block(tokens, attn_mask=seen)

    def _run_for_some(
        self, block: nn.Module, tokens: Tensor, mask: Tensor | None, clips: int, probability: float, packing: Packing
    ) -> Tensor:
        """A block for the clips that keep it, each with all its frames; what it adds is larger by 1 / (1 − p)."""
        # Drawn on the CPU: the device need not be asked how many they are. Of none, gradients are zero, not missing.
        chosen = (torch.rand(clips) >= probability).nonzero().flatten()
        part, kept = packing.of(chosen), chosen.to(tokens.device, non_blocking=True)
        grouped = packing.unpack(tokens).unflatten(0, (clips, -1))
        before = part.pack(grouped[kept].flatten(0, 1))
        after = before + (self._run(block, before, mask, part) - before) / (1 - probability)
        after = part.unpack(after).unflatten(0, (len(kept), grouped.shape[1]))
        return packing.pack(grouped.to(after.dtype).index_copy(0, kept, after).flatten(0, 1))

    def _replace(self, tokens: Tensor, prompt: Tensor) -> Tensor:
        start, stop, _ = self.slot.indices(tokens.shape[1])
        prompt = prompt.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
        return torch.cat([tokens[:, :start], prompt, tokens[:, stop:]], dim=1)

    def split(self, at: int) -> tuple[Blocks, Blocks]:
        """The first `at` blocks and the rest; both keep the same modules and parameters, nothing is copied."""
        return self._part(0, at), self._part(at, len(self.blocks))

    def _part(self, start: int, stop: int) -> Blocks:
        return Blocks(
            self.blocks[start:stop],
            prompts={int(i) - start: prompt for i, prompt in self.prompts.items() if start <= int(i) < stop},
            slot=self.slot,
            drop_path=self.drop_path[start:stop],
            recompute=self.recompute,
        )


def _contexts(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Of the forward pass, and of its repetition in the backward pass, which must not count a batch twice."""
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Leaves the running statistics of batch norms as they were."""
    norms = (module for module in block.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    before = [(value, value.clone()) for norm in norms for value in norm.buffers()]
    try:
        yield
    finally:
        for value, kept in before:
            value.copy_(kept)


def own_copy(module: AnyModule) -> AnyModule:
    """A deep copy with parameters of its own, trainable or not as the original's."""
    return copy.deepcopy(module)


def is_copy(module: nn.Module, original: nn.Module) -> bool:
    """Whether two modules of one build have the same weights, to the bit."""
    ours, theirs = module.state_dict(), original.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
