"""Makes the echo phantom, a data set of videos that look like echocardiograms: python tools/phantom.py DST

Options: --patients N, --seed S, --size PIXELS, --frames T, --variety world|elsewhere, --workers W, --sheet FILE,
--figures FOLDER. The data set is in the Standard Folder format: videos/, lists of each split as text and as CSV
(train.txt, train.csv, …), and annotations.csv. See docs/phantom.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

if __name__ == "__main__":  # before anything that takes time is imported
    from echoviewclip.utils.huge_pages import start_with_huge_pages

    start_with_huge_pages()

from echoviewclip.phantom import generate
from echoviewclip.phantom.pictures.sheet import write_sheet
from echoviewclip.phantom.study.archive import generate_archive
from echoviewclip.phantom.study.study import VARIETIES
from echoviewclip.utils.errors import UserError, exit_code


def main() -> int:
    """Parses the command line, makes what it asks for and prints where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("destination", metavar="DST", type=Path, nargs="?", help="folder to make the data set in")
    parser.add_argument("--patients", type=int, default=36, help="hearts, at least 3 (default: 36)")
    parser.add_argument("--seed", type=int, default=0, help="everything is a function of it (default: 0)")
    parser.add_argument("--size", type=int, default=256, help="pixels a side, even (default: 256)")
    parser.add_argument("--frames", type=int, default=32, help="frames a video (default: 32)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument(
        "--variety",
        choices=VARIETIES,
        default="plain",
        help="world: hearts, machines and operators of all kinds; elsewhere: of a hospital that the world has not",
    )
    parser.add_argument("--archive", action="store_true", help="DICOM files in folders by view instead, and grades.csv")
    parser.add_argument("--views", type=int, default=6, metavar="N", help="views of an archive (default: 6)")
    parser.add_argument("--screens", action="store_true", help="recordings of an archive lie on wide screens")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of all views here; without DST, nothing else")
    parser.add_argument("--figures", type=Path, help="write the pictures of docs/phantom.md to this folder")
    a = parser.parse_args()
    if a.destination is None and a.sheet is None and a.figures is None:
        raise UserError("nothing to make: give the folder DST, or --sheet FILE for the contact sheet alone")
    if a.screens and not a.archive:
        raise UserError("--screens is for an archive: add --archive")
    if a.sheet is not None:
        print(write_sheet(a.sheet, a.seed, a.size, a.variety))
    if a.figures is not None:
        from echoviewclip.phantom.pictures.figures import write_figures  # matplotlib is slow to load

        print(write_figures(a.figures, a.seed))
    if a.destination is not None and a.archive:
        sizes = (a.patients, a.views, a.seed, a.size, a.frames, a.workers)
        print(generate_archive(a.destination, *sizes, screens=a.screens, variety=a.variety))
    elif a.destination is not None:
        print(generate(a.destination, a.patients, a.seed, a.size, a.frames, a.workers, a.variety))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
