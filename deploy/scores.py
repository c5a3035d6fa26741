"""The scores in or out of distribution as modules of an exported graph: `evaluation/ood.py` and `feature_statistics.py`
once more, in torch, since a graph cannot hold NumPy. tests/deploy/test_scores.py holds them against each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from echoviewclip.evaluation.feature_statistics import FeatureStatistics
from echoviewclip.inference.collect import ViewAnswers
from echoviewclip.models.outputs import present

Answers = ViewAnswers[Tensor]


def _energy(positive: Answers, negative: Answers | None) -> Tensor:
    return _logits(positive).logsumexp(dim=1)


def _max_logit(positive: Answers, negative: Answers | None) -> Tensor:
    return _logits(positive).amax(dim=1)


def _msp(positive: Answers, negative: Answers | None) -> Tensor:
    return _logits(positive).softmax(dim=1).amax(dim=1)


def _mcm(positive: Answers, negative: Answers | None) -> Tensor:
    return present(positive.cosines).double().softmax(dim=1).amax(dim=1)


def _negation(positive: Answers, negative: Answers | None) -> Tensor:
    both = _logits(positive).log_softmax(dim=1) + _logits(present(negative)).log_softmax(dim=1)
    return 1 - both.logsumexp(dim=1).exp()


def _yes(positive: Answers, negative: Answers | None) -> Tensor:
    """CLIPN's probability of each class against its own negation, [N, K]."""
    return (_logits(positive) - _logits(present(negative))).sigmoid()


def _competing_to_win(positive: Answers, negative: Answers | None) -> Tensor:
    first = _logits(positive).argmax(dim=1, keepdim=True)
    return _yes(positive, negative).gather(1, first).squeeze(1)


def _agreeing_to_differ(positive: Answers, negative: Answers | None) -> Tensor:
    return (_logits(positive).softmax(dim=1) * _yes(positive, negative)).sum(dim=1)


def _logits(answers: Answers) -> Tensor:
    return present(answers.logits).double()


OF_ONE_PASS: dict[str, Callable[[Answers, Answers | None], Tensor]] = {
    "msp": _msp,
    "max_logit": _max_logit,
    "energy": _energy,
    "mcm": _mcm,
    "negation": _negation,
    "competing_to_win": _competing_to_win,
    "agreeing_to_differ": _agreeing_to_differ,
}


class DistanceScore(nn.Module):
    """One of the scores by distance of features float32 [N, D] → float64 [N] (`FeatureStatistics`).

    What it is made of is kept in float32, as in the checkpoint, and computed with in float64: differences of large
    squares would lose their digits otherwise.
    """

    whitening: Tensor
    whitened_means: Tensor
    background_whitening: Tensor
    whitened_background: Tensor
    bank: Tensor

    def __init__(self, name: str, statistics: FeatureStatistics) -> None:
        super().__init__()
        self.name, self.neighbour = name, int(statistics.neighbour)
        s = statistics
        means = {"whitening": s.whitening, "whitened_means": s.means @ s.whitening}
        background = {
            "background_whitening": s.background_whitening,
            "whitened_background": (s.background_mean @ s.background_whitening)[None],
        }
        used = {"mahalanobis": means, "relative_mahalanobis": means | background, "knn": {"bank": s.bank}}[name]
        for part, values in used.items():
            self.register_buffer(part, torch.from_numpy(values))

    def forward(self, features: Tensor) -> Tensor:
        features = features.double()
        if self.name == "knn":
            unit = features / features.norm(dim=1, keepdim=True).clamp(min=1e-12)
            nearest = _squared_distances(unit, self.bank).topk(self.neighbour, dim=1, largest=False)
            return -nearest.values[:, -1].sqrt()
        score = -_squared_distances(features @ self.whitening.double(), self.whitened_means).amin(dim=1)
        if self.name == "mahalanobis":
            return score
        background = features @ self.background_whitening.double()
        return score + _squared_distances(background, self.whitened_background).squeeze(1)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Of the rows of `a` float64 [N, D] to those of `b` [M, D], float64 [N, M]."""
    b = b.double()
    return ((a**2).sum(dim=1, keepdim=True) + (b**2).sum(dim=1) - 2 * a @ b.T).clamp(min=0)
