"""Keys of DATA: which videos, and how clips are made of them."""

from __future__ import annotations

from echoviewclip.utils.config.key import SHARE, Bound, Key, NoEffect, Section, at_least
from echoviewclip.utils.config.rules import NOT_QUALITY, has_text

COUNT = Bound("≥ 1, or 0", "be at least 1", lambda names: names >= 1)  # 0 has been replaced when bounds are checked

DATA = Section(
    "DATA",
    "Which videos, and how clips are made of them ([data.md](data.md)).",
    (
        Key("DATA.ROOT", str, "", "Folder, or its URL, that holds `videos/` and the lists (Standard Folder)."),
        Key("DATA.TRAIN_FILE", str, "", "List of training videos."),
        Key("DATA.VAL_FILE", str, "", "List of validation videos."),
        Key(
            "DATA.OOD_FILE",
            str,
            "",
            "List of videos that belong to no class; several lists are separated by commas.",
            no_effect=[
                NoEffect(
                    lambda c: not has_text(c),
                    "this model answers quality alone",
                    "the stage is quality and MODEL.VARIANT is released",
                )
            ],
        ),
        Key("DATA.DATASET", str, "ultracls", "Name of the data set, for the log and the report."),
        Key("DATA.INPUT_SIZE", int, 224, "Side of the square that the model sees, in pixels.", bounds=[at_least(1)]),
        Key("DATA.NUM_FRAMES", int, 16, "Frames of a clip.", bounds=[at_least(1)]),
        Key(
            "DATA.NUM_CLASSES",
            int,
            0,
            "Number of views, which must be that of DATA.LABEL_LIST; 0: as many as it names.",
            bounds=[COUNT],
        ),
        Key(
            "DATA.NUM_QUALITIES",
            int,
            0,
            "Number of grades, which must be that of DATA.QUALITY_LIST; 0: as many as it names.",
            bounds=[COUNT],
        ),
        Key("DATA.LABEL_LIST", str, "labels/ultracls.csv", "Label list of the views: `id,name` a line."),
        Key("DATA.QUALITY_LIST", str, "labels/quality.csv", "Label list of the grades, worst first: `id,name` a line."),
        Key(
            "DATA.QUALITY_TARGET",
            str,
            "grade",
            "What stage quality learns of a video: a grade, or a score in [0, 1].",
            choices=("grade", "score"),
            no_effect=[NOT_QUALITY],
        ),
        Key(
            "DATA.DECODER",
            str,
            "pyav",
            "Library that decodes videos; the last two come with requirements-decoders.txt.",
            choices=("pyav", "torchcodec", "decord"),
        ),
        Key(
            "DATA.SAMPLING",
            str,
            "uniform",
            "Frames of a clip; `uniform`: one a segment of the video, `stride`: at a fixed distance in time, `cycle`: "
            "of one heart cycle.",
            choices=("uniform", "stride", "cycle"),
        ),
        Key(
            "DATA.STRIDE_SECONDS",
            float,
            0.04,
            "Time between frames, in seconds.",
            bounds=[Bound("> 0", "be above 0", lambda seconds: seconds > 0)],
            no_effect=[NoEffect(lambda c: c.DATA.SAMPLING != "stride", "DATA.SAMPLING is not stride")],
        ),
        Key(
            "DATA.RESIZE",
            str,
            "worker",
            "Where clips are cropped and resized; `device`: whole frames are copied there, which spares the cores.",
            choices=("worker", "device"),
        ),
        Key(
            "DATA.SHUFFLE_BUFFER",
            int,
            0,
            "Training videos lie in shards, which each process reads front to back, shuffled among so many videos in "
            "memory ([data.md](data.md#shards)); 0: they are read in any order, from wherever they lie.",
            bounds=[at_least(0)],
        ),
        Key(
            "DATA.SAMPLER",
            str,
            "shuffle",
            "Training videos of an epoch; `shuffle`: each once, `balanced`: as many in all, and equally many of each "
            "view, in stage quality of each grade. Refused with DATA.SHUFFLE_BUFFER and TRAIN.CACHE_FEATURES.",
            choices=("shuffle", "balanced"),
        ),
        Key(
            "DATA.MAX_BAD_FRACTION",
            float,
            0.01,
            "Share of unreadable videos in an epoch above which the training stops.",
            bounds=[SHARE],
        ),
        Key(
            "DATA.TIMEOUT",
            float,
            300.0,
            "Seconds after which a video that is still being read counts as unreadable; 0: no limit.",
            bounds=[at_least(0)],
        ),
        Key(
            "DATA.ALLOW_OUTSIDE",
            bool,
            False,
            "Lists may name videos outside DATA.ROOT: absolute paths, links that lead out of it.",
        ),
        Key(
            "DATA.DOWNLOAD_FOLDER",
            str,
            "",
            "Folder of local copies of videos and lists that are URLs; empty: `~/.cache/echoviewclip/downloads`.",
        ),
        Key(
            "DATA.DOWNLOAD_LIMIT",
            float,
            20.0,
            "GB that the local copies of the folder may take; the least recently used leave.",
            bounds=[Bound("> 0", "be above 0", lambda gigabytes: gigabytes > 0)],
        ),
        Key(
            "DATA.NUM_WORKERS",
            int,
            4,
            "Reading processes for each training process; at most its share of the cores that it may use.",
            bounds=[at_least(0)],
        ),
    ),
)
