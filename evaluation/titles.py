"""What pages call figures and scores, in place of their keys."""

from __future__ import annotations

from echoviewclip.evaluation.summary import Summary

HEADLINES = (  # figure (with the score's name filled in), what the page calls it; those a run has are shown
    ("top1", "Top-1 accuracy"),
    ("macro_f1", "Macro F1"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("top5", "Top-5 accuracy"),
    ("ece", "Calibration error"),
    ("aurc", "Risk–coverage area"),
    ("near/{score}/auroc", "AUROC, near outsiders"),
    ("far/{score}/auroc", "AUROC, far outsiders"),
    ("ood/{score}/auroc", "AUROC, all outsiders"),
    ("ood/{score}/fpr95", "FPR at 95 % TPR"),
    ("joint_accuracy", "Joint accuracy"),
    ("accepted", "Known views accepted"),
    ("rejected", "Outsiders rejected"),
    ("quality/accuracy", "Quality accuracy"),
    ("quality/quadratic_kappa", "Quality kappa"),
    ("quality/spearman", "Quality Spearman"),
    ("quality/mae", "Quality MAE"),
)
SCORES = {  # as TEST.SCORE names them
    "msp": "Highest probability",
    "max_logit": "Highest logit",
    "energy": "Energy",
    "mcm": "Highest softmax of cosines",
    "negation": "S of both branches",
    "competing_to_win": "Competing to win",
    "agreeing_to_differ": "Agreeing to differ",
    "mahalanobis": "Mahalanobis distance",
    "relative_mahalanobis": "Relative Mahalanobis distance",
    "knn": "Distance to nearest neighbours",
}


def headlines(summary: Summary) -> list[tuple[str, str]]:
    """Names and titles of the main figures that a run has and that are defined."""
    named = ((name.format(score=summary.score), title) for name, title in HEADLINES)
    return [(name, title) for name, title in named if name in summary.defined]


def figure_title(name: str, score: str) -> str:
    """What a figure is called where `score` decides; its name where no page calls it otherwise."""
    return next((title for key, title in HEADLINES if key.format(score=score) == name), name)


def score_title(name: str) -> str:
    """What a score is called."""
    return SCORES.get(name, name.replace("_", " "))
