"""Trains or evaluates one stage: `main.py -cfg FILE [--output DIR] [--resume CKPT] [--only_test] [--opts KEY VALUE …]`.

Alone on one device, or under torchrun on many.
"""

from __future__ import annotations

import argparse

from trainers.session import run
from utils.config import load_config
from utils.distributed import processes
from utils.errors import UserError, exit_code


def parse() -> tuple[str, list[tuple[str, object]]]:
    """The configuration file, and the settings that the command line changes in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-cfg", "--cfg", required=True, metavar="FILE", help="yaml file (configs/)")
    parser.add_argument("--output", metavar="DIR", help="OUTPUT: folder of the run")
    parser.add_argument("--resume", metavar="CKPT", help="MODEL.RESUME: continue, grow from, or evaluate")
    parser.add_argument(
        "--pretrained", metavar="WEIGHTS", help="MODEL.PRETRAINED: openai, a tag, hf-hub:NAME or a file"
    )
    parser.add_argument("--only_test", "--only-test", action="store_true", help="TEST.ONLY_TEST: evaluate --resume")
    parser.add_argument("--batch-size", type=int, metavar="N", help="TRAIN.BATCH_SIZE: videos a process and batch")
    parser.add_argument("--accumulation-steps", type=int, metavar="N", help="TRAIN.ACCUMULATION_STEPS")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="any settings, in pairs")
    given = parser.parse_args()
    if len(given.opts) % 2:
        raise UserError(f"--opts takes pairs of KEY VALUE; {given.opts[-1]!r} stands alone")
    named = {
        "OUTPUT": given.output,
        "MODEL.RESUME": given.resume,
        "MODEL.PRETRAINED": given.pretrained,
        "TEST.ONLY_TEST": given.only_test or None,
        "TRAIN.BATCH_SIZE": given.batch_size,
        "TRAIN.ACCUMULATION_STEPS": given.accumulation_steps,
    }
    pairs = list(zip(given.opts[::2], given.opts[1::2], strict=True))
    return given.cfg, pairs + [(key, value) for key, value in named.items() if value is not None]


def main() -> None:
    """Configures and runs."""
    file, changes = parse()
    config = load_config(file, changes)
    with processes(config.DEVICE) as device:
        run(config, device)


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
