"""Prepares videos for training: python tools/prepare.py SRC DST [--size 256] [--stills] [--keep-names] [--workers N]
[--timeout SECONDS] [--retry].

SRC is a folder (searched through) or a list of DICOM, MP4, AVI, MOV, … files. DST becomes a Standard Folder of small
intra-only videos without patient data, with manifest.csv; what leads back to the sources goes to DST-private. Run it
again to go on after an interruption. Exit code 1 if any file could not be read. See docs/data.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from datasets.intake.find import summary
from datasets.intake.records import Options
from datasets.prepare import prepare
from utils.errors import UserError, exit_code
from utils.workers import MAX_SECONDS


def main() -> int:
    """Parses the command line, prepares and sums up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="SRC", type=Path, help="folder or list of DICOM and video files")
    parser.add_argument("destination", metavar="DST", type=Path, help="Standard Folder to make or to go on with")
    parser.add_argument("--size", type=int, default=256, help="short side in pixels (default: 256)")
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
    a = parser.parse_args()
    if a.size < 16:
        raise UserError(f"--size must be at least 16, found {a.size}")
    if a.workers < 0 or not a.timeout > 0:
        raise UserError("--workers must be at least 0 and --timeout above 0")
    options = Options(a.size, a.stills, a.keep_names, a.any_modality)
    records = prepare(a.source, a.destination, options, a.workers, seconds=a.timeout, retry=a.retry)
    faults = [record for record in records if record.fault]
    for record in faults:
        print(f"{a.source / record.source if a.source.is_dir() else record.source}: {record.fault}", file=sys.stderr)
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
    print(a.destination / "manifest.csv")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
