"""Keys at the top: where a run is, what it trains, how often it saves and logs."""

from __future__ import annotations

from echoviewclip.utils.config.choices import STAGES
from echoviewclip.utils.config.key import Key, Section, at_least

RUN = Section(
    "",
    "The run as a whole.",
    (
        Key("BASE", list[str], [""], "Yaml files read before this one, relative to it; only in a yaml file."),
        Key("STAGE", str, "", "What trains; empty: the stage that TRAINER.ViFi_CLIP.USE belongs to.", choices=STAGES),
        Key("OUTPUT", str, "output", "Folder of the run: configuration, log, metrics, checkpoints, report."),
        Key("SEED", int, 1024, "Number that all randomness is a function of.", bounds=[at_least(0)]),
        Key(
            "SAVE_FREQ",
            int,
            1,
            "Epochs between the checkpoints `ckpt_epoch_N.pth`; 0: only `last.pth` and `best.pth`.",
            bounds=[at_least(0)],
        ),
        Key("EVAL_FREQ", int, 1, "Epochs between evaluations; the last is always evaluated.", bounds=[at_least(1)]),
        Key(
            "PRINT_FREQ",
            int,
            50,
            "Batches between lines of the log; there is one at least every minute.",
            bounds=[at_least(1)],
        ),
        Key(
            "DEVICE",
            str,
            "auto",
            "Device to run on; `auto`: CUDA where it is available, else the CPU.",
            choices=("auto", "cpu", "cuda"),
        ),
    ),
)
