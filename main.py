"""Trains or evaluates one stage: `main.py -cfg FILE [--output DIR] [--resume CKPT] [--only_test] [--opts KEY VALUE …]`.

With --only_test what neither FILE nor the command line sets is as in the checkpoint's own configuration; FILE may be
left out. Alone on one device, or on many under the train scripts, torchrun, MPI or srun.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # started as a file; other packages have the names of the folders beside it, too
    sys.path[0] = str(Path(__file__).resolve().parent / "src")

if __name__ == "__main__":  # before anything that takes time is imported
    from echoviewclip.utils.huge_pages import start_with_huge_pages

    start_with_huge_pages()

from yacs.config import CfgNode

from echoviewclip.utils.config import evaluated_checkpoint, given_keys, load_config, unknown_option
from echoviewclip.utils.errors import UserError, exit_code

if TYPE_CHECKING:
    from echoviewclip.inference.checkpoint import AnyCheckpoint

# What computes is imported where it is needed: neither --help nor a mistake in the command line waits for it.

Changes = Sequence[tuple[str, Any]]


def parse() -> argparse.Namespace:
    """The command line; `changes` are the settings that it changes in the configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-cfg", "--cfg", metavar="FILE", help="yaml file (configs/); with --only_test the checkpoint's own serves"
    )
    parser.add_argument(
        "--default-cfg",
        metavar="FILE",
        help="yaml file that serves where neither -cfg nor an evaluated checkpoint does",
    )
    parser.add_argument("--output", metavar="DIR", help="OUTPUT: folder of the run")
    parser.add_argument("--overwrite", action="store_true", help="remove the run that --output holds, and begin anew")
    parser.add_argument("--resume", metavar="CKPT", help="MODEL.RESUME: continue, grow from, or evaluate")
    parser.add_argument(
        "--pretrained", metavar="WEIGHTS", help="MODEL.PRETRAINED: openai, a tag, hf-hub:NAME or a file"
    )
    parser.add_argument("--only_test", "--only-test", action="store_true", help="TEST.ONLY_TEST: evaluate --resume")
    parser.add_argument(
        "--explain", action="store_true", help="TEST.EXPLAIN: show in the report what spoke for and against a view"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="TRAIN.BATCH_SIZE: videos a process and batch")
    parser.add_argument("--accumulation-steps", type=int, metavar="N", help="TRAIN.ACCUMULATION_STEPS")
    parser.add_argument("--no-next", action="store_true", help="do not name the command that comes after a training")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="any settings, in pairs")
    given, unknown = parser.parse_known_args()
    if unknown:
        raise UserError(unknown_option(unknown))
    if not (given.cfg or given.default_cfg or given.only_test):
        parser.error("the following arguments are required: -cfg/--cfg")
    if len(given.opts) % 2:
        raise UserError(f"--opts takes pairs of KEY VALUE; {given.opts[-1]!r} stands alone")
    if given.explain and not given.only_test:
        raise UserError("--explain shows why a checkpoint decided as it did: evaluate one, --only_test --resume CKPT")
    named = {
        "OUTPUT": given.output,
        "MODEL.RESUME": given.resume,
        "MODEL.PRETRAINED": given.pretrained,
        "TEST.ONLY_TEST": given.only_test or None,
        "TEST.EXPLAIN": given.explain or None,
        "TRAIN.BATCH_SIZE": given.batch_size,
        "TRAIN.ACCUMULATION_STEPS": given.accumulation_steps,
    }
    pairs = list(zip(given.opts[::2], given.opts[1::2], strict=True))
    given.changes = pairs + [(key, value) for key, value in named.items() if value is not None]
    return given


def configure(file: str | None, default: str | None, changes: Changes) -> tuple[CfgNode, AnyCheckpoint | None]:
    """The configuration, and the checkpoint that it evaluates; None where it trains. Raises UserError.

    `default` is the yaml file for where neither `file` nor the checkpoint says.
    """
    from echoviewclip.inference.checkpoint import Checkpoint, read_file
    from echoviewclip.inference.resume import configuration_for
    from echoviewclip.trainers.session import NO_CHECKPOINT

    evaluated = evaluated_checkpoint(file, changes)
    if not evaluated:
        if not (file or default):
            raise UserError(NO_CHECKPOINT)
        return load_config(file or default, changes), None
    checkpoint = read_file(evaluated)
    file = file or (None if isinstance(checkpoint, Checkpoint) else default)
    return configuration_for(checkpoint, file, changes), checkpoint


def main() -> None:
    """Configures and runs."""
    given = parse()
    config, checkpoint = configure(given.cfg, given.default_cfg, given.changes)
    set_by_user = given_keys(given.cfg or given.default_cfg, given.changes) if checkpoint is None else ()

    from echoviewclip.datasets.reading import end_readers
    from echoviewclip.trainers.next_step import Call
    from echoviewclip.trainers.session import run
    from echoviewclip.utils.distributed import processes

    try:
        with processes(config.DEVICE, config.TRAIN.TIMEOUT) as device:
            file = given.cfg or given.default_cfg
            call = Call(file, given.changes) if file and not given.no_next else None
            # Processes that begin again, since another machine was lost, do not remove what they have saved.
            overwrite = given.overwrite and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
            run(config, device, checkpoint, overwrite, set_by_user, call)
    finally:
        end_readers()


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
