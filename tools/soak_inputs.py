"""Reads thousands of damaged files of every kind: python tools/soak_inputs.py [--count 10000] [--seed 0] [--keep DIR].

Videos, DICOM objects, stills, arrays, archives, folders of images, lists, label lists and configurations are damaged at
random and read in a process of their own, as training and `prepare` read them. Each must be read, or refused in one
short line that names it: no traceback, no hang, no more than 2 GB. What fails is kept in DIR. Exit code 1 if any does.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

if not __package__:  # started as a file
    ROOT = Path(__file__).resolve().parents[1]
    sys.path[:1] = [str(ROOT / "src"), str(ROOT)]  # the second for the tests' own means

from echoviewclip.utils.config import default_config
from echoviewclip.utils.errors import UserError, exit_code
from tests.fuzzing import KINDS, NUMBERS, Failure, Reader, damage, whole_files

TOKENS = [
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\n", b"\r", b'"', b"'", b",", b" ", b"\t", b"[" * 3000, b"]", b"{", b"}"),
    *(b"*a", b"&a ", b"<<: ", b": ", b"!!python/name:os ", b"9" * 5001, b"-1", b"1e999", b"nan", b".inf", b"../"),
    *(b"/etc/passwd", b"\\ud800", b"\xe2\x80\xae", b"x" * 20_000, b"BASE: ", b"- ", b"? ", b"~", b"2020-99-99"),
    b"0x" + b"f" * 9000,
]
LINES = [f"study {k // 3}/clip {k}.avi" for k in range(30)]


def _texts() -> dict[str, tuple[str, str, bytes]]:
    """Kind → suffix, way of reading, content of an undamaged text."""
    rows = [{"filename": name, "label": k % 3, "patient": f"P{k}", "quality": k % 3} for k, name in enumerate(LINES)]
    header = "path,label,patient,quality,score\n"
    table = header + "".join(f'"{name}",{k % 3},P{k},{k % 3},0.5\n' for k, name in enumerate(LINES))
    root = Path(__file__).resolve().parents[1]
    return {
        "list, text": (".txt", "list", "".join(f"{name} {k % 3}\n" for k, name in enumerate(LINES)).encode()),
        "list, names": (".txt", "list", "".join(f"{name} Apical 2C\n" for name in LINES).encode()),
        "list, csv": (".csv", "list", table.encode()),
        "list, json": (".json", "list", json.dumps(rows, indent=1).encode()),
        "list, json tree": (".json", "list", json.dumps({"metainfo": {}, "data_list": rows}).encode()),
        "label list": (".csv", "labels", (root / "labels/ultracls.csv").read_bytes()),
        "configuration": (".yaml", "config", default_config().dump().encode()),
        "configuration, released": (".yaml", "config", (root / "configs/released/train_stage1.yaml").read_bytes()),
    }


def damaged_inputs(folder: Path, seed: int) -> Iterator[tuple[str, str, Path]]:
    """Kind, way of reading (`tests.reading_child.WAYS`) and path of one damaged input after the other, without end.

    The n-th is a function of (seed, n). Each is written over the one before it of its kind.
    """
    binary = {kind: (KINDS[kind][0], content) for kind, content in whole_files(folder).items()}
    writers: dict[str, Callable[[random.Random], tuple[str, Path]]] = {}

    def write(name: str, content: bytes, draw: random.Random, tokens: list[bytes]) -> Path:
        for _ in range(draw.choice((1, 1, 2, 3))):
            content = damage(content, draw, tokens)
        path = folder / name
        path.write_bytes(content)
        return path

    def writer(way: str, name: str, content: bytes, tokens: list[bytes]) -> Callable[[random.Random], tuple[str, Path]]:
        return lambda draw: (way, write(name, content, draw, tokens))

    for kind, (suffix, content) in binary.items():
        writers[kind] = writer("prepare", f"{kind}{suffix}", content, NUMBERS)
    for kind, (suffix, way, content) in _texts().items():
        writers[kind] = writer(way, f"{kind}{suffix}", content, TOKENS)
    archive = _archive(folder, binary)
    writers["archive"] = lambda draw: (
        "video",
        write("archive.tar", archive, draw, NUMBERS) / draw.choice(("a.avi", "b.dcm", "frames")),
    )
    writers["folder of images"] = lambda draw: ("prepare", _frames(folder, binary["png"][1], draw))
    kinds = list(writers)
    number = 0
    while True:
        kind = kinds[number % len(kinds)]
        way, path = writers[kind](random.Random(f"{seed} {number}"))
        yield kind, way, path
        number += 1


def _archive(folder: Path, binary: dict[str, tuple[str, bytes]]) -> bytes:
    for name, kind in (("a.avi", "mjpeg"), ("b.dcm", "dicom, jpeg"), ("frames/0.png", "png"), ("frames/1.png", "png")):
        (folder / "packed" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "packed" / name).write_bytes(binary[kind][1])
    with tarfile.open(folder / "whole.tar", "w") as tar:
        tar.add(folder / "packed", "")
    return (folder / "whole.tar").read_bytes()


def _frames(folder: Path, image: bytes, draw: random.Random) -> Path:
    frames = folder / "frames"
    frames.mkdir(exist_ok=True)
    which = draw.randrange(4)
    for number in range(4):
        (frames / f"{number}.png").write_bytes(damage(image, draw, NUMBERS) if number == which else image)
    return frames


@dataclass
class Soaked:
    """What became of the inputs."""

    read: Counter[str] = field(default_factory=Counter)  # by kind
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds, of one input
    peak: int = 0  # megabytes, of the process that reads


def soak(count: int, seed: int, keep: Path | None = None) -> Soaked:
    """Reads `count` damaged inputs; those that fail are copied to `keep`."""
    found = Soaked()
    with tempfile.TemporaryDirectory() as temporary, Reader(Path(temporary)) as reader:
        inputs = Path(temporary, "inputs")
        inputs.mkdir()
        for number, (kind, way, path) in zip(range(count), damaged_inputs(inputs, seed), strict=False):
            begun = time.monotonic()
            try:
                refused = reader(path, way) is not None
                (found.refused if refused else found.read)[kind] += 1
            except Failure as failure:
                found.failures.append(f"{number}, {kind}: {failure}")
                if keep and path.is_file():
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{number} {path.name}").write_bytes(path.read_bytes())
            found.slowest = max(found.slowest, time.monotonic() - begun)
            found.peak = max(found.peak, reader.peak)
    return found


def main() -> int:
    """Parses the command line, reads, and prints what became of each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="inputs (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of all damage (default: 0)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder for the inputs that fail")
    given = parser.parse_args()
    if given.count < 1:
        raise UserError(f"--count must be at least 1, found {given.count}")
    found = soak(given.count, given.seed, given.keep)
    for kind in sorted(found.read | found.refused):
        print(f"{kind:28}{found.read[kind]:>8} read{found.refused[kind]:>8} refused")
    for failure in found.failures:
        print(failure)
    total = f"{found.read.total()} read, {found.refused.total()} refused, {len(found.failures)} failed"
    print(f"{given.count} inputs: {total}; at most {found.slowest:.1f} s for one, {found.peak} MB")
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
