"""Temporal pooling: the frame features of a clip become one feature, with the weight that each frame had."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TemporalPooling(nn.Module):
    """Temporal multi-instance pooling (Song et al., MICCAI 2025): [B, T, D] → [B, D] and weights [B, T].

    The mean over time and the sum weighted by softmax over time of `Linear(D, 128) → Tanh → Linear(128, 1)`,
    concatenated and projected `Linear(2D, D)`. It starts as the plain mean over time (equal weights, identity
    projection), which is ViFi-CLIP's pooling, so that pretrained features arrive unharmed.
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.projection = nn.Linear(2 * dim, dim)
        with torch.no_grad():
            nn.init.zeros_(self.attention[2].weight)
            nn.init.zeros_(self.attention[2].bias)
            self.projection.weight.copy_(torch.cat([torch.eye(dim), torch.eye(dim)], dim=1) / 2)
            nn.init.zeros_(self.projection.bias)

    def weights(self, frames: Tensor) -> Tensor:
        """How much each frame counts, [B, T], summing to 1 over time."""
        return self.attention(frames).squeeze(-1).softmax(dim=-1)

    def pool(self, mean_of: Tensor, weighted: Tensor, weights: Tensor) -> Tensor:
        """The two halves may come from different frame features, as the released variant's do."""
        attended = (weights.unsqueeze(-1) * weighted).sum(dim=1)
        return self.projection(torch.cat([mean_of.mean(dim=1), attended], dim=-1))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.weights(frames)
        return self.pool(frames, frames, weights), weights
