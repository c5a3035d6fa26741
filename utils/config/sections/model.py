"""Keys of MODEL: towers, weights, branches."""

from __future__ import annotations

from echoviewclip.utils.config.key import SHARE, Bound, Key, NoEffect, Section, at_least
from echoviewclip.utils.config.rules import NOT_QUALITY, image_blocks_train, text_trains

OWN_COLUMNS = Bound(
    "each once",
    "name each column once, and none of path, label, patient, quality and score",
    lambda names: len({*map(str.lower, names), "path", "label", "patient", "quality", "score"}) == len(names) + 5,
)

MODEL = Section(
    "MODEL",
    "The model ([architecture.md](architecture.md)).",
    (
        Key(
            "MODEL.ARCH",
            str,
            "ViT-B/16",
            "Towers: `ViT-B/32`, `ViT-B/16`, `ViT-L/14`, `ViT-L/14@336px`, or, for a CPU, `tiny` "
            "and a ViT as small, `ViT-tiny/16`.",
        ),
        Key(
            "MODEL.VARIANT",
            str,
            "paper",
            "`paper`: as the paper describes it, `released`: as the published code computes it, whose checkpoints it "
            "loads.",
            choices=("paper", "released"),
        ),
        Key(
            "MODEL.PRETRAINED",
            str,
            "",
            "Weights to start from: `openai`, a tag of open_clip, `hf-hub:NAME` or a file; empty: random weights.",
        ),
        Key(
            "MODEL.QUICK_GELU",
            bool,
            True,
            "OpenAI's QuickGELU as the activation, else GELU, where the weights do not say which is theirs.",
        ),
        Key("MODEL.RESUME", str, "", "Checkpoint to continue, to grow from, or to evaluate."),
        Key(
            "MODEL.SHARED_BLOCKS",
            int,
            8,
            "First blocks of the image tower, which all branches share.",
            bounds=[at_least(0)],
        ),
        Key(
            "MODEL.DROP_BLACK",
            bool,
            False,
            "Patches that are black in all frames of a clip are not computed ([performance.md](performance.md)); needs "
            "a ViT, `MODEL.VARIANT` paper and `DATA.RESIZE` worker.",
        ),
        Key(
            "MODEL.POOLING",
            str,
            "attention",
            "How frames become a clip; `attention`: mean and weighted sum, `mean`: mean alone, `transformer`: a "
            "transformer layer before the attention.",
            choices=("attention", "mean", "transformer"),
        ),
        Key(
            "MODEL.QUALITY_HEAD",
            str,
            "softmax",
            "Probabilities of the grades; `softmax`: of each grade, `corn`: of each step to a better one.",
            choices=("softmax", "corn"),
            no_effect=[NOT_QUALITY],
        ),
        Key(
            "MODEL.QUALITY_VIEWS",
            bool,
            False,
            "The quality head sees the probabilities of the views.",
            no_effect=[NOT_QUALITY],
        ),
        Key(
            "MODEL.DEFECTS",
            list[str],
            [],
            "Columns of the lists, numbers from 0 to 1, say `[low_gain, dropout]`: the quality head also says how "
            "likely each of these defects is ([data.md](data.md#defects)).",
            bounds=[OWN_COLUMNS],
            no_effect=[NOT_QUALITY],
        ),
        Key(
            "MODEL.DROP_PATH_RATE",
            float,
            0.0,
            "Stochastic depth: probability that the last block leaves a clip out, rising linearly up to it.",
            bounds=[
                SHARE,
                Bound("below 1", "be below 1, where nothing of the last block is left", lambda rate: rate < 1),
            ],
            no_effect=[NoEffect(lambda c: not image_blocks_train(c), "no block of the image tower trains")],
        ),
        Key(
            "MODEL.FIX_TEXT",
            bool,
            False,
            "The text towers keep their weights.",
            no_effect=[NoEffect(lambda c: not text_trains(c), "no text trains")],
        ),
    ),
)
