"""Keys of AUG: augmentation, blending, synthetic outliers."""

from __future__ import annotations

from echoviewclip.utils.config.choices import OUTLIERS
from echoviewclip.utils.config.key import SHARE, Bound, Key, NoEffect, Section, at_least
from echoviewclip.utils.config.rules import NOT_NEGATION

SCALES = Bound(
    "each above 0, up to 1; at least one",
    "be shares above 0 and up to 1, at least one",
    lambda scales: bool(scales) and all(0 < scale <= 1 for scale in scales),
)

AUG = Section(
    "AUG",
    "Augmentation of training clips ([data.md](data.md)). Colour and left and right tell views apart, so what "
    "changes them is off by default.",
    (
        Key(
            "AUG.LABEL_SMOOTH",
            float,
            0.1,
            "Share of a target that is spread over all classes.",
            bounds=[SHARE],
            no_effect=[
                NoEffect(
                    lambda c: c.STAGE == "negation" and c.TRAIN.NEGATION_LOSS == "clipn",
                    "TRAIN.NEGATION_LOSS clipn is a yes or no for each class, which is not smoothed",
                    "the stage is negation and TRAIN.NEGATION_LOSS is clipn",
                )
            ],
        ),
        Key("AUG.MIXUP", float, 0.8, "Mixup: α of the Beta distribution; 0: off.", bounds=[at_least(0)]),
        Key("AUG.CUTMIX", float, 1.0, "CutMix: α of the Beta distribution; 0: off.", bounds=[at_least(0)]),
        Key(
            "AUG.MIXUP_SWITCH_PROB",
            float,
            0.5,
            "Probability of CutMix where both are on.",
            bounds=[SHARE],
            no_effect=[
                NoEffect(
                    lambda c: c.AUG.MIXUP == 0 or c.AUG.CUTMIX == 0, "AUG.MIXUP or AUG.CUTMIX is off", also_off=True
                )
            ],
        ),
        Key("AUG.COLOR_JITTER", float, 0.0, "Probability of changed brightness and colours.", bounds=[SHARE]),
        Key("AUG.GRAY_SCALE", float, 0.0, "Probability of a clip without colour.", bounds=[SHARE]),
        Key("AUG.FLIP", float, 0.0, "Probability of left and right exchanged.", bounds=[SHARE]),
        Key("AUG.ERASING", float, 0.0, "Probability of a random patch of the sector painted over.", bounds=[SHARE]),
        Key(
            "AUG.BACKGROUND_SWAP",
            float,
            0.0,
            "Probability that what lies outside the sector is taken from another video (BackMix).",
            bounds=[SHARE],
        ),
        Key(
            "AUG.OUTLIERS",
            list[str],
            list(OUTLIERS),
            "Kinds of synthetic outliers ([architecture.md](architecture.md)); empty: none are made.",
            choices=OUTLIERS,
            no_effect=[
                NOT_NEGATION,
                NoEffect(lambda c: c.TRAIN.OUTLIER_WEIGHT == 0, "TRAIN.OUTLIER_WEIGHT is 0"),
            ],
        ),
        Key(
            "AUG.SCALES",
            list[float],
            [1.0, 0.875, 0.75, 0.66],
            "Sides of the random crop as shares of a frame's short side.",
            bounds=[SCALES],
        ),
    ),
)
