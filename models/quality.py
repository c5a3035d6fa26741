"""The quality head: grade probabilities and an expected score, whatever the target."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.branch import ImageBranch
from models.pooling import TemporalPooling


def expected_score(logits: Tensor) -> Tensor:
    """Grade logits [B, G] → expected score [B] in [0, 1], the grades standing evenly from worst (0) to best (1)."""
    centres = torch.linspace(0, 1, logits.shape[-1], device=logits.device)
    return logits.float().softmax(dim=-1) @ centres


class QualityBranch(nn.Module):
    """An own copy of the last blocks; its frame features beside the other branches' → pooling → grade logits [B, G].

    The frame features [pos ‖ quality ‖ neg] are layer-normalised per branch, since the branches' scales differ.
    """

    def __init__(self, positive: ImageBranch, grades: int) -> None:
        super().__init__()
        branch = positive.copy()
        self.blocks, self.ln_post, self.projection = branch.blocks, branch.ln_post, branch.projection
        dim = positive.projection.shape[1]
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.pooling = TemporalPooling(3 * dim)
        self.head = nn.Linear(3 * dim, grades)

    frame_features = ImageBranch.frame_features

    def forward(self, tokens: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """Trunk tokens and the two branches' frame features [B, T, D] → grade logits [B, G], frame weights [B, T]."""
        own = self.frame_features(tokens, len(positive))
        parts = (positive, own, negative)
        frames = torch.cat([norm(part) for norm, part in zip(self.norms, parts, strict=True)], dim=-1)
        pooled, weights = self.pooling(frames)
        return self.head(pooled), weights
