"""`report.html`: a run on one page that opens offline, on a phone or a desk, in the light or the dark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from markupsafe import Markup

from echoviewclip.evaluation import figures
from echoviewclip.evaluation.bootstrap import LEAST_PATIENTS
from echoviewclip.evaluation.calibration import at_temperature, reliability, risk_coverage
from echoviewclip.evaluation.classification import confusion_matrix, worst_classes
from echoviewclip.evaluation.figures import Line
from echoviewclip.evaluation.group_page import group_table
from echoviewclip.evaluation.ood import FPR95
from echoviewclip.evaluation.overlays import SCALES, Why
from echoviewclip.evaluation.pages import hide_folders, page_environment
from echoviewclip.evaluation.prediction_files import find_predictions, read_predictions
from echoviewclip.evaluation.predictions import Predictions
from echoviewclip.evaluation.quality import THERE
from echoviewclip.evaluation.summary import Summary, read_summary
from echoviewclip.evaluation.titles import figure_title, headlines, score_title
from echoviewclip.evaluation.worst import UNEXPLAINED, FramesOf, shown_name, worst_videos
from echoviewclip.utils.files import write_text
from echoviewclip.utils.progress import hours

CURVES = (  # figures followed over training, at most five of which are drawn
    "top1",
    "macro_f1",
    "near/{score}/auroc",
    "far/{score}/auroc",
    "ood/{score}/auroc",
    "quality/accuracy",
    "quality/quadratic_kappa",
    "quality/spearman",
)
SPIKE = 0.05  # of the videos: what risk does among the first few says little
BLAND_ALTMAN = {"bias": "bias", "+1.96 SD": "limit_high", "−1.96 SD": "limit_low"}


def write_report(
    folder: str | Path,
    frames: FramesOf | None = None,
    why: Mapping[str, Why] = UNEXPLAINED,
    predictions: Predictions | None = None,
) -> Path:
    """Writes `report.html` into a run folder and returns its path.

    Args:
        folder: holds metrics.json; of predictions, metrics.jsonl and config.yaml what is there is shown too.
        frames: reads the frames of the worst videos; without it they are listed without pictures.
        why: what spoke for and against the views that the model named in them, by path as in the list.
        predictions: those of the folder, where they are in memory.

    Raises:
        UserError: no readable metrics.json, damaged predictions.
    """
    folder = Path(folder)
    summary = read_summary(folder / "metrics.json")
    p = predictions
    if p is None:
        p = read_predictions(folder) if find_predictions(folder) else Predictions(path=())
    page = (
        page_environment()
        .get_template("report.html")
        .render(
            summary=summary,
            headlines=headlines(summary),
            learning=learning_curves(folder / "metrics.jsonl", summary.score),
            views=_views(p, summary),
            worst_classes=worst_classes(summary.per_class),
            outsiders=_outsiders(p, summary),
            no_outsiders=bool(p.scores) and not (p.set != "in").any(),
            scores=_score_tables(summary),
            fpr95=FPR95,
            least_patients=LEAST_PATIENTS,
            quality=_quality(p, summary),
            defects=_defects(p, summary),
            groupings=[group_table(grouping, summary) for grouping in summary.by_group],
            worst=worst_videos(p, summary, frames, why),
            scales={side: SCALES[side] for side in dict.fromkeys(side for one in why.values() for side in one.sides)},
            failed=[shown_name(path) for path in p.path[p.failed].tolist()],
            config=_config(folder / "config.yaml"),
            provenance=_provenance(summary),
        )
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def learning_curves(path: Path, score: str) -> list[tuple[str, Markup]]:
    """Loss, figures on validation videos and learning rate over steps; a last line that was cut off is passed over."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    time = "step" if lines and all("step" in line for line in lines) else "epoch"

    def curves(part: str, wanted: tuple[str, ...], first: int = 0) -> list[Line]:
        known = {name for line in lines for name in line.get(part) or {}}
        chosen = [name for name in wanted if name in known][:5]
        found: list[Line] = []
        for name in chosen:
            points = [(line.get(time, np.nan), line[part][name]) for line in lines if name in (line.get(part) or {})]
            x, y = np.array(points, float).T
            # Evaluations may be few, and one alone makes no line.
            dots = np.full(len(x), 0.01) if part == "val" and len(x) <= 30 else None
            title = {"loss": "training" if part == "train" else "validation", "lr": "learning rate"}.get(
                name, figure_title(name, score)
            )
            found.append(Line(title, x, _cut_start(y) if name == "loss" else y, colour=first + len(found), dots=dots))
        return found

    charts: list[tuple[str, list[Line], tuple[float, float] | None]] = [
        ("Loss", [*curves("train", ("loss",)), *curves("val", ("loss",), first=1)], None),
        ("Validation", curves("val", tuple(name.format(score=score) for name in CURVES)), (0, 1)),
        ("Learning rate", curves("train", ("lr",)), None),
    ]
    charts = [(title, chosen, bounds) for title, chosen, bounds in charts if chosen]
    times = np.concatenate([np.zeros(1), *(line.x for _, chosen, _ in charts for line in chosen)])
    span = (0.0, float(times.max(where=np.isfinite(times), initial=0.0)))
    return [
        (title, figures.line_chart(chosen, time, title.lower(), x_range=span, y_range=bounds))
        for title, chosen, bounds in charts
    ]


def _cut_start(losses: np.ndarray) -> np.ndarray:
    """Losses `[n]` without the first ones where they lie so far above all others that they would flatten the curve."""
    start = len(losses) // 10
    high = 2 * np.max(losses[start:], initial=-np.inf)
    return np.where((np.arange(len(losses)) < start) & (losses > high), np.nan, losses)


def _views(p: Predictions, summary: Summary) -> dict[str, Markup]:
    """Confusion matrix, reliability diagram and risk–coverage curve, where labelled videos were answered."""
    p = p.where(p.labelled)
    if not len(p):
        return {}
    classes = p.probabilities.shape[1]
    right, temperature = p.prediction == p.label, summary.temperature
    confidence = at_temperature(p.probabilities, temperature).max(axis=1)
    own = ", fitted on these videos" if summary.fitted else ""
    calibrated = [
        _calibration_line("as trained", 1, p.probability, right),
        _calibration_line(f"at temperature {temperature:.3g}{own}", 0, confidence, right),
    ]
    corner = upper_corner([np.r_[line.x, line.y] for line in calibrated])
    return {
        "confusion": figures.matrix(confusion_matrix(p.label, p.prediction, classes), _names(summary.classes, classes)),
        "reliability": figures.line_chart(
            calibrated, "confidence", "accuracy", x_range=corner, y_range=corner, diagonal=True
        ),
        "risk": _risk_chart("by confidence", confidence, right),
    }


def upper_corner(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """The range of an axis from 0 to 1, or of its upper end where all values lie there."""
    every = np.concatenate(values)
    low = np.floor(10 * np.min(every[np.isfinite(every)], initial=1.0)) / 10
    return (min(float(low), 0.9) if low >= 0.5 else 0.0), 1.0


def _risk_chart(name: str, order: np.ndarray, right: np.ndarray) -> Markup:
    """Risk over coverage, without the spike of a first video that is wrong; nothing where none is."""
    if right.all():
        return Markup("")
    x, y = risk_coverage(order, right)
    high = 1.25 * np.max(y[x >= SPIKE], initial=0.0)
    spike = (x < SPIKE) & (y > high)
    return figures.line_chart(
        [Line(name, x, np.where(spike, np.nan, y))], "share covered", "share wrong", x_range=(0, 1)
    )


def _roc_chart(curves: Sequence[Line]) -> Markup:
    """The curves, or their upper left corner where they all lie there."""
    reached = [float(line.x[line.y >= 0.99][0]) for line in curves]
    right = next(limit for limit in (0.1, 0.2, 0.5, 1.0) if max(reached) <= limit)
    x = np.linspace(0, right, 400)
    if right < 1:
        curves = [Line(one.name, x, np.interp(x, one.x, one.y), one.colour) for one in curves]
    first = [one.y[one.x == 0].max() if right == 1 else np.interp(0, one.x, one.y) for one in curves]
    bounds = upper_corner([np.array(first)]) if right < 1 else (0.0, 1.0)
    return figures.line_chart(
        curves, "outsiders accepted", "known views accepted", x_range=(0.0, right), y_range=bounds
    )


def _calibration_line(name: str, colour: int, confidence: np.ndarray, right: np.ndarray) -> Line:
    rows = reliability(confidence, right)
    x, y, count = np.array([(row["confidence"], row["accuracy"], row["count"]) for row in rows]).T
    return Line(name, x, y, colour, dots=count / len(right))


def _outsiders(p: Predictions, summary: Summary) -> dict[str, Markup]:
    """ROC, histogram and open-set risk–coverage of the score that decides, where there are outsiders."""
    score, tau = summary.score, summary.tau
    if score not in p.scores or not (p.set != "in").any():
        return {}
    from sklearn.metrics import roc_curve  # here, as importing it takes a second that a start should not wait

    p = p.where(np.isfinite(p.scores[score]))
    values, inside, name_of_score = p.scores[score], p.set == "in", score_title(score)
    titles = {"in": "known views", "near": "near outsiders", "far": "far outsiders", "ood": "other outsiders"}
    groups = {title: values[p.set == kind] for kind, title in titles.items() if (p.set == kind).any()}
    roc: list[Line] = []
    for name, outside in groups.items():
        if name == titles["in"]:
            continue
        both = np.r_[values[inside], outside]
        accepted_outside, accepted_inside, _ = roc_curve(np.arange(len(both)) < inside.sum(), both)
        roc.append(Line(name, accepted_outside, accepted_inside, colour=len(roc) + 1))
    known = p.labelled | ~inside
    right = (p.prediction == np.where(inside, p.label, -2))[known]
    return {
        "roc": _roc_chart(roc),
        "histogram": figures.histogram(groups, name_of_score, tau),
        "risk": _risk_chart(f"by {name_of_score}, an outsider covered is wrong", values[known], right),
    }


def _score_tables(summary: Summary) -> dict[str, list[str]]:
    """Names of the scores measured against each set of outsiders, best AUROC first."""
    metrics = summary.metrics
    tables = {}
    for kind in ("near", "far", "ood"):
        names = [name.split("/")[1] for name in metrics if name.startswith(f"{kind}/") and name.endswith("/auroc")]
        if names:
            tables[kind] = sorted(names, key=lambda name: -np.nan_to_num(metrics[f"{kind}/{name}/auroc"]))
    return tables


def _quality(p: Predictions, summary: Summary) -> dict[str, Markup]:
    """Confusion of grades and Bland–Altman plot, where quality was graded."""
    p = p.where(p.graded)
    if not len(p):
        return {}
    count = p.grade_probabilities.shape[1]
    levels = {name: summary.metrics[f"quality/{key}"] for name, key in BLAND_ALTMAN.items()}
    mean, difference = (p.score_prediction + p.target) / 2, p.score_prediction - p.target
    return {
        "confusion": figures.matrix(
            confusion_matrix(p.target_grade, p.grade_prediction, count), _names(summary.grades, count)
        ),
        "agreement": figures.scatter(mean, difference, "mean of score and target", "score − target", levels),
    }


def _defects(p: Predictions, summary: Summary) -> list[tuple[str, int, str]]:
    """Of each defect of quality its name, in how many videos it is there, and what begins the names of its figures."""
    rows = []
    for name in (key.split("/")[1] for key in summary.metrics if key.startswith("defect/") and key.endswith("/auroc")):
        there = int((p.defect_targets.get(name, np.empty(0)) > THERE).sum())
        rows.append((name.replace("_", " "), there, f"defect/{name}"))
    return rows


def _provenance(summary: Summary) -> list[tuple[str, str]]:
    """What the page says of how the evaluation came about, without folders."""
    found = summary.provenance
    if found is None:
        return []
    command = " ".join(str(hide_folders(word)) for word in found.words)
    rows = [("Date", found.date.replace("T", " ")), ("Program", f"EchoViewCLIP {found.version}"), ("Command", command)]
    rows.append(("Time taken", hours(found.seconds)))
    files = [(Path(file).name, f"SHA-256 {digest}" if digest else "has gone") for file, digest in found.files.items()]
    return [*rows, *files]


def _config(path: Path) -> str:
    """The configuration as text, without folders."""
    if not path.is_file():
        return ""
    try:
        return yaml.safe_dump(hide_folders(yaml.safe_load(path.read_text(encoding="utf-8"))), sort_keys=False)
    except yaml.YAMLError as error:
        return f"config.yaml cannot be read: {error}"


def _names(names: list[str], count: int) -> list[str]:
    return [*names, *(f"class {k}" for k in range(len(names), count))][:count]
