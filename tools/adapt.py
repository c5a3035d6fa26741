"""Turns a public data set into lists that train: python tools/adapt.py NAME SRC DST.

NAME is one of those that --help shows, SRC the folder as its authors publish it. DST gets annotations.csv, train.csv,
val.csv and test.csv. Exit code 1 if videos that the set's tables name are not there. See docs/data.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.datasets.intake.adapters import ADAPTERS, adapt
from echoviewclip.utils.errors import exit_code

FILES = (("DATA.TRAIN_FILE", "train"), ("DATA.VAL_FILE", "val"))


def main() -> int:
    """Parses the command line, writes the lists and shows the settings that use them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", metavar="NAME", choices=ADAPTERS, help=", ".join(ADAPTERS))
    parser.add_argument("source", metavar="SRC", type=Path, help="folder of the public data set")
    parser.add_argument("destination", metavar="DST", type=Path, help="folder for the lists")
    given = parser.parse_args()
    done = adapt(given.name, given.source, given.destination)
    for line in done.absent:
        print(line, file=sys.stderr)
    counts = ", ".join(f"{count} {split}" for split, count in done.counts.items())
    print(f"{sum(done.counts.values())} videos ({counts}), {len(done.absent)} are not there")
    settings = [f"DATA.ROOT {done.root}"]
    settings += [f"{key} {given.destination / f'{split}.csv'}" for key, split in FILES if done.counts[split]]
    if labels := ADAPTERS[given.name].labels:
        classes = len(Path(__file__).resolve().parents[1].joinpath(labels).read_text().splitlines()) - 1
        settings.append(f"DATA.LABEL_LIST {labels} DATA.NUM_CLASSES {classes}")
    print("--opts", *settings)
    return 1 if done.absent else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
