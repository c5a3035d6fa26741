"""What the features of a cache depend on, as one key: features of anything else are never taken for them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator

import torch
from yacs.config import CfgNode

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.remote.store import look_at
from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.datasets.video.tar import split_path
from echoviewclip.inference.precision import Precision
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.trainers.stages import Stage
from echoviewclip.utils.distributed import world
from echoviewclip.utils.urls import identity, is_url

VERSION = 1  # of what the program computes and how it is stored: counts up where either changes
IMAGE = ("stem.", "trunk.", "positive.", "negative.")  # the parts of a model that features are computed by
# Settings of the groups DATA, AUG and MODEL that the features do not depend on; all others count.
OTHER = {
    "DATA": {
        *("ROOT", "TRAIN_FILE", "VAL_FILE", "OOD_FILE", "DATASET", "LABEL_LIST", "QUALITY_LIST"),
        *("NUM_WORKERS", "TIMEOUT", "MAX_BAD_FRACTION", "ALLOW_OUTSIDE", "DOWNLOAD_FOLDER", "DOWNLOAD_LIMIT"),
        "SAMPLER",  # refused where it is not shuffle
    },
    "AUG": {"LABEL_SMOOTH"},
    "MODEL": {"PRETRAINED", "RESUME", "QUALITY_HEAD", "QUALITY_VIEWS", "DROP_PATH_RATE", "FIX_TEXT", "DEFECTS"},
}


def cache_key(config: CfgNode, stage: Stage, model: VideoCLIP, precision: Precision, videos: Annotations) -> str:
    """16 hexadecimal digits of the weights of the frozen part, the videos, and the settings that make clips of them.

    A video counts by its name, size, time of change, label, score and defects; the draw is no part of the key.
    """
    digest = hashlib.sha256()
    settings: dict[str, object] = {
        group: {key: value for key, value in config[group].items() if key not in left_out}
        for group, left_out in OTHER.items()
    }
    settings |= {
        "version": VERSION,
        "stage": (stage.name, list(stage.parts), stage.learns_outliers),
        "computed": (config.TRAIN.OPT_LEVEL, str(precision.computes), precision.device.type, config.TRAIN.CACHE_DTYPE),
        "batches": (config.SEED, config.TRAIN.BATCH_SIZE, world()),
    }
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for line in _videos(videos):
        digest.update(line.encode(errors="surrogateescape"))
    for array in (videos.labels, videos.scores, videos.defects):
        digest.update(array.tobytes())
    for name, tensor in model.state_dict().items():
        if name.startswith(IMAGE) and name not in precision.trained:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _videos(videos: Annotations) -> Iterator[str]:
    """A line for each video, of a folder for each of its files: name, size in bytes and time of change.

    Of a video in an archive these are the archive's, of one at a URL what its source says of its version.
    """
    for place, path in enumerate(videos.paths()):
        yield f"{videos.name(place)}\n"
        if (parts := split_path(path)) and os.path.isfile(parts[0]):
            path = parts[0]
        try:
            if is_url(path):
                yield f"{identity(path)} {look_at(path).version}\n"
                continue
            for file in sorted(entry.path for entry in os.scandir(path)) if os.path.isdir(path) else [path]:
                status = os.stat(file)
                yield f"{os.path.basename(file)} {status.st_size} {status.st_mtime_ns}\n"
        except (OSError, Unreadable):
            yield "cannot be read\n"
