"""The last four lines of a training's log: the checkpoint, its figures, the time that it took, and what comes next."""

from __future__ import annotations

import logging
from pathlib import Path

from yacs.config import CfgNode

from echoviewclip.evaluation.summary import Summary
from echoviewclip.evaluation.titles import headlines
from echoviewclip.trainers.next_step import Call, next_command, trained_checkpoint
from echoviewclip.trainers.saving import RunFiles
from echoviewclip.utils.progress import hours

log = logging.getLogger(__name__)

MOST = 4  # figures that fit a line


def say_what_is_there(config: CfgNode, files: RunFiles, last: Summary, seconds: float, call: Call | None) -> None:
    """Logs the four lines after a training whose `last` evaluation this is; three where `call` is not known."""
    checkpoint = trained_checkpoint(config)
    best = f": {files.figure} {files.best:.4f} after epoch {files.best_epoch + 1}" if files.best_epoch >= 0 else ""
    log.info("checkpoint  %s%s", checkpoint, best)
    own = sorted(
        headlines(last), key=lambda headline: headline[0].startswith("quality/") != (config.STAGE == "quality")
    )
    shown = [f"{title} {last.metrics[name]:.3f}" for name, title in own[:MOST]]
    log.info("figures     after the last epoch: %s; %s", ", ".join(shown), Path(config.OUTPUT) / "report.html")
    log.info("time taken  %s", hours(seconds))
    command = next_command(config, call) if call else ""
    if command:
        log.info("next        %s", command)
