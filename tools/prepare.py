"""Prepares videos for training: python tools/prepare.py SRC DST [--size 256] [--stills] [--keep-names] [--workers N].

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

from datasets.intake.records import Options
from datasets.prepare import prepare
from utils.errors import UserError, exit_code


def main() -> int:
    """Parses the command line, prepares and sums up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="SRC", type=Path, help="folder or list of DICOM and video files")
    parser.add_argument("destination", metavar="DST", type=Path, help="Standard Folder to make or to go on with")
    parser.add_argument("--size", type=int, default=256, help="short side in pixels (default: 256)")
    parser.add_argument("--stills", action="store_true", help="keep images of one frame, too")
    parser.add_argument("--keep-names", action="store_true", help="keep file names, which may hold patient data")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    a = parser.parse_args()
    if a.size < 16:
        raise UserError(f"--size must be at least 16, found {a.size}")
    records = prepare(a.source, a.destination, Options(a.size, a.stills, a.keep_names), a.workers)
    faults = [record for record in records if record.fault]
    for record in faults:
        print(f"{a.source / record.source if a.source.is_dir() else record.source}: {record.fault}", file=sys.stderr)
    skipped = sum(bool(record.skipped) for record in records)
    unsure = sum("; ".join(record.warnings).count("was not found for sure") for record in records)
    print(
        f"{len(records) - len(faults) - skipped} videos prepared, {skipped} still images left out, "
        f"{unsure} kept whole because it is not sure where the ultrasound image is, {len(faults)} unreadable"
    )
    print(a.destination / "manifest.csv")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
