"""The three stages as objects: the parts of the model, what trains, the loss, and the figure that says which is best.

The loop (`trainers/loop.py`) and the evaluation (`trainers/evaluate.py`) know no stage by name.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode

from echoviewclip.models.outputs import BranchOutput, ModelOutput, present
from echoviewclip.models.video_clip import VideoCLIP


class Stage(ABC):
    """What a stage is.

    `moves_statistics` says whether batch norms learn their statistics: later stages keep those of the first, which
    outliers would distort, and so answer for each clip alone.
    """

    name: str
    moves_statistics = False

    def __init__(self, config: CfgNode) -> None:
        self.config = config

    @property
    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """The parts of the model that its loss looks at."""

    @property
    @abstractmethod
    def best(self) -> tuple[str, ...]:
        """Metrics that pick best.pth: the first that an evaluation has decides; higher is better."""

    @property
    def learns_outliers(self) -> bool:
        """Whether batches hold synthetic outliers, whose targets are zero, beside the videos."""
        return False

    @abstractmethod
    def modules(self, model: VideoCLIP) -> Iterable[nn.Module | nn.Parameter | None]:
        """The modules and parameters that this stage trains."""

    def targets(self, labels: Tensor, scores: Tensor, defects: Tensor | None = None) -> Tensor:
        """Labels int64 [B], scores float32 [B] and `defects` float32 [B, D] of a batch → what clips of it are to be.

        Target probabilities float32 [B, K], in stage quality followed by the defects, [B, G + D].
        """
        return F.one_hot(labels, self.config.DATA.NUM_CLASSES).float()

    @abstractmethod
    def loss(self, output: ModelOutput, targets: Tensor) -> dict[str, Tensor]:
        """The terms of the loss, scalars; their sum is minimised."""

    def prepare(self, model: VideoCLIP) -> None:
        """Lets gradients flow into what this stage trains, and into nothing else."""
        model.requires_grad_(False)
        for part in self.modules(model):
            if part is not None:
                part.requires_grad_(True)
        prompted = self.config.TRAINER.ViFi_CLIP.PROMPT_MODEL and self.name != "quality"
        for name, parameter in model.named_parameters():
            if prompted and not is_prompt(name):
                parameter.requires_grad_(False)
            if self.config.MODEL.FIX_TEXT and name.startswith(("positive_text.", "negative_text.")):
                parameter.requires_grad_(False)

    def constrain(self, model: VideoCLIP) -> None:  # noqa: B027
        """Keeps what trains within its bounds; called after each optimiser step."""

    def train_mode(self, model: VideoCLIP) -> None:
        """Training mode for what trains, evaluation mode for what is frozen."""
        model.eval()
        for module in model.modules():
            if any(p.requires_grad for p in module.parameters()):
                module.training = self.moves_statistics or not isinstance(module, nn.modules.batchnorm._BatchNorm)


def is_prompt(name: str) -> bool:
    """Whether a parameter's name is that of learnable prompt tokens."""
    own = name == "stem.prompts" or name.startswith("trunk.prompts.")
    return own or name.endswith("prompts.context") or ".blocks.prompts." in f".{name}"


class ViewStage(Stage):
    """Stage 1: cross-entropy over scale·cos(f_pos, t_pos)."""

    name, parts, best = "view", ("positive",), ("top1",)
    moves_statistics = True

    def modules(self, model: VideoCLIP) -> Iterable[nn.Module | nn.Parameter | None]:
        image = [model.stem, model.trunk, model.positive]
        use = self.config.TRAINER.ViFi_CLIP.USE
        if use == "image":
            return image
        return [model.positive_text] if use == "text" else [*image, model.positive_text, model.logit_scale]

    @torch.no_grad()
    def constrain(self, model: VideoCLIP) -> None:
        """The scale of the logits stays between 1 and 100, as in CLIP's training (Radford et al., arXiv 2103.00020, and
        open_clip); not in the released variant, whose training is the published one."""
        if self.config.MODEL.VARIANT != "released" and model.logit_scale.requires_grad:
            model.logit_scale.clamp_(0, math.log(100))

    def loss(self, output: ModelOutput, targets: Tensor) -> dict[str, Tensor]:
        smooth = self.config.AUG.LABEL_SMOOTH
        return {"view": F.cross_entropy(logits_of(output.positive), targets, label_smoothing=smooth)}


class NegationStage(Stage):
    """Stage 2: the negative branch learns which class a video does not deny, the text-semantic-opposite loss, and, with
    TRAIN.OUTLIER_WEIGHT, that synthetic outliers (rows without a target) are denied."""

    name = "negation"

    @property
    def best(self) -> tuple[str, ...]:
        """How well outsiders are rejected, where the evaluation has any; the published loss trains a classifier."""
        published = self.config.TRAIN.NEGATION_LOSS == "class"
        return ("negative/top1",) if published else ("ood/agreeing_to_differ/auroc", "negative/top1")

    @property
    def parts(self) -> tuple[str, ...]:
        """The positive answers too, where the loss looks at both."""
        both = self.config.TRAIN.NEGATION_LOSS == "clipn" or self.config.TRAIN.OUTLIER_WEIGHT > 0
        return ("positive", "negative") if both else ("negative",)

    @property
    def learns_outliers(self) -> bool:
        return self.config.TRAIN.OUTLIER_WEIGHT > 0

    def modules(self, model: VideoCLIP) -> Iterable[nn.Module | nn.Parameter | None]:
        negative = present(model.negative)
        # The released variant leaves the negative path's projection as random as it starts.
        projection = [] if self.config.MODEL.VARIANT == "released" else [negative.projection]
        return [negative.blocks, negative.ln_post, *projection, negative.pooling, model.negative_text]

    def loss(self, output: ModelOutput, targets: Tensor) -> dict[str, Tensor]:
        train, inside = self.config.TRAIN, targets.sum(dim=-1)
        if train.NEGATION_LOSS == "clipn":
            each = yes_no_loss(logits_of(output.positive), logits_of(output.negative), targets)
        else:
            smooth = self.config.AUG.LABEL_SMOOTH
            each = F.cross_entropy(-logits_of(output.negative), targets, label_smoothing=smooth, reduction="none")
        terms = {"negation": (each * inside).sum() / inside.sum()}
        if train.OUTLIER_WEIGHT:
            terms["outliers"] = train.OUTLIER_WEIGHT * self._outlier_loss(
                present(output.positive), present(output.negative), targets
            )
        return terms | {"opposite": train.OPPOSITE_WEIGHT * text_opposite_loss(*map(present, output.texts))}

    def _outlier_loss(self, positive: BranchOutput, negative: BranchOutput, targets: Tensor) -> Tensor:
        """Mean of `_accepted` over the outliers of the batch, and over features between two classes."""
        outside = 1 - targets.sum(dim=-1)
        loss = (self._accepted(logits_of(positive), logits_of(negative)) * outside).sum() / outside.sum().clamp(min=1)
        if "virtual" in self.config.AUG.OUTLIERS:
            between = [between_features(logits_of(branch), branch.features) for branch in (positive, negative)]
            # Only pairs of two different classes; of outliers, whose target is zero, none.
            apart = targets.sum(dim=-1) * targets.sum(dim=-1).flip(0) - (targets * targets.flip(0)).sum(dim=-1)
            loss = loss + (self._accepted(between[0], between[1]) * apart).sum() / apart.sum().clamp(min=1)
        return loss

    def _accepted(self, logits: Tensor, logits_no: Tensor) -> Tensor:
        """What it costs to accept an outlier, [B]: by yes and no, or by the score S."""
        if self.config.TRAIN.NEGATION_LOSS == "clipn":
            return yes_no_loss(logits, logits_no, torch.zeros_like(logits))
        return accepted_loss(logits, logits_no)


class QualityStage(Stage):
    """Stage 3: cross-entropy against the grade, or the score between two grades, an ordinal term, and with
    MODEL.DEFECTS a binary cross-entropy for each defect."""

    name, parts, best = "quality", ("quality",), ("quality/quadratic_kappa", "quality/accuracy")

    def modules(self, model: VideoCLIP) -> Iterable[nn.Module | nn.Parameter | None]:
        return [model.quality]

    def targets(self, labels: Tensor, scores: Tensor, defects: Tensor | None = None) -> Tensor:
        grades = self.config.DATA.NUM_QUALITIES
        by_grade = self.config.DATA.QUALITY_TARGET == "grade"
        targets = F.one_hot(labels, grades).float() if by_grade else score_targets(scores, grades)
        return targets if defects is None else torch.cat([targets, defects], dim=-1)

    def loss(self, output: ModelOutput, targets: Tensor) -> dict[str, Tensor]:
        answer = present(output.quality)
        logits, grades = answer.logits, answer.logits.shape[1]
        targets, defects = targets[:, :grades], targets[:, grades:]
        smooth, ordinal = self.config.AUG.LABEL_SMOOTH, ORDINAL_LOSSES[self.config.TRAIN.ORDINAL_LOSS]
        terms = {"quality": F.cross_entropy(logits, targets, label_smoothing=smooth)}
        terms["ordinal"] = self.config.TRAIN.ORDINAL_WEIGHT * ordinal(logits, targets)
        return terms | ({"defects": defect_loss(present(answer.defects), defects)} if defects.shape[1] else {})


def logits_of(branch: BranchOutput | None) -> Tensor:
    """Logits [B, K] of a branch that was asked for, in a model with text."""
    return present(present(branch).logits)


def text_opposite_loss(text: Tensor, text_no: Tensor) -> Tensor:
    """Mean over classes of 2 − ‖t_pos − t_neg‖ for unit features [K, D]; the 1e-4 keeps the root's slope finite."""
    cosine = (text * text_no).sum(dim=-1)
    return (2 - (2 - 2 * cosine + 1e-4).sqrt()).mean()


def yes_no_loss(logits: Tensor, logits_no: Tensor, targets: Tensor) -> Tensor:
    """CLIPN's yes or no for each class (Wang et al. 2023, arXiv 2308.12213), [B]: binary cross-entropy, summed over K.

    The probability of yes is the softmax over the pair of a class's logit and no-logit, each [B, K]; an outlier, whose
    target is zero, is a no for every class.
    """
    return F.binary_cross_entropy_with_logits(logits - logits_no, targets, reduction="none").sum(dim=-1)


def accepted_loss(logits: Tensor, logits_no: Tensor) -> Tensor:
    """−log(1 − S) of logits [B, K], [B]: the cross-entropy of the score S = Σ p_pos·(1 − p_neg) against rejection."""
    return -torch.logsumexp(logits.log_softmax(dim=-1) + logits_no.log_softmax(dim=-1), dim=-1)


def between_features(logits: Tensor, features: Tensor) -> Tensor:
    """Logits [B, K] of virtual outliers: unit features [B, D] halfway between each one and its mirror position's.

    Logits are linear in features, so those of the normalised sum are the sum of the logits over its length.
    """
    length = (features + features.flip(0)).norm(dim=-1, keepdim=True)
    return (logits + logits.flip(0)) / length.clamp(min=1e-3)


def score_targets(scores: Tensor, grades: int) -> Tensor:
    """Scores [B] in [0, 1] → probabilities [B, G] on the two nearest grades, whose expected score is that score."""
    place = scores.clamp(0, 1) * (grades - 1)
    distance = (place.unsqueeze(-1) - torch.arange(grades, device=scores.device)).abs()
    return (1 - distance).clamp(min=0)


def squared_emd(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared earth mover's distance between predicted and true grades, mean over B (Hou et al., arXiv 1611.05916)."""
    difference = logits.softmax(dim=-1).cumsum(dim=-1) - targets.cumsum(dim=-1)
    return difference.square().sum(dim=-1).mean()


def squared_score_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared difference of the expected scores of predicted and true grades, mean over B; scores are in [0, 1]."""
    centres = torch.linspace(0, 1, targets.shape[-1], device=targets.device)
    return ((logits.softmax(dim=-1) - targets) * centres).sum(dim=-1).square().mean()


def defect_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of targets [B, D] in [0, 1], mean over all; those that are not known (nan) cost nothing.

    They count in the number that is divided by, so that a clip weighs the same in whatever batch it is.
    """
    known = targets.isfinite()
    each = F.binary_cross_entropy_with_logits(logits, torch.where(known, targets, 0), reduction="none")
    return torch.where(known, each, 0).mean()


ORDINAL_LOSSES = {"emd": squared_emd, "score": squared_score_error}
STAGES: dict[str, type[Stage]] = {stage.name: stage for stage in (ViewStage, NegationStage, QualityStage)}


def build_stage(config: CfgNode) -> Stage:
    """The stage that the configuration names."""
    return STAGES[config.STAGE](config)
