"""The quality head: grade probabilities and an expected score, whatever the target."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoviewclip.models.branch import ImageBranch
from echoviewclip.models.outputs import QualityOutput


def expected_score(logits: Tensor) -> Tensor:
    """Grade logits [B, G] → expected score [B] in [0, 1], the grades standing evenly from worst (0) to best (1)."""
    centres = torch.linspace(0, 1, logits.shape[-1], device=logits.device)
    return (logits.float().softmax(dim=-1) * centres).sum(dim=-1)  # not `@`, which autocast takes to half precision


class QualityBranch(ImageBranch):
    """An own copy of the last blocks; its frame features beside the other branches' → pooling → grade logits [B, G].

    The frame features [pos ‖ quality ‖ neg] are layer-normalised per branch, since the branches' scales differ. With
    `views` the head also sees the probabilities of that many views. Beside the grade it says of so many `defects` how
    likely each is.
    """

    def __init__(
        self, positive: ImageBranch, grades: int, head: str = "softmax", views: int = 0, defects: int = 0
    ) -> None:
        """`head` is one of `HEADS`."""
        own, dim = positive.copy(), positive.projection.shape[1]
        pooling = type(positive.pooling)(3 * dim)
        super().__init__(own.blocks, own.ln_post, own.projection, pooling, own.class_token)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.views, self.grades, self.head_name = views, grades, head
        self.head = HEADS[head](3 * dim + views, grades)
        self.defects = nn.Linear(3 * dim + views, defects) if defects else None

    def restarted(self, positive: ImageBranch) -> QualityBranch:
        """A branch of the same build that starts from `positive`."""
        defects = self.defects.out_features if self.defects else 0
        return QualityBranch(positive, self.grades, self.head_name, self.views, defects)

    def forward(self, own: Tensor, positive: Tensor, negative: Tensor, views: Tensor | None = None) -> QualityOutput:
        """The three branches' frame features [B, T, D], and view probabilities [B, K] where the head sees them."""
        parts = (positive, own, negative)
        frames = torch.cat([norm(part) for norm, part in zip(self.norms, parts, strict=True)], dim=-1)
        pooled, weights = self.pooling(frames)
        if views is not None:
            pooled = torch.cat([pooled, views.to(pooled.dtype)], dim=-1)
        return graded(self.head(pooled), weights, self.defects(pooled) if self.defects else None)


def graded(logits: Tensor, weights: Tensor, defects: Tensor | None = None) -> QualityOutput:
    """Grade logits [B, G], frame weights [B, T] and logits of defects [B, D] as an answer."""
    score = expected_score(logits)
    return QualityOutput(logits.float(), score, weights.float(), None if defects is None else defects.float())


class StepwiseHead(nn.Module):
    """Grades as steps: at each, the probability to be better than this grade, given that one is no worse.

    The probabilities of CORN (Shi, Cao & Raschka 2021, arXiv 2111.08851). [B, D] → log-probabilities of the grades
    [B, G], whose cross-entropy is CORN's loss, but for the weight of the steps.
    """

    def __init__(self, dim: int, grades: int) -> None:
        super().__init__()
        self.steps = nn.Linear(dim, grades - 1)

    def forward(self, features: Tensor) -> Tensor:
        steps = self.steps(features).float()
        none = steps.new_zeros(steps.shape[0], 1)
        climbed = torch.cat([none, F.logsigmoid(steps).cumsum(dim=-1)], dim=-1)
        return climbed + torch.cat([F.logsigmoid(-steps), none], dim=-1)


HEADS: dict[str, type[nn.Module]] = {"softmax": nn.Linear, "corn": StepwiseHead}
