"""Checks the data of a configuration: python tools/check_data.py -cfg FILE [--decode] [--workers N] [--timeout SECONDS]
[--opts KEY VALUE …].

Names each line of its lists that is malformed, out of range, doubled, missing on disk or for both training and
validation; with --decode each video that cannot be read to its end, too. Shows how many videos each class has, what
prepare.py warned of, and the mean and standard deviation of the pixels. Exit code 1 if there are faults. See
docs/data.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from yacs.config import CfgNode

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.configured import class_names, read_list
from echoviewclip.datasets.intake.check import check_annotations, histogram, inspect, place_of
from echoviewclip.datasets.intake.notes import count_kinds, read_notes
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.workers import MAX_SECONDS

SAMPLE = 64  # videos of a list that are looked into without --decode


def main() -> int:
    """Parses the command line, checks, and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-cfg", "--cfg", required=True, metavar="FILE", help="yaml file (configs/)")
    parser.add_argument("--decode", action="store_true", help="read every video to its end")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=MAX_SECONDS,
        metavar="SECONDS",
        help=f"for one video (default: {MAX_SECONDS:g})",
    )
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="any settings, in pairs")
    given = parser.parse_args()
    if len(given.opts) % 2:
        raise UserError(f"--opts takes pairs of KEY VALUE; {given.opts[-1]!r} stands alone")
    if given.workers < 1:
        raise UserError(f"--workers must be at least 1, found {given.workers}")
    if not given.timeout > 0:
        raise UserError(f"--timeout must be above 0, found {given.timeout:g}")
    config = load_config(given.cfg, list(zip(given.opts[::2], given.opts[1::2], strict=True)))

    lists, faults = read_lists(config)
    warnings: list[str] = []
    outsiders = [listed for role, listed in lists if role == "outsiders"]
    of_role = dict(lists)
    faults += check_annotations(of_role.get("training"), of_role.get("validation"), outsiders)
    print_counts(config, lists)
    warnings += warnings_of_preparing(lists)
    for role, listed in lists:
        sample = None if given.decode else SAMPLE
        read = inspect(
            listed,
            every_frame=given.decode,
            sample=sample,
            workers=given.workers,
            decoder=config.DATA.DECODER,
            seconds=given.timeout,
        )
        faults += read.faults
        warnings += read.warnings
        if read.mean:
            mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (read.mean, read.std))
            print(f"{role}: pixels of {read.videos} videos, in [0, 1], R, G, B: mean {mean}; standard deviation {std}")
    print(
        "\n".join(
            [
                *(f"warning: {text}" for text in warnings),
                *faults,
                f"{len(faults) or 'no'} fault{'s' * (len(faults) != 1)}",
            ]
        )
    )
    return 1 if faults else 0


def read_lists(config: CfgNode) -> tuple[list[tuple[str, Annotations]], list[str]]:
    """The lists that the configuration names, each with its role, and the faults of their lines."""
    data = config.DATA
    files = [("training", data.TRAIN_FILE), ("validation", data.VAL_FILE)]
    files += [("outsiders", file.strip()) for file in data.OOD_FILE.split(",")]
    lists: list[tuple[str, Annotations]] = []
    faults: list[str] = []
    for role, file in files:
        if file:
            lists.append(
                (
                    role,
                    read_list(config, file, outsiders=role == "outsiders", evaluated=role != "training", faults=faults),
                )
            )
    if not lists:
        raise UserError("the configuration names no list of videos (DATA.TRAIN_FILE, VAL_FILE, OOD_FILE)")
    return lists, faults


def warnings_of_preparing(lists: list[tuple[str, Annotations]]) -> list[str]:
    """A line for each warning that prepare.py noted of a listed video; prints how many there are of each kind."""
    lines: dict[str, None] = {}  # a video or a manifest may be in several lists
    for role, listed in lists:
        notes = read_notes(listed)
        lines |= dict.fromkeys(notes.unknown)
        lines |= {f"{place_of(listed, i)}: {listed.name(i)}: {text}": None for i, text in notes.warnings}
        for kind, count in count_kinds(text for _, text in notes.warnings):
            print(f"{role}: prepare.py warned of {count} video{'s' * (count != 1)}: {kind}")
    return list(lines)


def print_counts(config: CfgNode, lists: list[tuple[str, Annotations]]) -> None:
    """Videos and patients of each list, and a table of classes by list."""
    for role, listed in lists:
        patients = len(set(listed.patients[listed.patients >= 0].tolist()))
        print(f"{role}: {listed.file}, {len(listed)} videos" + (f", {patients} patients" if patients else ""))
    names = class_names(config)
    columns = [(role, dict(histogram(listed, names))) for role, listed in lists if role != "outsiders"]
    rows = list(dict.fromkeys(name for _, counts in columns for name in counts))
    width = max(map(len, rows), default=0)
    if columns:
        print("\n" + " " * width + "".join(f"{role:>12}" for role, _ in columns))
    for name in rows:
        print(f"{name:{width}}" + "".join(f"{counts.get(name, 0):>12}" for _, counts in columns))
    print()


if __name__ == "__main__":
    sys.exit(exit_code(main))
