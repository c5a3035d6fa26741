"""Exports a checkpoint: `export.py CKPT FOLDER [--formats NAMES]`, or its towers: `export.py CKPT FILE.safetensors`.

FOLDER holds the checkpoint as safetensors and yaml, its graphs and a model card; `--resume FOLDER` and
`echoviewclip.from_pretrained(FOLDER)` read it. FILE.safetensors holds image and text tower under open_clip's names and
can be given to MODEL.PRETRAINED, also of another data set with other classes: the pooling over time and the prompts
belong to the classes and stay behind. docs/deploy.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.deploy.folder import export_folder
from echoviewclip.deploy.formats import FORMATS
from echoviewclip.deploy.hub import upload_folder
from echoviewclip.deploy.towers import write_towers
from echoviewclip.inference.checkpoint import Checkpoint, read_file
from echoviewclip.utils.errors import UserError, exit_code


def _formats(text: str) -> list[str]:
    """Names of `FORMATS`, with commas between."""
    names = text.split(",")
    if unknown := [name for name in names if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(FORMATS)}")
    return names


def main() -> int:
    """Parses the command line, exports and prints where."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[1], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="of any stage")
    parser.add_argument("destination", metavar="FOLDER|FILE.safetensors", type=Path, help="what to write")
    parser.add_argument("--formats", metavar="NAMES", type=_formats, help=f"graphs to write: {','.join(FORMATS)}")
    parser.add_argument("--measure", metavar="LIST", help="list of videos on which to measure what the graphs lose")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload FOLDER to the Hugging Face Hub, private")
    parser.add_argument("--half", action="store_true", help="round weights to 16-bit numbers, half the size")
    given = parser.parse_args()
    towers = given.destination.suffix == ".safetensors"
    if towers and (given.formats or given.measure or given.push):
        parser.error("--formats, --measure and --push are of a FOLDER, not of towers (FILE.safetensors)")
    checkpoint = read_file(given.checkpoint)
    if not isinstance(checkpoint, Checkpoint):
        raise UserError("the checkpoint carries no configuration, so its parts cannot be told apart")
    if towers:
        write_towers(checkpoint, given.destination, given.half)
    else:
        formats = given.formats or ()
        found = export_folder(checkpoint, given.destination, formats, given.measure, half=given.half)
        for name, agreement in found.items():
            same = ", ".join(f"{what} {share:.3f}" for what, share in agreement.same.items())
            print(f"{name}: same answers on {agreement.videos} videos of {agreement.list}: {same}")
    print(given.destination)
    if given.push:
        print(upload_folder(given.destination, given.push))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
