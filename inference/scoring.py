"""From a model's answers to rows of predictions: probabilities, scores in or out of distribution, grades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.evaluation import ood
from echoviewclip.evaluation.feature_statistics import FeatureStatistics
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.inference.collect import Answers
from echoviewclip.models.outputs import present
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.errors import UserError


def to_predictions(
    answers: Answers[np.ndarray], annotations: Annotations, kind: str, defects: Sequence[str] = ()
) -> Predictions:
    """Answers and annotations of one list as rows of predictions; `kind` is in, near, far or ood.

    `defects` are the names of those that the answers are about.

    Videos of an "in" list that have neither a view nor a grade nor a score are outsiders: their set is "ood".
    """
    quality_list = answers.quality is not None and kind == "in"
    sets = np.full(len(annotations), kind, object)
    if kind == "in":
        sets[~annotations.targeted(scores=quality_list) & (annotations.views < 0)] = "ood"
    columns: dict[str, Any] = {
        "path": [annotations.name(i) for i in range(len(annotations))],
        "set": sets,
        "failed": answers.failed,
        "frames": answers.frames,
        "patient": [annotations.patient(i) for i in range(len(annotations))],
        "groups": {name: column.texts() for name, column in annotations.groups.items()},
    }
    positive, negative, quality = answers.positive, answers.negative, answers.quality
    if positive is not None and positive.logits is not None:
        columns["probabilities"] = positive.probabilities
        columns["scores"] = ood_scores(answers)
    attention = attention_of(answers)
    if attention is not None:
        columns["attention"] = attention
    if negative is not None and negative.logits is not None:
        columns["negative"] = negative.probabilities
    if quality is not None:
        columns["grade_probabilities"] = quality.probabilities
        columns["score_prediction"] = quality.score
        if quality.defects is not None:
            known = annotations.defects if annotations.defects.size else np.full_like(quality.defects, np.nan)
            columns["defects"] = dict(zip(defects, quality.defects.T, strict=True))
            columns["defect_targets"] = dict(zip(defects, known.T, strict=True))
    if quality_list:
        columns["grade"] = annotations.labels
        columns["score_target"] = annotations.scores
        columns["label"] = annotations.views
    else:
        columns["label"] = annotations.labels if kind == "in" else np.full(len(annotations), -1)
    return Predictions(**columns)


def attention_of(answers: Answers[np.ndarray]) -> np.ndarray | None:
    """The weights of the frames, float32 [N, V·T], in the branch that names the view, or else that grades."""
    positive, quality = answers.positive, answers.quality
    if positive is not None and positive.logits is not None:
        return positive.attention
    return quality.attention if quality is not None else None


def ood_scores(answers: Answers[np.ndarray]) -> dict[str, np.ndarray]:
    """Every out-of-distribution score of the answers by name, float64 [N], nan for failed videos."""
    good, positive, negative = ~answers.failed, present(answers.positive), answers.negative
    found = ood.scores(
        present(positive.logits)[good],
        present(negative.logits)[good] if negative is not None else None,
        cosines=present(positive.cosines)[good],
    )
    scores = {}
    for name, values in found.items():
        scores[name] = np.full(len(good), np.nan)
        scores[name][good] = values
    return scores | (answers.distances._asdict() if answers.distances else {})


def check_statistics(statistics: FeatureStatistics | None, model: VideoCLIP, size: int) -> None:
    """Raises UserError where a checkpoint's statistics are of other features than the model gives, on pictures of
    `size` pixels a side: those of an earlier version."""
    if statistics is None:
        return
    blank = torch.ones(1, 1, 3, size, size, device=next(model.parameters()).device)
    with torch.no_grad():
        found = sum(part.shape[1] for part in model.eval()(blank, ("positive",)).intermediates.values())
    kept = statistics.means.shape[1]
    if kept != found:
        raise UserError(
            f"the checkpoint's scores by distance look at {kept} numbers a video, this version's at {found}: "
            "train stage negation again from its checkpoint of stage view"
        )
