"""The model card of an exported checkpoint (Mitchell et al. 2019, arXiv 1810.03993), filled in from its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from yacs.config import CfgNode

from echoviewclip.datasets.configured import evaluation_views, read_list
from echoviewclip.deploy.measure import Agreement
from echoviewclip.evaluation.pages import shown_figure, shown_interval
from echoviewclip.evaluation.summary import Summary, read_summary
from echoviewclip.evaluation.titles import headlines
from echoviewclip.inference.checkpoint import Checkpoint
from echoviewclip.inference.predictor import Predictor
from echoviewclip.utils.errors import UserError, printable, shortened
from echoviewclip.utils.files import write_text

MOST_IN_CELL = 60  # characters of a name


@dataclass(frozen=True)
class ListFacts:
    """A list of videos, as far as it is on this machine: its name, videos, patients, and classes that it shows."""

    name: str
    videos: int
    patients: int
    classes: int


@dataclass(frozen=True)
class ListEvaluation:
    """An evaluation of the checkpoint on a list, with its main figures by name and title."""

    on: str
    summary: Summary
    headlines: list[tuple[str, str]]


def write_card(
    file: Path,
    checkpoint: Checkpoint,
    predictor: Predictor,
    graphs: Mapping[str, Path],
    agreements: Mapping[str, Agreement],
) -> None:
    """Writes the card of `checkpoint` to `file` as Markdown; `graphs` and `agreements` with them are by format."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"figure": shown_figure, "interval": shown_interval, "cell": _cell}
    config = checkpoint.origin.configuration()
    card = environment.get_template("MODEL_CARD.md").render(
        version=checkpoint.origin.program or "of an earlier version",
        checkpoint=checkpoint,
        predictor=predictor,
        config=config,
        pretrained=_public_name(config.MODEL.PRETRAINED),
        views_of_video=evaluation_views(config),
        trained_on=_facts(config, config.DATA.TRAIN_FILE),
        parameters=sum(parameter.numel() for parameter in predictor.model.parameters()),
        evaluations=_evaluations(checkpoint),
        graphs=graphs,
        agreements=agreements,
    )
    write_text(file, card)


def _cell(text: str) -> str:
    """What a list says, as text of a cell of a Markdown table."""
    return printable(shortened(text, MOST_IN_CELL)).replace("|", "\\|")


def _public_name(weights: str) -> str:
    """What MODEL.PRETRAINED says without the folders of a machine."""
    return Path(weights).name if weights.endswith((".safetensors", ".pt", ".pth", ".bin")) else weights


def _facts(config: CfgNode, name: str) -> ListFacts | None:
    """What a list of the run holds; None where it is not on this machine."""
    try:
        annotations = read_list(config, name)
    except UserError:
        return None
    labels = annotations.labels
    classes = (labels > 0).any(axis=0).sum() if labels.ndim > 1 else len(np.unique(labels[labels >= 0]))
    patients = len(np.unique(annotations.patients[annotations.patients >= 0]))
    return ListFacts(Path(name).name, len(annotations), patients, int(classes))


def _evaluations(checkpoint: Checkpoint) -> list[ListEvaluation]:
    """Evaluations of these weights beside the checkpoint: the run's own, and those of `--only_test`."""
    found: list[ListEvaluation] = []
    run = checkpoint.file.parent if checkpoint.file else Path()
    for file in [*sorted(run.glob("evaluation/*/metrics.json")), run / "metrics.json"]:
        try:
            summary = read_summary(file)
        except UserError:
            continue
        if (summary.stage, summary.epoch) == (checkpoint.origin.stage, checkpoint.epoch):
            name = file.parent.name if file.parent != run else "the validation list of the training"
            found.append(ListEvaluation(name, summary, headlines(summary)))
    return found
