"""What every field of a checkpoint may hold: one place that looks, before anything is done with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from echoviewclip.utils.config import config_from_text
from echoviewclip.utils.config.choices import FITTED_SCORES, SCORES, STAGES
from echoviewclip.utils.config.schema import KEYS
from echoviewclip.utils.errors import UserError

Check = Callable[[Any], bool]

# Sides of the arrays of `statistics` (evaluation.feature_statistics.FeatureStatistics) by one letter each.
STATISTICS = {
    "means": "CD",
    "whitening": "DD",
    "background_mean": "D",
    "background_whitening": "DD",
    "bank": "MD",
    "neighbour": "",
}


def fault(content: dict[str, Any]) -> str | None:
    """What is wrong with a checkpoint's first wrong field, in words; None where nothing is."""
    for name, (what, right) in FIELDS.items():
        if name not in content and name not in OPTIONAL:
            return f"it lacks `{name}`"
        if name in content and not right(content[name]):
            return f"`{name}` is not {what}"
    return bad_weights(content["model"]) or _disagreement(content)


def bad_weights(weights: dict[str, Tensor]) -> str | None:
    """Says which weights are not finite numbers, None where all are."""
    bad = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    more = f" and {len(bad) - 3} more" if bad[3:] else ""
    return f"weights are not finite: {', '.join(bad[:3])}{more}" if bad else None


def _disagreement(content: dict[str, Any]) -> str | None:
    """What says something else than the configuration does."""
    try:
        config = config_from_text(content["config"])
    except UserError as error:
        return str(error)
    counts = {"views": config.DATA.NUM_CLASSES, "grades": config.DATA.NUM_QUALITIES}
    for name, count in counts.items():
        if len(content[name]) != count:
            return f"`{name}` are {len(content[name])}, but its configuration says {count}"
    for name, said in (("stage", config.STAGE), ("variant", config.MODEL.VARIANT)):
        if content[name] != said:
            return f"`{name}` is {content[name]}, but its configuration says {said}"
    return None


def _whole(least: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**53


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_complex() or value.is_meta)


def is_weights(value: Any) -> bool:
    """Whether it is a dict of dense tensors by name."""
    return isinstance(value, dict) and all(isinstance(name, str) and _is_tensor(value[name]) for name in value)


def _figures(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) and _number(value[name]) for name in value)


def _has(fields: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    """A dict with all of `fields`, and any of `optional`, as each wants it; further ones are let through."""
    every = fields | (optional or {})
    return lambda value: (
        isinstance(value, dict)
        and fields.keys() <= value.keys()
        and all(right(value[name]) for name, right in every.items() if name in value)
    )


def _calibration(value: Any) -> bool:
    """Nothing, or a temperature, with or without a threshold on a score and the values that it was found on."""
    limits = {
        "temperature": lambda t: _number(t) and 0 < t < math.inf,
        "score": lambda name: name in SCORES + FITTED_SCORES,
        "tau": lambda tau: _number(tau) and math.isfinite(tau),
        "accept_rate": lambda rate: _number(rate) and 0 <= rate <= 1,
        "videos": _whole(1),
        "views": lambda views: isinstance(views, list) and len(views) == 2 and all(map(_whole(1), views)),
        "scores": lambda scores: is_weights(scores) and not bad_weights(scores),
    }
    return _has({}, limits)(value) and ("score" in value) == ("tau" in value)


def _statistics(value: Any) -> bool:
    """Nothing, or finite arrays whose sides agree."""
    if value == {}:
        return True
    if not is_weights(value) or value.keys() != STATISTICS.keys() or bad_weights(value):
        return False
    sides: dict[str, int] = {}
    for name, letters in STATISTICS.items():
        shape = value[name].shape
        if len(shape) != len(letters) or any(sides.setdefault(s, n) != n for s, n in zip(letters, shape, strict=True)):
            return False
    return not value["neighbour"].is_floating_point() and 1 <= int(value["neighbour"]) <= sides["M"]


def _tokens(value: Any) -> bool:
    """Nothing, or ids and as many embeddings."""
    if value == {}:
        return True
    if not is_weights(value) or value.keys() != {"ids", "embeddings"} or bad_weights(value):
        return False
    ids, embeddings = value["ids"], value["embeddings"]
    shapes = ids.ndim == 1 and embeddings.ndim == 2 and len(ids) == len(embeddings) > 0
    return shapes and ids.dtype == torch.int64 and embeddings.is_floating_point() and int(ids.min()) >= 0


def _preparation(value: Any) -> bool:
    """Nothing, or what decides the pixels of prepared videos (datasets.intake.preparation.Preparation)."""
    numbers = {"size": _whole(1), "jpeg_quality": _whole(1), "version": _whole(0)}
    return value == {} or _has(numbers | {"crop": lambda crop: isinstance(crop, bool)})(value)


def _optimiser(value: Any) -> bool:
    """The state of a torch optimiser: numbered parameters in groups, and tensors for each number."""
    group = _has({"params": lambda numbers: isinstance(numbers, list) and all(map(_whole(0), numbers)), "lr": _number})
    if not _has({"state": lambda s: isinstance(s, dict), "param_groups": lambda g: isinstance(g, list)})(value):
        return False
    states = value["state"]
    return all(map(group, value["param_groups"])) and all(_whole(0)(n) and _moments(states[n]) for n in states)


def _moments(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_tensor(part) or _number(part) for part in value.values())


TRAINING = {"epoch": _whole(0), "batch": _whole(0), "batches": _whole(1), "step": _whole(0), "best": _number}
TRAINING |= {"optimiser": _optimiser, "scaler": _figures}
LATER_TRAINING = {  # absent in checkpoints of earlier versions, or without a moving average
    "figure": lambda name: isinstance(name, str),
    "best_epoch": _whole(-1),
    "weights": lambda value: is_weights(value) and not bad_weights(value),
    "average_steps": _whole(0),
    "bad_steps": lambda value: isinstance(value, tuple | list) and len(value) == 2 and all(map(_whole(0), value)),
    "bad_videos": lambda value: isinstance(value, dict) and all(isinstance(w, str) for p in value.items() for w in p),
    "shown": _has({}, {"sums": is_weights, "count": _whole(0), "norm": lambda n: n is None or _is_tensor(n)}),
    "lines": lambda value: value is None or _whole(0)(value),
}
FIELDS: dict[str, tuple[str, Check]] = {
    "model": ("a dict of tensors", is_weights),
    "stage": ("a stage", lambda value: value in STAGES),
    "variant": ("a variant", lambda value: value in KEYS["MODEL.VARIANT"].choices),
    "config": ("the text of a configuration", lambda value: isinstance(value, str)),
    "program": ("a version", lambda value: isinstance(value, str)),
    "views": ("a list of names", _names),
    "grades": ("a list of names", _names),
    "epoch": ("the number of an epoch", _whole(-1)),
    "calibration": ("a score with its threshold, and a temperature", _calibration),
    "statistics": ("statistics of features", _statistics),
    "metrics": ("a dict of figures", _figures),
    "training": ("the state of a training", lambda value: value == {} or _has(TRAINING, LATER_TRAINING)(value)),
    "tokens": ("rows of a token table", _tokens),
    "preparation": ("how the training videos were prepared", _preparation),
}
OPTIONAL = ("tokens", "preparation", "training", "program")  # absent in files of earlier versions; in exported ones
