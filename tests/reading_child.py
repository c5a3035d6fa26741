"""A process that reads whatever files it is told to, so that a test survives what they do to it.

Standard input: a line of JSON for each, `{"path": …, "way": one of WAYS}`. Standard output: a line of JSON for each,
`{"error": text or null, "peak": megabytes}`; `error` is null where all could be read. A fault that is not an error
which the program has for bad files ends the process with a traceback.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import re
import resource
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import torch

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake.convert import convert
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.sampling import clip_indices
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names

ADDRESS_SPACE = 12 << 30  # bytes; keeps a fault of a reader from taking the machine with it
WATCHED_FRAMES = 40


def read_video(path: str) -> None:
    """Reads a clip, then the first frames one by one."""
    with open_video(path) as video:
        pixels = video.frames(clip_indices(len(video), 8)[0])
        assert pixels.dtype == torch.uint8 and pixels.shape[:2] == (8, 3) and pixels.sum() >= 0
        for frame in itertools.islice(video.iterate(), WATCHED_FRAMES):
            assert frame.shape[2] == 3


def prepare_video(path: str) -> None:
    """Reads a video as training and as `prepare` do."""
    read_video(path)
    with tempfile.TemporaryDirectory() as folder:
        options = Options(size=32, stills=True)
        record = convert(Path(path).parent, Path(path).name, Path(folder), "a.avi", options, b"salt")
    assert not record.fault.startswith("cannot be prepared"), record.fault
    if record.fault:
        raise VideoError(path, record.fault)


def read_list(path: str) -> None:
    """Reads a list with each meaning that its labels may have, that of classes last."""
    for target in ("quality", "multilabel", "score"):
        with suppress(UserError):
            read_annotations(path, target=target)
    assert len(read_annotations(path, label_names=("A4C", "Apical 2C", "PLAX"))) > 0


def read_config(path: str) -> None:
    """Reads a configuration."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the published files
        load_config(path)


WAYS = {
    "video": read_video,
    "prepare": prepare_video,
    "list": read_list,
    "labels": read_names,
    "config": read_config,
}


def read(path: str, way: str) -> str | None:
    """Reads a file; returns the text of the error that the program has for it."""
    try:
        WAYS[way](path)
    except (VideoError, UserError) as error:
        return str(error)
    return None


def peak_memory() -> int:
    """The most memory that this process has held, in megabytes: `ru_maxrss` would begin at that of its parent."""
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) >> 10


if __name__ == "__main__":
    faulthandler.enable()
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for line in sys.stdin:
        error = read(**json.loads(line))
        print(json.dumps({"error": error, "peak": peak_memory()}), flush=True)
