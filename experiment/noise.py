"""Labels that a cross-validated model contradicts: confident learning (Northcutt et al., JAIR 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from yacs.config import CfgNode

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.evaluation.prediction_files import find_predictions, read_predictions
from echoviewclip.experiment.folds import found_folds
from echoviewclip.inference.collect import collect
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.predictor import load_predictor
from echoviewclip.models.outputs import present
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.trainers.data import evaluation_set, read_list
from echoviewclip.utils.errors import UserError

PROBE = "a cross-validated linear probe of its features"
PARTS = 5  # of the cross-validation of the probe
REGULARISATION = 0.1  # of the probe, inverse: weak probes do not learn wrong labels by heart


@dataclass(frozen=True)
class Judged:
    """The training videos of a run, judged by models that did not see them.

    Attributes:
        config: of the run.
        videos: the training list.
        views: names by label.
        probabilities: float [N, K]; nan where a video was not judged.
        how: by what, for the page.
    """

    config: CfgNode
    videos: Annotations
    views: list[str]
    probabilities: np.ndarray
    how: str


def judge(run: Path) -> Judged:
    """Judges the training videos of a run of stage view: by its folds where they were run, else by a linear probe.

    Raises UserError where the run is none of stage view, or its data are gone.
    """
    checkpoint = next((run / name for name in ("best.pth", "last.pth") if (run / name).is_file()), None)
    if checkpoint is None:
        raise UserError(f"{run}: holds no best.pth or last.pth; RUN is the output folder of stage view")
    predictor = load_predictor(checkpoint)
    config = predictor.config
    if config.STAGE != "view":
        raise UserError(f"{run}: is a run of stage {config.STAGE}; name that of stage view")
    videos = read_list(config, config.DATA.TRAIN_FILE, "DATA.TRAIN_FILE")
    folds = [fold.folder / "view" for fold in found_folds(run.parent)]
    if folds and all(map(find_predictions, folds)):
        probabilities = _of_folds(folds, videos, len(predictor.views))
        return Judged(config, videos, list(predictor.views), probabilities, f"models of {len(folds)} folds")
    features = _features(config, predictor.model, videos)
    probabilities = probe(features, videos.labels, _groups(videos), len(predictor.views))
    return Judged(
        config, videos, list(predictor.views), probabilities, "a cross-validated linear probe of its features"
    )


def _of_folds(folds: list[Path], videos: Annotations, classes: int) -> np.ndarray:
    """What the models of the folds say of the videos that they held out."""
    of_name: dict[str, np.ndarray] = {}
    for fold in folds:
        p = read_predictions(fold)
        of_name |= {str(name): row for name, row in zip(p.path, p.probabilities, strict=True)}
    unknown = np.full(classes, np.nan)
    return np.stack([of_name.get(videos.name(i), unknown) for i in range(len(videos))])


def _features(config: CfgNode, model: VideoCLIP, videos: Annotations) -> np.ndarray:
    """float32 [N, D] of the positive branch; nan where a video cannot be read."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = evaluation_set(config, "train", videos).loader
    precision = Precision(config.TRAIN.OPT_LEVEL, model.to(device), device, trains=False)
    answers, *_ = collect(model, loader, DeviceTransform(train=False), precision, "features", features=True)
    return present(present(answers.positive).features)


def _groups(videos: Annotations) -> np.ndarray:
    """A number for each patient; videos of unknown patients have their own."""
    own = np.arange(len(videos)) + videos.patients.max(initial=-1) + 1
    return np.where(videos.patients >= 0, videos.patients, own)


def probe(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities float [N, K] of a linear probe of `features` [N, D], each by one that did not see its group [N].

    nan for videos without features or label. Raises UserError where there is one group alone.
    """
    found = np.full((len(labels), classes), np.nan)
    known = np.flatnonzero(np.isfinite(features).all(1) & (labels >= 0))
    parts = min(PARTS, len(np.unique(groups[known])))
    if parts < 2:
        raise UserError("labels cannot be checked with the videos of one patient alone")
    for learned, judged in GroupKFold(parts).split(known, groups=groups[known]):
        learned, judged = known[learned], known[judged]
        seen = np.unique(labels[learned])
        found[judged] = 0
        if len(seen) == 1:
            found[np.ix_(judged, seen)] = 1
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000))
        model.fit(features[learned], labels[learned])
        found[np.ix_(judged, model[-1].classes_)] = model.predict_proba(features[judged])
    return found


def contradicted(probabilities: np.ndarray, labels: np.ndarray) -> list[tuple[int, int]]:
    """Videos whose label is contradicted and the class that is confident instead, the most confident first.

    A class is confident of a video whose probability [N, K] reaches the mean of those that are labelled so. A video is
    contradicted where the likeliest of these classes is not its own (off the diagonal of the confident joint); they are
    ranked by the probability of that class minus that of their own.
    """
    known = np.flatnonzero(np.isfinite(probabilities).all(1) & (labels >= 0))
    p, y = probabilities[known], labels[known]
    classes = p.shape[1]
    thresholds = np.array([p[y == k, k].mean() if (y == k).any() else np.inf for k in range(classes)])
    confident = p >= thresholds
    best = np.where(confident, p, -1).argmax(1)
    own = p[np.arange(len(y)), y]
    wrong = confident.any(1) & (best != y)
    margin = p[np.arange(len(y)), best] - own
    order = sorted(np.flatnonzero(wrong), key=lambda i: -margin[i])
    return [(int(known[i]), int(best[i])) for i in order]
