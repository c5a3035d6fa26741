"""The videos of an optimiser step: as batches of each process, or as one number, from which trainers compute them."""

from __future__ import annotations

from collections.abc import Collection

from yacs.config import CfgNode

from echoviewclip.utils.errors import UserError

TOTAL, STEPS = "TRAIN.GLOBAL_BATCH", "TRAIN.ACCUMULATION_STEPS"


def settle_batches(config: CfgNode, given: Collection[str], where: str) -> None:
    """Of TRAIN.GLOBAL_BATCH and TRAIN.ACCUMULATION_STEPS the one that `given` names replaces the other.

    `given` are the keys that one file, or the command line, sets. Raises UserError where it sets both to something.
    """
    train, default = config.TRAIN, 1
    if TOTAL in given and train.GLOBAL_BATCH:
        if STEPS in given and default != train.ACCUMULATION_STEPS:
            raise UserError(
                f"{where}: {TOTAL} {train.GLOBAL_BATCH} and {STEPS} {train.ACCUMULATION_STEPS} are both given, and one "
                "follows from the other; leave one out"
            )
        train.ACCUMULATION_STEPS = default
    elif STEPS in given:
        train.GLOBAL_BATCH = 0
