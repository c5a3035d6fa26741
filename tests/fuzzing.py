"""Small whole files of every kind, ways to damage them, and a reader that survives what is then made of them."""

from __future__ import annotations

import json
import os
import random
import select
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from PIL import Image
from pydicom import uid

from tests.dicom_objects import jpeg, jpeg_2000, jpeg_ls, lossless_jpeg, run_lengths, to_ybr_422, write_object
from tests.media import numbered_frames, write_video

ROOT = Path(__file__).parents[1]
CHILD = ["-m", "tests.reading_child"]
MOST_SECONDS = 20  # for one small file, on a machine that has other things to do
MOST_MEGABYTES = 2048
MOST_CHARACTERS = 2000  # of a line of an error

SAME_BYTES = {"fflags": "bitexact"}  # else each file of this container has a number of its own
FRAMES = numbered_frames(10, height=40, width=48)


class Failure(AssertionError):
    """A file that ended, stopped or bloated the process that read it, or whose error is not one line about it."""


class Reader:
    """The child process; started again where a file has ended it."""

    def __init__(self, folder: Path) -> None:
        self.complaints = folder / "stderr.txt"
        self.child: subprocess.Popen | None = None
        self.peak = 0  # megabytes that the child has taken so far

    def __call__(self, path: Path | str, way: str = "video") -> str | None:
        """Reads a file as a run would; returns the text of the error that the program has for it, or None.

        `way` is one of `tests.reading_child.WAYS`. Raises Failure where the process ends, hangs or takes too much.
        """
        if self.child is None or self.child.poll() is not None:
            with self.complaints.open("w") as complaints:
                self.child = subprocess.Popen(
                    [sys.executable, *CHILD],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    cwd=ROOT,
                    env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
                    text=True,
                )
            self._ask(__file__, "video", seconds=120)  # until it has started
        return self._ask(path, way, MOST_SECONDS)

    def _ask(self, path: Path | str, way: str, seconds: float) -> str | None:
        self.child.stdin.write(json.dumps({"path": str(path), "way": way}) + "\n")
        self.child.stdin.flush()
        ready, _, _ = select.select([self.child.stdout], [], [], seconds)
        answer = self.child.stdout.readline() if ready else ""
        if not answer:
            self.stop()
            how = f"ended with {self.child.returncode}" if ready else f"took more than {seconds} s"
            raise Failure(f"reading {path} {how}:\n{self.complaints.read_text(errors='replace')[-3000:]}")
        answer = json.loads(answer)
        self.peak, error = answer["peak"], answer["error"]
        if self.peak >= MOST_MEGABYTES:
            self.stop()
            raise Failure(f"reading {path} took {self.peak} MB")
        if error and not _is_short(error, path, way):
            raise Failure(f"reading {path} ended in a message that is not a short line about it:\n{error[:3000]}")
        return error

    def stop(self) -> None:
        """Ends the child."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child.stdin.close()
            self.child.stdout.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _is_short(error: str, path: Path | str, way: str) -> bool:
    """Whether each line is about the file; lists have a line for each fault, and a setting may be wrong in any file."""
    lines = error.split("\n")
    about = ("",) if way == "config" else (f"{path}", "… and ")
    return (len(lines) == 1 or way == "list") and all(
        line.startswith(about) and len(line) < MOST_CHARACTERS for line in lines
    )


def _dicom(pixels: Callable[[], object], photometric: str, syntax: uid.UID, **elements: object) -> Callable:
    shape = FRAMES.shape if photometric not in ("MONOCHROME2", "PALETTE COLOR") else FRAMES.shape[:3]
    return lambda path: write_object(path, pixels(), shape, photometric, syntax, FrameTime="40", **elements)


def _palette() -> dict[str, object]:
    tables = {}
    for name in ("Red", "Green", "Blue"):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = np.arange(256, dtype="<u2").tobytes()
    return tables


def _stream(path: Path) -> Path:
    stream = write_video(path.with_suffix(".mp4"), FRAMES, "libx264").read_bytes()
    return write_object(path, [stream], FRAMES.shape, "YBR_PARTIAL_420", uid.MPEG4HP41)


# name: (suffix, writer)
KINDS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "mjpeg": (".avi", lambda path: write_video(path, FRAMES)),
    "mjpeg in mp4": (".mp4", lambda path: write_video(path, FRAMES)),
    "h264": (".mp4", lambda path: write_video(path, FRAMES, "libx264", options={"bf": "2"})),
    "h264 in avi": (".avi", lambda path: write_video(path, FRAMES, "libx264")),
    "vp9": (".webm", lambda path: write_video(path, FRAMES, "libvpx-vp9", container_options=SAME_BYTES)),
    "mpeg4": (".avi", lambda path: write_video(path, FRAMES, "mpeg4")),
    "mpeg2": (".mpg", lambda path: write_video(path, FRAMES, "mpeg2video")),
    "transport stream": (".ts", lambda path: write_video(path, FRAMES, "libx264")),
    "png": (".png", lambda path: Image.fromarray(FRAMES[3]).save(path)),
    "jpeg": (".jpg", lambda path: Image.fromarray(FRAMES[3]).save(path)),
    "tiff": (".tif", lambda path: Image.fromarray(FRAMES[3]).save(path, compression="tiff_lzw")),
    "bmp": (".bmp", lambda path: Image.fromarray(FRAMES[3]).save(path)),
    "array": (".npy", lambda path: np.save(path, FRAMES)),
    "dicom": (".dcm", _dicom(FRAMES.tobytes, "RGB", uid.ExplicitVRLittleEndian)),
    "dicom, implicit": (".dcm", _dicom(lambda: to_ybr_422(FRAMES), "YBR_FULL_422", uid.ImplicitVRLittleEndian)),
    "dicom, big endian": (".dcm", _dicom(FRAMES.tobytes, "RGB", uid.ExplicitVRBigEndian)),
    "dicom, palette": (
        ".dcm",
        _dicom(FRAMES[..., 0].tobytes, "PALETTE COLOR", uid.ExplicitVRLittleEndian, **_palette()),
    ),
    "dicom, rle": (".dcm", _dicom(lambda: [run_lengths(f) for f in FRAMES], "RGB", uid.RLELossless)),
    "dicom, jpeg": (".dcm", _dicom(lambda: [jpeg(f) for f in FRAMES], "YBR_FULL", uid.JPEGBaseline8Bit)),
    "dicom, lossless": (".dcm", _dicom(lambda: [lossless_jpeg(f) for f in FRAMES], "YBR_FULL", uid.JPEGLosslessSV1)),
    "dicom, jpeg-ls": (".dcm", _dicom(lambda: [jpeg_ls(f) for f in FRAMES], "RGB", uid.JPEGLSLossless)),
    "dicom, jpeg 2000": (".dcm", _dicom(lambda: [jpeg_2000(f, "YBR_RCT") for f in FRAMES], "YBR_RCT", uid.JPEG2000)),
    "dicom, grey": (".dcm", _dicom(FRAMES[..., 0].tobytes, "MONOCHROME2", uid.ExplicitVRLittleEndian, WindowCenter=9)),
    "dicom, stream": (".dcm", _stream),
}
SUFFIXES = [*sorted({suffix for suffix, _ in KINDS.values()}), "", ".txt", ".gz"]


def whole_files(folder: Path) -> dict[str, bytes]:
    """Kind → content of an undamaged file."""
    contents = {}
    for kind, (suffix, write) in KINDS.items():
        path = folder / f"{len(contents)}{suffix}"
        write(path)
        contents[kind] = path.read_bytes()
    return contents


NUMBERS = [  # that headers state of sizes and counts
    struct.pack(order + code, number)
    for order in "<>"
    for code, number in (("I", 0), ("I", 0x7FFFFFFF), ("I", 0xFFFFFFFF), ("I", 1 << 28), ("H", 0xFFFF), ("Q", 1 << 62))
]


def damage(content: bytes, draw: random.Random, tokens: Sequence[bytes]) -> bytes:
    """The content with one thing wrong with it; half of the hits are in its first twentieth, where headers are."""
    changed = bytearray(content)
    first, second = sorted(int(draw.random() * draw.choice((1, 0.05)) * len(content)) for _ in range(2))
    kind = draw.choice(("cut", "flip", "token", "token", "zeros", "repeat", "drop", "noise"))
    if kind == "cut":
        del changed[second:]
    elif kind == "flip" and changed:
        for _ in range(draw.randrange(1, 12)):
            at = int(draw.random() ** draw.choice((1, 4)) * len(changed))
            changed[min(at, len(changed) - 1)] ^= 1 << draw.randrange(8)  # hypothesis draws 1.0 as well
    elif kind == "token":
        token = draw.choice(tokens)
        changed[second : second + (len(token) if draw.random() < 0.7 else 0)] = token
    elif kind == "zeros":
        changed[first:second] = bytes(second - first)
    elif kind == "repeat":
        changed[second:second] = changed[first:second]
    elif kind == "drop":
        del changed[first:second]
    else:
        noise = draw.randbytes(draw.randrange(1, 64))
        changed[second : second + len(noise)] = noise
    return bytes(changed)


def fuzz(examples: int, chance: bool = False):
    """Settings of a property over files; the fast form draws the same files each time."""
    return settings(
        max_examples=examples,
        derandomize=not chance,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
