"""Keys of TRAIN: the optimiser and its schedule, precision, saving, losses."""

from __future__ import annotations

from echoviewclip.utils.config.key import SHARE, Key, NoEffect, Section, at_least
from echoviewclip.utils.config.rules import NOT_NEGATION, NOT_QUALITY, learns_tokens

NO_CACHE = NoEffect(lambda c: not c.TRAIN.CACHE_FEATURES, "TRAIN.CACHE_FEATURES is False")

TRAIN = Section(
    "TRAIN",
    "Optimiser, schedule, precision, saving, losses.",
    (
        Key("TRAIN.EPOCHS", int, 30, "Passes over the training videos.", bounds=[at_least(1)]),
        Key(
            "TRAIN.WARMUP_EPOCHS",
            float,
            5.0,
            "Epochs in which the learning rate rises linearly from 0.",
            bounds=[at_least(0)],
        ),
        Key(
            "TRAIN.WEIGHT_DECAY",
            float,
            0.001,
            "Weight decay, not of biases, norms, positions and prompt tokens.",
            bounds=[at_least(0)],
            no_effect=[
                NoEffect(
                    lambda c: learns_tokens(c) and c.STAGE != "quality" and not c.TRAIN.DECAY_ALL,
                    "prompt tokens, which alone train, do not decay",
                    "TRAINER.ViFi_CLIP.PROMPT_MODEL is True, TRAIN.DECAY_ALL is False and the stage is not quality",
                )
            ],
        ),
        Key(
            "TRAIN.DECAY_ALL",
            bool,
            False,
            "Biases, norms, scalars and learnable tokens decay, too, as in the published code.",
            no_effect=[NoEffect(lambda c: c.TRAIN.WEIGHT_DECAY == 0, "TRAIN.WEIGHT_DECAY is 0")],
        ),
        Key("TRAIN.LR", float, 8.0e-6, "Highest learning rate.", bounds=[at_least(0)]),
        Key("TRAIN.BATCH_SIZE", int, 8, "Videos of a batch of each process.", bounds=[at_least(1)]),
        Key(
            "TRAIN.ACCUMULATION_STEPS",
            int,
            1,
            "Batches whose gradients make one optimiser step.",
            bounds=[at_least(1)],
        ),
        Key(
            "TRAIN.GLOBAL_BATCH",
            int,
            0,
            "Videos of an optimiser step over all processes, from which TRAIN.ACCUMULATION_STEPS is computed; 0: "
            "processes × TRAIN.BATCH_SIZE × TRAIN.ACCUMULATION_STEPS.",
            bounds=[at_least(0)],
        ),
        Key(
            "TRAIN.LR_SCHEDULER",
            str,
            "cosine",
            "Learning rate after the warm-up; `cosine`: falls to a hundredth of TRAIN.LR.",
            choices=("cosine", "constant"),
        ),
        Key(
            "TRAIN.OPTIMIZER",
            str,
            "adamw",
            "`adamw`: AdamW with betas 0.9 and 0.98, `sgd`: momentum 0.9.",
            choices=("adamw", "sgd"),
        ),
        Key(
            "TRAIN.OPT_LEVEL",
            str,
            "O1",
            "Precision; `O0`: float32 (on GPUs since Ampere products are in TF32, unless NVIDIA_TF32_OVERRIDE is 0), "
            "`O1`: autocast, `O2`: half-precision weights with float32 masters. Half is "
            "bfloat16, on GPUs without it float16 with a gradient scaler. On a processor without bfloat16 instructions "
            "(AVX512_BF16, AMX, ARM's BF16), or with ONEDNN_MAX_CPU_ISA below them, O1 computes in float32, and so do "
            "predict.py and --only_test at O2, with rounded weights; training at O2 stays in bfloat16 there, and is "
            "slow. The log says what was chosen.",
            choices=("O0", "O1", "O2"),
        ),
        Key("TRAIN.CLIP_GRAD", float, 0.0, "Highest norm of the gradient; 0: not clipped.", bounds=[at_least(0)]),
        Key(
            "TRAIN.MAX_BAD_STEPS",
            int,
            10,
            "Optimiser steps in a row without a finite loss and gradient that stop the training.",
            bounds=[at_least(1)],
        ),
        Key(
            "TRAIN.EMA_DECAY",
            float,
            0.0,
            "Decay of the moving average of the weights, which is evaluated and saved in their place; 0: none.",
            bounds=[SHARE],
        ),
        Key(
            "TRAIN.USE_CHECKPOINT",
            bool,
            False,
            "Recompute activations in the backward pass: less memory, a third more time.",
        ),
        Key(
            "TRAIN.SHARD",
            str,
            "none",
            "What each of several processes holds of the weights, their gradients and the optimiser's state; `none`: "
            "all, `full`: an equal share (FSDP2), for towers that fill a GPU. One process holds all. Checkpoints are "
            "the same; refused with TRAIN.CACHE_FEATURES, and where half precision is float16.",
            choices=("none", "full"),
        ),
        Key(
            "TRAIN.COMPILE",
            bool,
            False,
            "Compile the towers' transformer blocks (torch.compile) when they first run: faster steps, after a minute; "
            "on a GPU it needs Triton, on a processor a C++ compiler. Where it fails, the blocks run as they are, and "
            "the log says so.",
        ),
        Key(
            "TRAIN.CACHE_FEATURES",
            bool,
            False,
            "Compute what the frozen image part sees in each video once, and train from that; refused where the image "
            "tower trains.",
        ),
        Key(
            "TRAIN.CACHE_DRAWS",
            int,
            4,
            "Draws of augmentation that are cached; epochs take them in turn.",
            bounds=[at_least(1)],
            no_effect=[NO_CACHE],
        ),
        Key(
            "TRAIN.CACHE_DTYPE",
            str,
            "half",
            "How cached float32 is stored; `half`: as float16, `computed`: as it is. What was computed in half "
            "precision stays so.",
            choices=("half", "computed"),
            no_effect=[NO_CACHE],
        ),
        Key(
            "TRAIN.CACHE_LIMIT",
            float,
            50.0,
            "GB on disk that the caches of the folder may take.",
            bounds=[at_least(0)],
            no_effect=[NO_CACHE],
        ),
        Key(
            "TRAIN.CACHE_FOLDER",
            str,
            "",
            "Folder of caches, which stay for other runs; empty: `OUTPUT/feature_cache`, removed after the last epoch.",
            no_effect=[NO_CACHE],
        ),
        Key("TRAIN.AUTO_RESUME", bool, False, "Continue from `OUTPUT/last.pth` where there is one."),
        Key(
            "TRAIN.SAVE_MINUTES",
            float,
            10.0,
            "Minutes between saves of `last.pth` within an epoch; 0: only at its end.",
            bounds=[at_least(0)],
        ),
        Key(
            "TRAIN.TIMEOUT",
            float,
            1800.0,
            "Seconds that a process waits for another, or for a batch of videos, before it gives up.",
            bounds=[at_least(1)],
        ),
        Key(
            "TRAIN.SAVE_STEPS",
            int,
            0,
            "Optimiser steps between saves of `last.pth` within an epoch; 0: by TRAIN.SAVE_MINUTES alone.",
            bounds=[at_least(0)],
        ),
        Key(
            "TRAIN.OPPOSITE_WEIGHT",
            float,
            1.0,
            "Weight of the text-semantic-opposite loss.",
            bounds=[at_least(0)],
            no_effect=[
                NOT_NEGATION,
                NoEffect(
                    lambda c: c.MODEL.FIX_TEXT, "MODEL.FIX_TEXT keeps the texts as they are", "MODEL.FIX_TEXT is True"
                ),
            ],
        ),
        Key(
            "TRAIN.NEGATION_LOSS",
            str,
            "clipn",
            "`clipn`: yes or no for each class, `class`: cross-entropy of the negative branch's −logits.",
            choices=("class", "clipn"),
            no_effect=[NOT_NEGATION],
        ),
        Key(
            "TRAIN.OUTLIER_WEIGHT",
            float,
            0.5,
            "Weight of the loss on synthetic outliers; 0: none are made.",
            bounds=[at_least(0)],
            no_effect=[
                NOT_NEGATION,
                NoEffect(lambda c: not c.AUG.OUTLIERS, "AUG.OUTLIERS names no kind", "AUG.OUTLIERS is empty"),
            ],
        ),
        Key(
            "TRAIN.ORDINAL_LOSS",
            str,
            "emd",
            "Loss on the order of the grades; `emd`: squared earth mover's distance, `score`: squared error of the "
            "expected score.",
            choices=("emd", "score"),
            no_effect=[
                NOT_QUALITY,
                NoEffect(lambda c: c.TRAIN.ORDINAL_WEIGHT == 0, "TRAIN.ORDINAL_WEIGHT is 0"),
            ],
        ),
        Key(
            "TRAIN.ORDINAL_WEIGHT",
            float,
            1.0,
            "Weight of that loss beside the cross-entropy; 0: off.",
            bounds=[at_least(0)],
            no_effect=[NOT_QUALITY],
        ),
    ),
)
