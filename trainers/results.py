"""What a run leaves of its last evaluation: predictions, metrics.json, report.html, and the figures in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from yacs.config import CfgNode

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.dataset import frames_from
from echoviewclip.evaluation.groups import in_words
from echoviewclip.evaluation.overlays import Why
from echoviewclip.evaluation.prediction_files import save_predictions
from echoviewclip.evaluation.report import write_report
from echoviewclip.evaluation.summary import write_metrics
from echoviewclip.trainers.evaluate import Evaluation
from echoviewclip.utils.distributed import barrier, is_main

log = logging.getLogger(__name__)


def write_results(
    folder: Path, evaluation: Evaluation, lists: Sequence[Annotations], config: CfgNode, why: Mapping[str, Why]
) -> None:
    """Writes predictions, metrics.json and report.html, and says the main figures and where everything is."""
    if is_main():
        save_predictions(folder, evaluation.predictions, config.TEST.PARQUET_ABOVE)
        write_metrics(folder / "metrics.json", evaluation.summary)
        write_report(folder, frames_from(lists, config.DATA.DECODER), why, evaluation.predictions)
        fitted = evaluation.summary.fitted or ()
        for name, value in evaluation.metrics.items():
            interval = evaluation.summary.intervals.get(name)
            around = f"  [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
            log.info("%-34s %.4f%s%s", name, value, around, "  (fitted on these videos)" if name in fitted else "")
        for grouping in evaluation.summary.by_group:
            log.info("%s", in_words(grouping))
        if fitted:
            log.warning(
                "temperature and τ were fitted on these very videos, so %s flatter themselves", ", ".join(fitted)
            )
        log.info("results: %s", folder.resolve() / "report.html")
    barrier()
