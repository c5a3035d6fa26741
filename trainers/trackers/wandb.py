"""Weights & Biases, offline unless WANDB_MODE says otherwise: `wandb sync OUTPUT/wandb/latest-run` sends it later."""

from __future__ import annotations

import os
import secrets
from typing import Any

import wandb

from echoviewclip.trainers.trackers.tracker import Line, Run

NAME = "wandb"
# Of what the library would take along by itself: output, code, command line, user, machine, packages, load.
NOTHING_ELSE = {
    "console": "off",
    "silent": True,
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "host": "",
    "program": "",
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


class Wandb:
    """A run of Weights & Biases.

    Its own counter of steps counts the lines of metrics.jsonl, so that each has one place whatever is repeated; curves
    are drawn over the optimiser step. Offline, each start of the program leaves a folder with all lines from the first.
    """

    def __init__(self, run: Run) -> None:
        """Begins the run or goes on with it. Raises what the library raises."""
        name = run.known_as(NAME)
        if name is None:
            name = secrets.token_hex(4)
            run.keep_id(NAME, name)
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=run.project,
            dir=str(run.folder),
            id=name,
            name=run.name,
            resume="allow",
            mode=mode,
            config=dict(run.settings),
            settings=wandb.Settings(**NOTHING_ELSE),
            allow_val_change=True,  # settings that a resume changes
        )
        self._run.define_metric("*", step_metric="step")
        self.lines = self._run.step
        later = f"; `wandb sync {run.folder / 'wandb' / 'latest-run'}` sends it" if self._run.offline else ""
        self.place = f"run {name} of project {run.project}{later}"

    def tell(self, line: Line) -> None:
        """Hands the numbers to the library's process."""
        self._run.log({"step": line.step, **line.values}, step=line.number)

    def close(self, finished: bool) -> None:
        """Waits until the lines are on the disk or sent."""
        self._run.finish(exit_code=0 if finished else 1)
