"""`index.html` of an experiment: the figures of all stages and the way to every report, on one offline page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from markupsafe import Markup

from echoviewclip.evaluation import report
from echoviewclip.evaluation.pages import page_environment
from echoviewclip.evaluation.summary import Summary, read_summary
from echoviewclip.experiment.folds import Fold
from echoviewclip.experiment.stage_files import read_head
from echoviewclip.experiment.steps import Step, stage_files
from echoviewclip.utils.config import load_config
from echoviewclip.utils.config.choices import STAGES
from echoviewclip.utils.files import write_text

QUESTIONS = {"view": "Which view is it?", "negation": "Is it one of them at all?", "quality": "Is it good enough?"}
MAIN = {  # figure of a stage that its card shows, the first that there is
    "view": ("top1",),
    "negation": ("near/{score}/auroc", "ood/{score}/auroc", "accepted", "top1"),
    "quality": ("quality/quadratic_kappa", "quality/spearman", "quality/accuracy"),
}
FILES = {"log.txt": "log", "config.yaml": "configuration"}
TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class StageCard:
    """A stage as the page shows it; without a summary it is not finished."""

    stage: str
    number: int
    question: str
    judged: str = ""  # the list that the figures are of
    summary: Summary | None = None
    main: tuple[str, str] | None = None  # name and title of the figure on its card
    headlines: list[tuple[str, str]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)  # title and address
    learning: list[tuple[str, Markup]] = field(default_factory=list)
    progress: str = ""


@dataclass
class FoldTable:
    """Figures of one stage over the folds: title, mean, least, most, and the value of each fold."""

    stage: str
    links: list[tuple[str, str]]
    rows: list[tuple[str, float, float, float, list[float]]]


def write_page(folder: Path, output: Path, steps: Sequence[Step], folds: Sequence[Fold]) -> Path:
    """Writes `output/index.html` about the experiment that the files in `folder` describe; returns it."""
    files = stage_files(folder)
    stages = [_make_card(stage, [step for step in steps if step.stage == stage], output) for stage in files]
    last = next((stage for stage in reversed(stages) if stage.summary), None)
    page = (
        page_environment(TEMPLATES)
        .get_template("experiment.html")
        .render(
            name=load_config(files["view"]).DATA.DATASET,
            facts=read_head(files["view"]),
            stages=stages,
            folds=[table for stage in files if (table := _over_folds(stage, folds))],
            checkpoint=output / last.stage / "best.pth" if last else None,
            absent=[stage for stage in STAGES if stage not in files],
        )
    )
    path = output / "index.html"
    write_text(path, page)
    return path


def _make_card(stage: str, steps: Sequence[Step], output: Path) -> StageCard:
    card = StageCard(stage, STAGES.index(stage) + 1, QUESTIONS[stage])
    for step in steps:
        finished = (step.folder / "metrics.json").is_file()
        if step.trains:
            card.progress = _progress(step)
            if finished:
                card.links.append(("report of the training", _link(step, "report.html", output)))
                card.links += [(title, _link(step, file, output)) for file, title in FILES.items()]
        elif finished:
            card.summary = read_summary(step.folder / "metrics.json")
            card.headlines = report.headlines(card.summary)
            card.main = _main(card, card.summary.score)
            card.judged = step.judged
            card.links.insert(0, (f"report of the {card.judged} videos", _link(step, "report.html", output)))
    score = card.summary.score if card.summary else ""
    charts = report.learning_curves(output / stage / "metrics.jsonl", score)
    card.learning = [(title, chart) for title, chart in charts if title in ("Loss", "Validation")]
    return card


def _link(step: Step, file: str, output: Path) -> str:
    return Path(os.path.relpath(step.folder / file, output)).as_posix()


def _main(card: StageCard, score: str) -> tuple[str, str] | None:
    titles = dict(card.headlines)
    names = (name.format(score=score) for name in MAIN[card.stage])
    return next(((name, titles[name]) for name in names if name in titles), None)


def _progress(step: Step) -> str:
    """How far a training is; empty where nothing tells."""
    file = step.folder / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for line in reversed(lines):
        try:
            return f"epoch {json.loads(line)['epoch'] + 1} of {step.config().TRAIN.EPOCHS}"
        except (ValueError, KeyError, TypeError):
            continue
    return ""


def _over_folds(stage: str, folds: Sequence[Fold]) -> FoldTable | None:
    """Figures of the folds that are finished."""
    done = [fold for fold in folds if (fold.folder / stage / "metrics.json").is_file()]
    summaries = [read_summary(fold.folder / stage / "metrics.json") for fold in done]
    if not summaries:
        return None
    rows = []
    for name, title in report.headlines(summaries[0]):
        values = [summary.defined[name] for summary in summaries if name in summary.defined]
        if len(values) == len(summaries):
            rows.append((title, float(np.mean(values)), min(values), max(values), values))
    links = [(f"fold {fold.number}", f"{fold.folder.name}/{stage}/report.html") for fold in done]
    return FoldTable(stage, links, rows)
