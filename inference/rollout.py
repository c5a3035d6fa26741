"""Gradient-weighted attention rollout: how much each token of the first transformer block counted for an answer.

Chefer, Gur & Wolf, "Generic Attention-model Explainability", 2021 (arXiv 2103.15679): block by block
R ← R + E_heads[(∇A ⊙ A)⁺]·R, from R = 1, where A are a block's attention weights and ∇A the answer's gradient in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class KeptAttention(TorchFunctionMode):
    """In a `with` block, attention is computed with weights that are kept and have gradients.

    `scaled_dot_product_attention` gives no weights; here softmax(q·kᵀ / √d + mask) takes its place. Nothing outside of
    the block, and nothing in other threads, changes. Compiled blocks have to run as they are (`force_eager`).

    Attributes:
        weights: [N, heads, L, L] of each call, in their order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of each of its functions."""
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        return self._attend(*args, **(kwargs or {}))

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        logits = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
        weights = (logits if attn_mask is None else logits + attn_mask).softmax(dim=-1)
        if not weights.requires_grad:  # of the first block, where no parameter trains
            weights.requires_grad_()
        self.weights.append(weights)
        return weights.to(values.dtype) @ values


def roll_out(weights: Sequence[Tensor], gradients: Sequence[Tensor], fresh: Sequence[slice] = ()) -> Tensor:
    """How much every token before the first block counts for every token after the last, float32 [N, L, L], ≥ 0.

    It is R − 1: what a token owes to itself, by way around all blocks, says nothing of where a model looked.

    Args:
        weights: attention of each block, [N, heads, L, L].
        gradients: of what is explained in them, of the same shapes.
        fresh: for each block the tokens that were replaced by learnable ones before it, which hold nothing of those
            before; none are where it is empty.
    """
    count, _, length, _ = weights[0].shape
    identity = torch.eye(length, device=weights[0].device)
    relevance = identity.repeat(count, 1, 1)
    for block, (attention, gradient) in enumerate(zip(weights, gradients, strict=True)):
        if fresh:
            relevance[:, fresh[block]] = identity[fresh[block]]
        relevance = relevance + (gradient.float() * attention.float()).clamp(min=0).mean(dim=1) @ relevance
    return relevance - identity
