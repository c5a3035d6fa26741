"""Plans an experiment: python tools/new.py DATA [--arch ViT-B/16|tiny|…] [--output configs/NAME] [--label-list FILE].

Looks at a Standard Folder and at this machine, and writes the files of the three stages with the reason of each
setting. Then: python tools/run.py configs/NAME. See docs/first_run.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.clip.architectures import REGISTRY_NAME
from echoviewclip.experiment.choices import choose, choose_arch
from echoviewclip.experiment.fingerprint import Machine, look_at
from echoviewclip.experiment.stage_files import write_stage_files
from echoviewclip.experiment.words import describe
from echoviewclip.utils.errors import UserError, exit_code


def main() -> int:
    """Parses the command line, plans and says what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", metavar="DATA", type=Path, help="Standard Folder with train.csv and val.csv")
    parser.add_argument("--arch", help=f"tiny, {', '.join(REGISTRY_NAME)} (default: by this machine)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="for the files (default: configs/NAME of DATA)")
    parser.add_argument("--label-list", type=Path, metavar="FILE", help="id,name (default: DATA/labels.csv)")
    a = parser.parse_args()
    if a.arch not in (None, "tiny", *REGISTRY_NAME):
        raise UserError(f"--arch must be one of tiny, {', '.join(REGISTRY_NAME)}; found {a.arch!r}")
    found = look_at(a.data, Machine.here(), a.label_list)
    folder = a.output or Path("configs") / a.data.resolve().name
    stages = choose(found, a.arch or choose_arch(found), f"output/{folder.name}")
    told = describe(found)
    files = write_stage_files(folder, stages, [*told, "", f"Run it: python tools/run.py {folder}"])
    print("\n".join([*told, *map(str, files)]))
    if "quality" not in stages:
        print("no stage 3: no list has grades (tools/prepare.py --quality-from)")
    print(f"next: python tools/run.py {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
