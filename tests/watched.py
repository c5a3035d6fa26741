"""`main.py` as one of several processes, watched: keeps the models that each process evaluates.

With `BAD_STEPS` (numbers of optimiser steps, separated by commas) the loss of the second process is nan there.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from echoviewclip.main import main
from echoviewclip.trainers import loop
from echoviewclip.trainers.evaluate import Evaluator
from echoviewclip.trainers.guard import poisoned
from echoviewclip.utils.distributed import rank
from echoviewclip.utils.errors import exit_code

BAD = [int(step) for step in os.environ.get("BAD_STEPS", "").split(",") if step]


def watch() -> None:
    """Puts the hooks in place."""
    evaluate, gradients = Evaluator.__call__, loop.Trainer._gradients

    def kept(self, model, epoch, intervals=False):
        torch.save(model.state_dict(), Path(self.config.OUTPUT) / f"evaluated_{epoch}_{rank()}.pt")
        return evaluate(self, model, epoch, intervals)

    def bad(self, batch, synchronise):
        broken = self.step in BAD and rank() == 1
        loop.poisoned = lambda loss: poisoned(loss * math.nan if broken else loss)
        return gradients(self, batch, synchronise)

    Evaluator.__call__, loop.Trainer._gradients = kept, bad


if __name__ == "__main__":
    watch()
    raise SystemExit(exit_code(main))
