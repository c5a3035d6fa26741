"""Names that several modules know: stages, scores, kinds of outliers, trackers."""

from __future__ import annotations

STAGES = ("view", "negation", "quality")
NEGATION_SCORES = ("negation", "competing_to_win", "agreeing_to_differ")  # of the negative branch
SCORES = ("msp", "max_logit", "energy", *NEGATION_SCORES, "mcm")
FITTED_SCORES = ("mahalanobis", "relative_mahalanobis", "knn")  # on features of training videos
OUTLIERS = ("mixed", "shuffled", "turned", "virtual")
TRACKERS = ("tensorboard", "wandb", "mlflow")
STAGE_OF_USE = {"both": "view", "image": "view", "text": "view", "no_text": "negation", "quality": "quality"}
