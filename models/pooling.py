"""Temporal pooling: the frame features of a clip become one feature, with the weight that each frame had.

Each kind is a module [B, T, D] → [B, D] and weights [B, T] that sum to 1 over time. All start as the plain mean over
time, which is ViFi-CLIP's pooling, so that pretrained features arrive unharmed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class TemporalPooling(nn.Module):
    """Temporal multi-instance pooling (Song et al., MICCAI 2025).

    The mean over time and the sum weighted by softmax over time of `Linear(D, 128) → Tanh → Linear(128, 1)`,
    concatenated and projected `Linear(2D, D)`. It starts with equal weights and the projection to their mean.
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__()
        first, last = nn.Linear(dim, hidden), nn.Linear(hidden, 1)
        self.attention = nn.Sequential(first, nn.Tanh(), last)
        self.projection = nn.Linear(2 * dim, dim)
        with torch.no_grad():
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.projection.weight.copy_(torch.cat([torch.eye(dim), torch.eye(dim)], dim=1) / 2)
            nn.init.zeros_(self.projection.bias)

    def weights(self, frames: Tensor) -> Tensor:
        """How much each frame counts, [B, T], summing to 1 over time."""
        return self.attention(frames).squeeze(-1).float().softmax(dim=-1)

    def pool(self, mean_of: Tensor, weighted: Tensor, weights: Tensor) -> Tensor:
        """The two halves may come from different frame features, as the released variant's do."""
        attended = (weights.unsqueeze(-1) * weighted).sum(dim=1)
        return self.projection(torch.cat([mean_of.mean(dim=1), attended], dim=-1))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.weights(frames)
        return self.pool(frames, frames, weights), weights


class MeanPooling(nn.Module):
    """The mean over time; learns nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        return frames.mean(dim=1), torch.full_like(frames[..., 0], 1 / frames.shape[1])


class TransformerPooling(nn.Module):
    """One pre-norm transformer layer over the frames of a clip, in their order, before `TemporalPooling`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(dim, max(1, dim // 64), 2 * dim, 0.0, batch_first=True, norm_first=True)
        self.pooling = TemporalPooling(dim)
        with torch.no_grad():
            for last in (self.layer.self_attn.out_proj, self.layer.linear2):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        # Positions reach the attention alone, by the way of the queries, keys and values of one norm.
        placed = frames + positions(frames.shape[1], frames.shape[2], frames)
        return self.pooling(frames + self.layer(placed) - placed)


def positions(length: int, dim: int, like: Tensor) -> Tensor:
    """Sines and cosines of the place in time (Vaswani et al., 2017), [T, D], dtype and device of `like`; D is even."""
    place = torch.arange(length, device=like.device).unsqueeze(1)
    rate = torch.exp(torch.arange(0, dim, 2, device=like.device) * (-math.log(10000.0) / dim))
    return torch.stack([(place * rate).sin(), (place * rate).cos()], dim=-1).flatten(1).to(like.dtype)


POOLINGS: dict[str, type[nn.Module]] = {
    "attention": TemporalPooling,
    "mean": MeanPooling,
    "transformer": TransformerPooling,
}
