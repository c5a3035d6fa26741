"""A run of transformer blocks, as both towers and all branches use it: prompts, stochastic depth, recomputation."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Blocks(nn.Module):
    """Consecutive blocks of one tower: tokens [N, L, width] → tokens, of the same shape in a transformer.

    `prompts` maps the index of a block to its learnable tokens [n, width], which replace the tokens at `slot` before
    that block (deep prompting, ViFi-CLIP); `drop_path` is the probability of leaving a block out for one sample, which
    blocks that change the tokens' number and width (the small tower's) never are.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
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

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` [L, L] is added to the attention logits."""
        return self.forward_intermediates(tokens, mask)[0]

    def forward_intermediates(
        self, tokens: Tensor, mask: Tensor | None = None, indices: Collection[int] = ()
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """As `forward`, and by index the tokens [N, L', width'] after each of the blocks `indices`, from 0."""
        intermediates = {}
        for i, block in enumerate(self.blocks):
            if str(i) in self.prompts:
                tokens = self._replace(tokens, self.prompts[str(i)])
            if self.recompute and torch.is_grad_enabled():
                after = checkpoint(block, tokens, attn_mask=mask, use_reentrant=False)
            else:
                after = block(tokens, attn_mask=mask)
            tokens = self._drop(tokens, after, self.drop_path[i]) if self.training else after
            if i in indices:
                intermediates[i] = tokens
        return tokens, intermediates

    def _replace(self, tokens: Tensor, prompt: Tensor) -> Tensor:
        start, stop, _ = self.slot.indices(tokens.shape[1])
        prompt = prompt.to(tokens.dtype).expand(len(tokens), -1, -1)
        return torch.cat([tokens[:, :start], prompt, tokens[:, stop:]], dim=1)

    @staticmethod
    def _drop(before: Tensor, after: Tensor, probability: float) -> Tensor:
        if probability == 0 or before.shape != after.shape:
            return after
        keep = torch.rand(len(before), 1, 1, device=before.device) >= probability
        return before + (after - before) * keep.to(before.dtype) / (1 - probability)

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


def own_copy(module: nn.Module) -> nn.Module:
    """A deep copy with parameters of its own, trainable or not as the original's."""
    return copy.deepcopy(module)


def is_copy(module: nn.Module, original: nn.Module) -> bool:
    """Whether two modules of one build have the same weights, to the bit."""
    ours, theirs = module.state_dict(), original.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
