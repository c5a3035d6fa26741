"""A process that reads whatever files it is told to, so that a test survives what they do to it.

Standard input: a path a line. Standard output: a line of JSON for each, `{"error": text or null, "peak": megabytes}`;
`error` is null where frames came out. A fault that is not a VideoError ends the process with a traceback.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import resource
import sys

import torch

from datasets.sampling import clip_indices
from datasets.video import VideoError, open_video

ADDRESS_SPACE = 12 << 30  # bytes; keeps a fault of a reader from taking the machine with it
WATCHED_FRAMES = 40


def read(path: str) -> str | None:
    """Reads a clip, then the first frames one by one; returns the text of the VideoError."""
    try:
        with open_video(path) as video:
            pixels = video.frames(clip_indices(len(video), 8)[0])
            assert pixels.dtype == torch.uint8 and pixels.shape[:2] == (8, 3) and pixels.sum() >= 0
            for frame in itertools.islice(video.iterate(), WATCHED_FRAMES):
                assert frame.shape[2] == 3
    except VideoError as error:
        return str(error)
    return None


if __name__ == "__main__":
    faulthandler.enable()
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for line in sys.stdin:
        error = read(line.rstrip("\n"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(json.dumps({"error": error, "peak": peak}), flush=True)
