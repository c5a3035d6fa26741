"""What each process does of an optimiser step, and of the machine's reading."""

from __future__ import annotations

import logging

from yacs.config import CfgNode

from echoviewclip.datasets.configured import reading_processes
from echoviewclip.utils.distributed import world
from echoviewclip.utils.errors import UserError

log = logging.getLogger(__name__)


def accumulation_steps(config: CfgNode, processes: int) -> int:
    """Batches of each of so many processes whose gradients make one optimiser step.

    Raises UserError where TRAIN.GLOBAL_BATCH is no multiple of `processes` × TRAIN.BATCH_SIZE.
    """
    train = config.TRAIN
    if not train.GLOBAL_BATCH:
        return train.ACCUMULATION_STEPS
    steps, rest = divmod(train.GLOBAL_BATCH, processes * train.BATCH_SIZE)
    if rest:
        raise UserError(
            f"TRAIN.GLOBAL_BATCH {train.GLOBAL_BATCH} is no multiple of {processes} processes × TRAIN.BATCH_SIZE "
            f"{train.BATCH_SIZE} = {processes * train.BATCH_SIZE} videos; change one of the three"
        )
    return steps


def say_shares(config: CfgNode) -> None:
    """Logs what is not as the configuration's keys alone say: reading processes, and the batches of a step.

    Raises UserError as `accumulation_steps` does, where the run trains.
    """
    if (workers := reading_processes(config)) < config.DATA.NUM_WORKERS:
        log.info(
            "DATA.NUM_WORKERS %d is above this process' share of the cores: %d reading processes, same results",
            *(config.DATA.NUM_WORKERS, workers),
        )
    if config.TRAIN.GLOBAL_BATCH and not config.TEST.ONLY_TEST:
        log.info(
            "TRAIN.GLOBAL_BATCH %d: a step is of %d %s × %d videos (TRAIN.BATCH_SIZE) × %d batches",
            *(
                config.TRAIN.GLOBAL_BATCH,
                world(),
                "process" if world() == 1 else "processes",
                config.TRAIN.BATCH_SIZE,
                accumulation_steps(config, world()),
            ),
        )
