"""The transformer block of both towers, batch-first and contiguous: the program spends nearly all its time here."""

from __future__ import annotations

import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from echoviewclip.clip.packing import Padding


class SelfAttention(nn.Module):
    """Multi-head self-attention with the parameters of `nn.MultiheadAttention`, under the same names.

    One product for queries, keys and values, scaled dot-product attention, one product back, all on [N, L, D] as it
    lies in memory. `nn.MultiheadAttention` hands its products a transposed [L, N, D], for which half precision on a CPU
    copies the weights once a frame.
    """

    def __init__(self, source: nn.MultiheadAttention) -> None:
        """Takes the parameters of `source`, no copies of them."""
        super().__init__()
        self.heads = source.num_heads
        self.in_proj_weight, self.in_proj_bias = source.in_proj_weight, source.in_proj_bias
        self.out_proj = source.out_proj

    def forward(self, tokens: Tensor, mask: Tensor | Padding | None = None) -> Tensor:
        """Tokens [N, L, D] → [N, L, D]; `mask` [L, L] is added to the attention logits.

        With a `Padding` in its place tokens are packed, [M, D] → [M, D], and each sees those of its frame.
        """
        joint = F.linear(tokens, self.in_proj_weight, self.in_proj_bias)  # [N, L, 3·D]
        padding = mask if isinstance(mask, Padding) else None
        if isinstance(mask, Padding):
            joint, mask = mask.add(joint), mask.filled
        elif mask is not None:
            mask = mask.to(joint.dtype)
        queries, keys, values = joint.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = values  # [N, heads, L, D / heads]
        if values.shape[0]:  # not len, a constant in a traced graph; of no frames PyTorch's attention on a GPU is None
            attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        joined = attended.transpose(1, 2).flatten(2)
        return self.out_proj(padding.remove(joined) if padding else joined)


class AttentionBlock(nn.Module):
    """Pre-norm attention and perceptron with residual connections: open_clip's block, under its parameter names."""

    def __init__(self, source: ResidualAttentionBlock) -> None:
        """Takes the parameters of `source`, no copies of them."""
        super().__init__()
        self.ln_1, self.attn = source.ln_1, SelfAttention(source.attn)
        self.ln_2, self.mlp = source.ln_2, source.mlp

    def forward(self, tokens: Tensor, attn_mask: Tensor | Padding | None = None) -> Tensor:
        """Tokens [N, L, D] → [N, L, D]; `attn_mask` [L, L] is added to the attention logits, and a `Padding` in its
        place says that they are packed, [M, D]."""
        tokens = tokens + self.attn(self.ln_1(tokens), attn_mask)
        return tokens + self.mlp(self.ln_2(tokens))


def own_block(block: nn.Module) -> nn.Module:
    """An `AttentionBlock` of the same parameters for open_clip's block; any other block as it is."""
    return AttentionBlock(block) if isinstance(block, ResidualAttentionBlock) else block
