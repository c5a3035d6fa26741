"""Keys of TEST: how videos are evaluated, and which are rejected."""

from __future__ import annotations

from echoviewclip.utils.config.choices import FITTED_SCORES, SCORES
from echoviewclip.utils.config.key import Bound, Key, NoEffect, Section, at_least

ABOVE_0 = Bound("above 0, up to 1", "lie above 0 and up to 1", lambda share: 0 < share <= 1)

NO_NAMES = Bound(
    "not `path`, not `patient`",
    "name neither path nor patient, which figures and pages do not name",
    lambda columns: not {"path", "patient"} & {name.strip().lower() for name in columns},
)

TEST = Section(
    "TEST",
    "Evaluation and rejection ([evaluation.md](evaluation.md)).",
    (
        Key("TEST.ONLY_TEST", bool, False, "Evaluate MODEL.RESUME and stop."),
        Key(
            "TEST.EXPLAIN",
            bool,
            False,
            "Show in the report what spoke for and against the views of its worst videos (`--explain`).",
            no_effect=[
                NoEffect(
                    lambda c: not c.TEST.ONLY_TEST,
                    "a training explains nothing: evaluate its checkpoint with --only_test --explain",
                    "TEST.ONLY_TEST is off",
                )
            ],
        ),
        Key("TEST.NUM_CLIP", int, 1, "Clips of a video, spread over time.", bounds=[at_least(1)]),
        Key("TEST.NUM_CROP", int, 1, "Crops of a clip: the centre, or three along the long side.", choices=(1, 3)),
        Key(
            "TEST.MULTI_VIEW_INFERENCE",
            bool,
            False,
            "4 clips of 3 crops each.",
            no_effect=[
                NoEffect(
                    lambda c: not c.TEST.NUM_CLIP == c.TEST.NUM_CROP == 1,
                    "TEST.NUM_CLIP and TEST.NUM_CROP say otherwise",
                    "TEST.NUM_CLIP or TEST.NUM_CROP is not 1",
                )
            ],
        ),
        Key(
            "TEST.SCORE",
            str,
            "relative_mahalanobis",
            "Out-of-distribution score by which a video is rejected.",
            choices=SCORES + FITTED_SCORES,
        ),
        Key(
            "TEST.FIT_FEATURES",
            bool,
            False,
            "Compute the scores by distance where TEST.SCORE is none of them, too, and in stage view.",
            no_effect=[
                NoEffect(
                    lambda c: c.STAGE == "quality",
                    "stage quality keeps the scores of the stages before",
                    "the stage is quality",
                ),
                NoEffect(
                    lambda c: c.STAGE == "negation" and c.TEST.SCORE in FITTED_SCORES,
                    "stage negation fits TEST.SCORE anyway",
                    f"the stage is negation and TEST.SCORE is one of {', '.join(FITTED_SCORES)}",
                    also_off=True,
                ),
            ],
        ),
        Key(
            "TEST.ACCEPT_RATE",
            float,
            0.95,
            "Share of the validation videos that the threshold accepts.",
            bounds=[ABOVE_0],
        ),
        Key(
            "TEST.BOOTSTRAP_DRAWS",
            int,
            1000,
            "Draws of patients behind each interval of 95 %; 0: no intervals.",
            bounds=[at_least(0)],
        ),
        Key(
            "TEST.GROUPS",
            list[str],
            [],
            "Columns of the evaluated lists, say `[site, machine]`, by whose values figures are given, too "
            "([evaluation.md](evaluation.md#by-group)). Their values are shown.",
            bounds=[NO_NAMES],
        ),
        Key(
            "TEST.PARQUET_ABOVE",
            int,
            1_000_000,
            "Videos above which predictions are written as `predictions.parquet`, which needs pyarrow, and not as CSV.",
            bounds=[at_least(0)],
        ),
    ),
)
