"""Every setting takes effect in every stage and variant, or the run says that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from echoviewclip.clip.pyramid import ConvolutionBlock
from echoviewclip.datasets.configured import training_data
from echoviewclip.inference.precision import Precision
from echoviewclip.models.build import build_model, configured_towers
from echoviewclip.trainers.data import read_list
from echoviewclip.trainers.loop import Trainer
from echoviewclip.trainers.stages import build_stage
from echoviewclip.utils.config import given_keys, without_effect
from echoviewclip.utils.config.schema import KEYS
from echoviewclip.utils.progress import Progress
from echoviewclip.utils.stopping import Stop
from tests.tiny_data import STAGES, VIEWS, assert_same, configure, tiny

TOKENS = {"TRAINER__ViFi_CLIP__PROMPT_MODEL": True, "TRAINER__ViFi_CLIP__PROMPT_DEPTH_VISION": 4}

# Settings that change what a training computes: name → another value, and what else has to be set for it.
COMPUTED: dict[str, tuple[object, dict]] = {
    "SEED": (7, {}),
    "DATA.TRAIN_FILE": ("other.txt", {}),
    "DATA.INPUT_SIZE": (16, {}),
    "DATA.NUM_FRAMES": (3, {}),
    "DATA.SAMPLING": ("stride", {"DATA__STRIDE_SECONDS": 0.001}),
    "DATA.STRIDE_SECONDS": (0.001, {}),
    "DATA.SAMPLER": ("balanced", {}),
    "MODEL.SHARED_BLOCKS": (1, {}),
    "MODEL.POOLING": ("transformer", {}),
    "MODEL.QUALITY_HEAD": ("corn", {}),
    "MODEL.QUALITY_VIEWS": (True, {}),
    "MODEL.DROP_PATH_RATE": (0.9, {}),
    "MODEL.FIX_TEXT": (True, {}),
    "TRAINER.ViFi_CLIP.PROMPT_MODEL": (True, {"TRAINER__ViFi_CLIP__PROMPT_DEPTH_VISION": 4}),
    "TRAINER.ViFi_CLIP.N_CTX_VISION": (3, {}),
    "TRAINER.ViFi_CLIP.N_CTX_TEXT": (3, {}),
    "TRAINER.ViFi_CLIP.PROMPT_DEPTH_VISION": (3, {}),
    "TRAINER.ViFi_CLIP.PROMPT_DEPTH_TEXT": (2, {}),
    "TRAINER.ViFi_CLIP.CTX_INIT": ("an echocardiogram of", {}),
    "TRAINER.ViFi_CLIP.CTX_INIT_NO": ("an echocardiogram without any", {}),
    "TRAINER.ViFi_CLIP.ZS_EVAL": (True, {}),
    "TRAIN.WEIGHT_DECAY": (0.5, {}),
    "TRAIN.DECAY_ALL": (True, {"TRAIN__WEIGHT_DECAY": 0.5}),
    "TRAIN.LR": (1e-2, {}),
    "TRAIN.BATCH_SIZE": (3, {}),
    "TRAIN.ACCUMULATION_STEPS": (2, {}),
    "TRAIN.GLOBAL_BATCH": (4, {}),
    "TRAIN.EPOCHS": (2, {}),
    "TRAIN.WARMUP_EPOCHS": (0.5, {}),
    "TRAIN.LR_SCHEDULER": ("constant", {}),
    "TRAIN.OPTIMIZER": ("sgd", {}),
    "TRAIN.OPT_LEVEL": ("O0", {}),
    "TRAIN.CLIP_GRAD": (1e-3, {"TRAIN__OPTIMIZER": "sgd"}),
    "TRAIN.EMA_DECAY": (0.9, {}),
    "TRAIN.OPPOSITE_WEIGHT": (9.0, {}),
    "TRAIN.NEGATION_LOSS": ("class", {}),
    "TRAIN.OUTLIER_WEIGHT": (9.0, {}),
    "TRAIN.ORDINAL_LOSS": ("score", {}),
    "TRAIN.ORDINAL_WEIGHT": (9.0, {}),
    "AUG.LABEL_SMOOTH": (0.5, {}),
    "AUG.MIXUP": (0.8, {}),
    "AUG.CUTMIX": (1.0, {}),
    "AUG.MIXUP_SWITCH_PROB": (1.0, {"AUG__MIXUP": 0.8, "AUG__CUTMIX": 1.0}),
    "AUG.COLOR_JITTER": (1.0, {}),
    "AUG.GRAY_SCALE": (1.0, {"AUG__COLOR_JITTER": 1.0}),
    "AUG.FLIP": (1.0, {}),
    "AUG.ERASING": (1.0, {}),
    "AUG.OUTLIERS": (["turned"], {}),
    "AUG.SCALES": ([0.5], {}),
}
# Where the rest shows: in files, times or the evaluation, by tests of their own.
ELSEWHERE = {
    "tests/utils/test_config.py": ["BASE", "STAGE", "TRAINER.ViFi_CLIP.USE", "TEST.NUM_CLIP", "TEST.NUM_CROP"],
    "tests/trainers/test_run_files.py": ["OUTPUT", "PRINT_FREQ", "TRAIN.AUTO_RESUME", "TRAIN.SAVE_STEPS"],
    "tests/utils/test_stopping.py": ["TRAIN.SAVE_MINUTES"],
    "tests/datasets/video/test_time_limit.py": ["DATA.TIMEOUT"],
    "tests/datasets/video/test_reading.py": ["TRAIN.TIMEOUT"],
    "tests/datasets/remote/test_downloads.py": ["DATA.DOWNLOAD_FOLDER", "DATA.DOWNLOAD_LIMIT"],
    "tests/utils/test_boundary.py": ["DATA.ROOT", "DATA.ALLOW_OUTSIDE"],
    "tests/trainers/test_training.py": ["DATA.QUALITY_TARGET"],
    "tests/trainers/test_epochs.py": ["SAVE_FREQ", "EVAL_FREQ"],
    "tests/trainers/test_feature_cache.py": ["TRAIN.CACHE_FEATURES", "TRAIN.CACHE_DRAWS", "TRAIN.CACHE_DTYPE"],
    "tests/trainers/test_cache_files.py": ["TRAIN.CACHE_LIMIT", "TRAIN.CACHE_FOLDER"],
    "tests/trainers/test_bad_steps.py": ["TRAIN.MAX_BAD_STEPS"],
    "tests/datasets/test_unreadable_videos.py": ["DATA.MAX_BAD_FRACTION"],
    "tests/trainers/test_training_from_shards.py": ["DATA.SHUFFLE_BUFFER"],
    "tests/datasets/test_background.py": ["AUG.BACKGROUND_SWAP"],
    "tests/trainers/test_distributed.py": ["DEVICE"],
    "tests/trainers/test_parallel.py": ["TRAIN.SHARD"],
    "tests/datasets/test_label_names.py": [
        *("DATA.NUM_CLASSES", "DATA.NUM_QUALITIES", "DATA.LABEL_LIST", "DATA.QUALITY_LIST"),
    ],
    "tests/trainers/test_evaluation.py": [
        *("DATA.VAL_FILE", "DATA.OOD_FILE", "DATA.DATASET", "TEST.ONLY_TEST", "TEST.MULTI_VIEW_INFERENCE"),
        *("TEST.SCORE", "TEST.FIT_FEATURES", "TEST.ACCEPT_RATE", "TEST.BOOTSTRAP_DRAWS", "TEST.PARQUET_ABOVE"),
    ],
    "tests/trainers/test_explained.py": ["TEST.EXPLAIN"],
    "tests/trainers/test_evaluation_by_group.py": ["TEST.GROUPS"],
    "tests/trainers/test_defects.py": ["MODEL.DEFECTS"],
    "tests/clip/test_compiled.py": ["TRAIN.COMPILE"],
    "tests/trainers/test_trackers.py": ["LOG.BACKENDS", "LOG.PROJECT"],
    "tests/models/test_drop_black.py": ["MODEL.DROP_BLACK"],
    "tests/clip/test_clip_weights.py": ["MODEL.ARCH", "MODEL.PRETRAINED", "MODEL.QUICK_GELU"],
    "tests/utils/test_checkpoint.py": ["MODEL.RESUME", "MODEL.VARIANT"],
    "the same answers by design": ["DATA.DECODER", "DATA.RESIZE", "DATA.NUM_WORKERS", "TRAIN.USE_CHECKPOINT"],
}


def test_every_setting_is_in_the_table():
    elsewhere = [name for names in ELSEWHERE.values() for name in names]
    assert sorted([*COMPUTED, *elsewhere]) == sorted(KEYS)
    assert all(Path(file).is_file() for file in ELSEWHERE if file.startswith("tests/"))


@pytest.mark.parametrize("file", sorted(Path("configs").glob("*/*.yaml")), ids=str)
def test_our_configurations_set_nothing_without_effect(file):
    assert without_effect(configure(str(file), ()), given_keys(file, ())) == []


@pytest.mark.parametrize(
    ("stage", "setting", "said"),
    [
        (
            "negation",
            {"AUG__LABEL_SMOOTH": 0.3},
            ["AUG.LABEL_SMOOTH 0.3 has no effect: TRAIN.NEGATION_LOSS clipn is a yes"],
        ),
        ("negation", {"AUG__LABEL_SMOOTH": 0.3, "TRAIN__NEGATION_LOSS": "class"}, []),
        ("negation", {"AUG__LABEL_SMOOTH": 0.0}, []),
        (
            "view",
            {"TRAIN__OUTLIER_WEIGHT": 0.7},
            ["TRAIN.OUTLIER_WEIGHT 0.7 has no effect: it belongs to stage negation"],
        ),
        ("view", TOKENS, ["TRAIN.WEIGHT_DECAY 0.05 has no effect: prompt tokens, which alone train, do not decay"]),
        ("view", TOKENS | {"TRAIN__DECAY_ALL": True}, []),
        (
            "view",
            {"TRAIN__DECAY_ALL": True, "TRAIN__WEIGHT_DECAY": 0.0},
            ["TRAIN.DECAY_ALL True has no effect: TRAIN.WEIGHT_DECAY is 0"],
        ),
        ("quality", {"MODEL__FIX_TEXT": True}, ["MODEL.FIX_TEXT True has no effect: no text trains"]),
    ],
)
def test_a_setting_without_effect_is_said(tiny_folder, tmp_path, stage, setting, said):
    sentences = without_effect(tiny(tiny_folder, tmp_path, stage, **setting))
    assert len(sentences) == len(said)
    assert all(sentence.startswith(start) for sentence, start in zip(sentences, said, strict=True))


def computed(data: Path, output: Path, variant: str, stage: str, **settings) -> tuple[dict, list[str]]:
    """What a stage learns in an epoch from random weights, and what the log would say before it."""
    config = tiny(
        data, output, stage, MODEL__VARIANT=variant, TRAIN__EPOCHS=settings.pop("TRAIN__EPOCHS", 1), **settings
    )
    torch.manual_seed(config.SEED)
    model = build_model(config, VIEWS, configured_towers(config, overwritten=True))
    for block in model.modules():
        if isinstance(block, ConvolutionBlock):  # it begins as its shortcut, which looks at one corner of the picture
            torch.nn.init.ones_(block.norm2.weight)
    made = build_stage(config)
    made.prepare(model)
    precision = Precision(config.TRAIN.OPT_LEVEL, model, torch.device("cpu"))
    data = training_data(config, read_list(config, config.DATA.TRAIN_FILE, "DATA.TRAIN_FILE"))
    trainer = Trainer(config, made, model, precision, data, evaluator=None, origin=None, stop=Stop())
    trainer._train_epoch(Progress("train", 1))
    return precision.weights(model) | {f"average {k}": v for k, v in trainer._averages().items()}, without_effect(
        config
    )


def same(first, second) -> bool:
    try:
        assert_same(first, second)
    except AssertionError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("name", COMPUTED)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_a_setting_changes_the_training_or_is_said_to_have_no_effect(tiny_folder, tmp_path, variant, stage, name):
    if variant == "released" and name in ("MODEL.POOLING", "MODEL.QUALITY_HEAD", "MODEL.QUALITY_VIEWS"):
        pytest.skip("refused by utils/config/checks.py")
    if (variant, stage, name) == ("released", "view", "TRAINER.ViFi_CLIP.CTX_INIT_NO"):
        pytest.skip("the positive prompts are run up to the longest end of both, which changes their rounding")
    (tmp_path / "other.txt").write_text("".join(f"clip {number}.avi {number % 3}\n" for number in range(4)))
    other, beside = COMPUTED[name]
    if name == "DATA.TRAIN_FILE":
        other = str(tmp_path / other)
    key = name.replace(".", "__")
    before, _ = computed(tiny_folder, tmp_path, variant, stage, **beside)
    after, said = computed(tiny_folder, tmp_path, variant, stage, **beside, **{key: other})
    assert same(after, before) == any(sentence.startswith(f"{name} {other} has no effect: ") for sentence in said)
