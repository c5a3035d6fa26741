"""Prepares videos for training: python tools/prepare.py SRC DST [--labels-from folder|TABLE] [--split 80,10,10] …

SRC is a folder (searched through) or a list of DICOM, MP4, AVI, MOV, … files. DST becomes a Standard Folder of small
intra-only videos without patient data, with manifest.csv and, where labels are given, lists for training, validation
and test split by patient; what leads back to the sources goes to DST-private. Run it again to go on after an
interruption. Exit code 1 if any file could not be read. See docs/data.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

if __name__ == "__main__":  # before anything that takes time is imported
    from echoviewclip.utils.huge_pages import start_with_huge_pages

    start_with_huge_pages()

from echoviewclip.datasets.intake.find import LISTS, summary
from echoviewclip.datasets.intake.plan import GRADES, Plan
from echoviewclip.datasets.intake.prepare import prepare_sets
from echoviewclip.datasets.intake.records import Options, Record
from echoviewclip.datasets.intake.shards import FOLDER, parse_size, write_shards
from echoviewclip.datasets.intake.splits import parse_shares
from echoviewclip.datasets.remote.downloads import DEFAULT_LIMIT, set_downloads
from echoviewclip.datasets.rows import list_kind
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.urls import is_url
from echoviewclip.utils.workers import MAX_SECONDS


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="SRC", type=_place, help="folder or list of DICOM and video files, or a URL")
    parser.add_argument("destination", metavar="DST", type=Path, help="Standard Folder to make or to go on with")
    parser.add_argument("--size", type=int, default=256, help="short side in pixels (default: 256)")
    parser.add_argument(
        "--crop",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="cut to the box of the ultrasound image, with a margin (default: yes)",
    )
    parser.add_argument("--stills", action="store_true", help="keep images of one frame, too")
    parser.add_argument("--any-modality", action="store_true", help="keep DICOM objects that are not ultrasound, too")
    parser.add_argument("--keep-names", action="store_true", help="keep file names, which may hold patient data")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes (default: one a core; 0: none but this one)"
    )
    parser.add_argument(
        "--timeout", type=float, default=MAX_SECONDS, metavar="SECONDS", help=f"for one file (default: {MAX_SECONDS:g})"
    )
    parser.add_argument("--retry", action="store_true", help="try files again that crashed or took too long before")
    parser.add_argument(
        "--download-folder",
        default="",
        metavar="DIR",
        help="local copies of files at URLs (default: ~/.cache/echoviewclip/downloads)",
    )
    parser.add_argument(
        "--download-limit",
        type=float,
        default=DEFAULT_LIMIT,
        metavar="GB",
        help=f"of them (default: {DEFAULT_LIMIT:g})",
    )
    parser.add_argument("--allow-outside", action="store_true", help="a list SRC may lead out of its folder")
    sets = parser.add_argument_group(
        "lists for training", "ORIGIN is folder, folder:N, a table or a regular expression"
    )
    sets.add_argument("--labels-from", default="", metavar="ORIGIN", help="writes train.csv, val.csv, test.csv")
    sets.add_argument("--quality-from", default="", metavar="ORIGIN", help="writes quality_train.csv, …, too")
    sets.add_argument("--patient-from", default="", metavar="ORIGIN", help="or dicom (default)")
    sets.add_argument("--split", metavar="A,B[,C]", help="shares of the patients (default: 80,10,10)")
    sets.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    sets.add_argument("--label-list", type=Path, metavar="FILE", help="id,name (default: the labels that are found)")
    sets.add_argument("--quality-list", type=Path, default=GRADES, metavar="FILE", help="default: labels/quality.csv")
    parser.add_argument("--shards", metavar="SIZE", help="packs the listed videos into archives of SIZE, such as 1GB")
    a = parser.parse_args()
    a.shards = parse_size(a.shards) if a.shards else 0
    if a.shards and a.keep_names:
        raise UserError(
            "--shards and --keep-names exclude each other: in a shard, what follows the first dot of a name is its "
            "suffix, and blanks end it; leave --keep-names out"
        )
    if a.size < 16:
        raise UserError(f"--size must be at least 16, found {a.size}")
    if a.workers < 0 or not a.timeout > 0:
        raise UserError("--workers must be at least 0 and --timeout above 0")
    if not a.download_limit > 0:
        raise UserError(f"--download-limit must be above 0, found {a.download_limit:g}")
    if not a.labels_from and (a.split or a.quality_from or a.label_list):
        if list_kind(a.source) not in LISTS:
            raise UserError("--split, --quality-from and --label-list need labels: --labels-from folder or a table")
        a.labels_from = str(a.source)
    return a


def _place(text: str) -> Path | str:
    """A path, or the text of a URL."""
    return text if is_url(text) else Path(text)


def describe(source: Path | str, records: Sequence[Record]) -> bool:
    """Prints what became of the files; returns whether any could not be read."""
    faults = [record for record in records if record.fault]
    for record in faults:
        where = source / record.source if isinstance(source, Path) and source.is_dir() else record.source
        print(f"{where}: {record.fault}", file=sys.stderr)
    left_out = [record.skipped for record in records if record.skipped]
    unsure = sum("; ".join(record.warnings).count("was not found for sure") for record in records)
    print(
        f"{len(records)} files: {len(records) - len(faults) - len(left_out)} videos prepared, "
        f"{len(left_out)} left out, {len(faults)} unreadable"
    )
    for line in summary(left_out):
        print(f"left out: {line}")
    if unsure:
        print(f"{unsure} videos were kept whole because it is not sure where the ultrasound image is")
    return bool(faults)


def main() -> int:
    """Prepares and sums up."""
    a = parse()
    set_downloads(a.download_folder, a.download_limit)
    options = Options(a.size, a.stills, a.keep_names, a.any_modality, a.crop)
    plan = Plan(
        labels_from=a.labels_from,
        shares=parse_shares(a.split or "80,10,10"),
        patient_from=a.patient_from,
        quality_from=a.quality_from,
        label_list=a.label_list,
        quality_list=a.quality_list,
        seed=a.seed,
    )
    how = {"seconds": a.timeout, "retry": a.retry, "allow_outside": a.allow_outside}
    records, of_lists = prepare_sets(a.source, a.destination, options, plan, a.workers, **how)
    faulty = describe(a.source, records)
    print("\n".join([str(a.destination / "manifest.csv"), *of_lists]))
    ready = a.destination
    if a.shards:
        print("\n".join(write_shards(a.destination, a.shards)))
        ready = a.destination / FOLDER
    if of_lists:
        print(f"next: python tools/new.py {ready}")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
