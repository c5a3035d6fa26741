"""Every setting, its default and its meaning; and the typed layer that reads yaml files and `--opts` into them.

The keys are those of the published EchoViewCLIP (and so of ViFi-CLIP and X-CLIP) plus a few of our own. Reading is
strict: an unknown key, a value of the wrong type or a setting that contradicts another is a `UserError`.
"""

from __future__ import annotations

import difflib
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from utils.bounds import OUTLIERS, STAGE_OF_USE, check, check_words, one_of
from utils.bounds import value as value_of
from utils.errors import UserError, quoted, shortened
from utils.label_list import read_names
from utils.yaml_text import read_yaml, read_yaml_file

MAX_FILES = 64  # that a configuration may consist of
MAX_NUMBER = (1 << 63) - 1  # of a setting that is a whole number


def default_config() -> CfgNode:
    """A fresh tree of every key with its default."""
    c = CfgNode()
    c.BASE = [""]  # yaml files read before this one, relative to it
    c.STAGE = ""  # view | negation | quality; empty: derived from TRAINER.ViFi_CLIP.USE
    c.OUTPUT = "output"  # folder of the run: config, log, metrics, checkpoints, report
    c.SEED = 1024  # all randomness is a function of it
    c.SAVE_FREQ = 1  # keep ckpt_epoch_N.pth every so many epochs (0: only last.pth and best.pth)
    c.EVAL_FREQ = 1  # evaluate every so many epochs, and after the last
    c.PRINT_FREQ = 50  # log a line every so many batches
    c.DEVICE = "auto"  # auto | cpu | cuda

    c.DATA = CfgNode()
    c.DATA.ROOT = ""  # folder that holds `videos/` and the lists (Standard Folder, docs/data.md)
    c.DATA.TRAIN_FILE = ""  # list of training videos
    c.DATA.VAL_FILE = ""  # list of validation videos
    c.DATA.OOD_FILE = ""  # list of videos that belong to no class; several lists separated by commas
    c.DATA.DATASET = "ultracls"  # name of the data set, in the log and the report
    c.DATA.INPUT_SIZE = 224  # side of the square that the model sees, pixels
    c.DATA.NUM_FRAMES = 16  # frames of a clip
    c.DATA.NUM_CLASSES = 0  # views; 0: as many as LABEL_LIST names, else it must agree
    c.DATA.NUM_QUALITIES = 0  # grades; 0: as many as QUALITY_LIST names, else it must agree
    c.DATA.LABEL_LIST = "labels/ultracls.csv"  # id,name of each view
    c.DATA.QUALITY_LIST = "labels/quality.csv"  # id,name of each grade, worst first
    c.DATA.QUALITY_TARGET = "grade"  # grade: a class per video | score: a float in [0, 1] per video
    c.DATA.DECODER = "pyav"  # pyav | torchcodec | decord
    c.DATA.SAMPLING = "uniform"  # uniform: one frame a segment | stride: fixed seconds | cycle: one heart cycle
    c.DATA.STRIDE_SECONDS = 0.04  # time between frames with SAMPLING stride
    c.DATA.RESIZE = "worker"  # where clips are cut and resized: worker | device (whole frames travel, cores rest)
    c.DATA.MAX_BAD_FRACTION = 0.01  # a larger share of unreadable videos in an epoch stops the training
    c.DATA.TIMEOUT = 300.0  # seconds for reading one video; one that takes longer is unreadable (0: any time)
    c.DATA.ALLOW_OUTSIDE = False  # lists may name videos outside ROOT: absolute paths, links that lead out
    c.DATA.NUM_WORKERS = 4  # reading processes for each training process

    c.MODEL = CfgNode()
    c.MODEL.ARCH = "ViT-B/16"  # ViT-B/32 | ViT-B/16 | ViT-L/14 | ViT-L/14@336px | tiny
    c.MODEL.VARIANT = "paper"  # paper | released (loads checkpoints of the published code)
    c.MODEL.PRETRAINED = ""  # openai | an open_clip tag | hf-hub:NAME | a file | empty: random weights
    c.MODEL.QUICK_GELU = True  # activation of OpenAI's weights; False for a local file of LAION's (a tag knows its own)
    c.MODEL.RESUME = ""  # checkpoint to continue, grow from, or evaluate
    c.MODEL.SHARED_BLOCKS = 8  # blocks of the image tower that all branches share
    c.MODEL.POOLING = "attention"  # over time: attention (mean and attention) | mean | transformer (before attention)
    c.MODEL.QUALITY_HEAD = "softmax"  # grade probabilities: softmax | corn (a step to each better grade)
    c.MODEL.QUALITY_VIEWS = False  # the quality head sees the probabilities of the views
    c.MODEL.DROP_PATH_RATE = 0.0  # stochastic depth of clips, rising linearly to this (below 1) at the last block
    c.MODEL.FIX_TEXT = False  # keep the text towers as they are

    c.TRAINER = CfgNode()
    c.TRAINER.ViFi_CLIP = CfgNode()
    p = c.TRAINER.ViFi_CLIP
    p.PROMPT_MODEL = False  # learn prompt tokens in both towers and nothing else
    p.N_CTX_VISION = 16  # learnable tokens of the image tower
    p.N_CTX_TEXT = 16  # learnable tokens of the text tower
    p.PROMPT_DEPTH_VISION = 0  # layers of the image tower that get their own tokens
    p.PROMPT_DEPTH_TEXT = 1  # layers of the text tower that get their own tokens (at least 1)
    p.CTX_INIT = ""  # words before the class name, or a template with {view}; empty: the variant's own
    p.CTX_INIT_NO = ""  # the same for the negative prompts
    p.USE = "both"  # view: both | image | text (what trains); no_text: negation; quality: quality
    p.ZS_EVAL = False  # plain CLIP zero-shot with the bare class names

    c.TRAIN = CfgNode()
    c.TRAIN.EPOCHS = 30
    c.TRAIN.WARMUP_EPOCHS = 5.0  # learning rate rises linearly from 0 over these epochs
    c.TRAIN.WEIGHT_DECAY = 0.001  # not on biases, norms, positions and prompt tokens
    c.TRAIN.DECAY_ALL = False  # decay biases, norms, scalars and learnable tokens too, as the published code does
    c.TRAIN.LR = 8.0e-6  # peak learning rate
    c.TRAIN.BATCH_SIZE = 8  # videos a process and batch
    c.TRAIN.ACCUMULATION_STEPS = 1  # batches whose gradients make one optimiser step
    c.TRAIN.LR_SCHEDULER = "cosine"  # cosine (to a hundredth of LR) | constant
    c.TRAIN.OPTIMIZER = "adamw"  # adamw (betas 0.9, 0.98) | sgd (momentum 0.9)
    c.TRAIN.OPT_LEVEL = "O1"  # O0: float32 | O1: autocast | O2: half weights with float32 master weights
    c.TRAIN.CLIP_GRAD = 0.0  # largest norm of the gradient (0: not clipped)
    c.TRAIN.MAX_BAD_STEPS = 10  # optimiser steps in a row without a finite loss and gradient that stop the training
    c.TRAIN.EMA_DECAY = 0.0  # moving average of the weights, evaluated and saved in their place (0: off)
    c.TRAIN.USE_CHECKPOINT = False  # recompute activations in the backward pass: less memory, a third more time
    c.TRAIN.AUTO_RESUME = False  # continue OUTPUT/last.pth if it is there
    c.TRAIN.SAVE_MINUTES = 10.0  # write last.pth within an epoch every so many minutes (0: at its end)
    c.TRAIN.TIMEOUT = 1800.0  # seconds that a process waits for another, or for a batch of videos, before it gives up
    c.TRAIN.SAVE_STEPS = 0  # and every so many optimiser steps (0: not)
    c.TRAIN.OPPOSITE_WEIGHT = 1.0  # weight of the text-semantic-opposite loss (negation)
    c.TRAIN.NEGATION_LOSS = "clipn"  # clipn: yes or no for each class | class: CE on −logits of the negative branch
    c.TRAIN.OUTLIER_WEIGHT = 0.5  # weight of the loss on synthetic outliers (negation; 0: none are made)
    c.TRAIN.ORDINAL_LOSS = "emd"  # emd: squared earth mover's distance between grades | score: of expected scores
    c.TRAIN.ORDINAL_WEIGHT = 1.0  # weight of that loss beside the cross-entropy (quality; 0: off)

    c.AUG = CfgNode()
    c.AUG.LABEL_SMOOTH = 0.1
    c.AUG.MIXUP = 0.8  # alpha of the Beta distribution (0: off)
    c.AUG.CUTMIX = 1.0  # alpha of the Beta distribution (0: off)
    c.AUG.MIXUP_SWITCH_PROB = 0.5  # how often CutMix where both are on
    c.AUG.COLOR_JITTER = 0.0  # probability; colour carries the class in Doppler, so off by default
    c.AUG.GRAY_SCALE = 0.0  # probability; off for the same reason
    c.AUG.FLIP = 0.0  # probability; left and right carry the class, so off by default
    c.AUG.ERASING = 0.0  # probability of painting a random patch of the sector
    c.AUG.BACKGROUND_SWAP = 0.0  # probability of taking what lies outside the sector from another video (BackMix)
    c.AUG.OUTLIERS = list(OUTLIERS)  # kinds of synthetic outliers (datasets/outliers.py; virtual ones are features)
    c.AUG.SCALES = [1.0, 0.875, 0.75, 0.66]  # crop sides as shares of the short side

    c.TEST = CfgNode()
    c.TEST.ONLY_TEST = False  # evaluate MODEL.RESUME and stop
    c.TEST.NUM_CLIP = 1  # temporal clips of a video
    c.TEST.NUM_CROP = 1  # crops of a clip: 1 (centre) or 3 along the long side
    c.TEST.MULTI_VIEW_INFERENCE = False  # 4 clips × 3 crops, unless NUM_CLIP or NUM_CROP say otherwise
    c.TEST.SCORE = "relative_mahalanobis"  # out-of-distribution score that accepts or rejects
    c.TEST.FIT_FEATURES = False  # scores by distance also where TEST.SCORE is not one, and in stage view
    c.TEST.ACCEPT_RATE = 0.95  # share of validation videos that the threshold accepts, above 0
    return c


def load_config(
    file: str | Path | None, overrides: Sequence[tuple[str, Any]] = (), carried: str | None = None
) -> CfgNode:
    """Reads a yaml file with its BASE files, then `overrides` of (dotted key, value); checks and freezes the result.

    Strings in overrides are parsed as yaml where the key is not itself a string. What neither sets is as in `carried`,
    the configuration that a checkpoint carries (`config.dump()`), or else the default. Raises UserError.
    """
    config = _merged(file, overrides, carried)
    _translate_published(config)
    _count_names(config)
    check(config)
    if carried is None:  # checkpoints may have been trained with words that had no effect
        check_words(config)
    config.freeze()
    return config


def config_from_text(text: str, overrides: Sequence[tuple[str, Any]] = ()) -> CfgNode:
    """The inverse of `config.dump()`: the configuration that a checkpoint carries. Raises UserError."""
    return load_config(None, overrides, text)


def evaluated_checkpoint(file: str | Path | None, overrides: Sequence[tuple[str, Any]]) -> str:
    """The checkpoint that these settings evaluate (TEST.ONLY_TEST, MODEL.RESUME); empty where they train."""
    config = _merged(file, overrides)
    return config.MODEL.RESUME if config.TEST.ONLY_TEST else ""


def changed_settings(carried: str, config: CfgNode) -> list[str]:
    """`KEY old → new` of every setting that a configuration changes in the one that a checkpoint carries.

    Not those that say where a run is and how it starts.
    """
    before = config_from_text(carried)
    pairs = [
        (name, value_of(before, name), value_of(config, name)) for name in _names(config) if name not in _OF_A_START
    ]
    return [f"{name} {old!r} → {new!r}" for name, old, new in pairs if old != new]


_OF_A_START = ("BASE", "OUTPUT", "DEVICE", "MODEL.RESUME", "TRAIN.AUTO_RESUME", "TEST.ONLY_TEST")


def _merged(file: str | Path | None, overrides: Sequence[tuple[str, Any]], carried: str | None = None) -> CfgNode:
    """Defaults, a checkpoint's configuration, a yaml file and overrides, each over the one before; not checked."""
    config = default_config()
    if carried is not None:
        where = "the checkpoint's configuration"
        _merge_tree(config, _keys(read_yaml(carried, where), where), "", where)
        _count_views_as_said(config)
    use = config.TRAINER.ViFi_CLIP
    pair = config.STAGE, use.USE  # one follows from the other, so that whoever sets one of them sets both
    config.STAGE = use.USE = ""
    if file is not None:
        for number, (where, tree) in enumerate(_trees(Path(file), seen=())):
            if number == MAX_FILES:
                raise UserError(f"{file}: BASE leads to more than {MAX_FILES} files")
            _merge_tree(config, tree, "", where)
        _count_views_as_said(config)
    for key, value in overrides:
        _set(config, key, value, where="command line")
    if not config.STAGE and not use.USE:
        config.STAGE, use.USE = pair
    use.USE = use.USE or "both"
    return config


def _trees(file: Path, seen: tuple[Path, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a file and those under its BASE say, each with its place, in the order in which one overrules the other."""
    if not os.path.isfile(file):
        raise UserError(f"{file}: no such configuration file (-cfg, or BASE of another file)")
    if file.resolve() in seen:
        raise UserError(f"{file}: BASE includes the file itself")
    if len(seen) == MAX_FILES:
        raise UserError(f"{seen[0]}: BASE leads to more than {MAX_FILES} files")
    tree = _keys(read_yaml_file(file), str(file))
    for base in filter(None, _typed(tree.pop("BASE", None) or [], [""], "BASE", str(file))):
        yield from _trees(file.parent / base, (*seen, file.resolve()))
    yield str(file), tree


def _keys(tree: Any, where: str) -> dict[str, Any]:
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise UserError(f"{where}: expected keys and values, found {type(tree).__name__}")
    return tree


def _merge_tree(config: CfgNode, tree: dict[str, Any], prefix: str, where: str) -> None:
    for key, value in tree.items():
        key = key if isinstance(key, str) else quoted(key)
        if isinstance(config.get(key), CfgNode) and isinstance(value, dict):
            _merge_tree(config[key], value, f"{prefix}{key}.", where)
        else:
            _assign(config, key, value, prefix + shortened(key), where)


def _set(config: CfgNode, name: str, value: Any, where: str) -> None:
    if name == "BASE":
        raise UserError(f"{where}: BASE belongs in a yaml file; name that file with -cfg")
    *parents, key = name.split(".")
    node = config
    for parent in parents:
        node = node.get(parent) if isinstance(node, CfgNode) else None
    if not isinstance(node, CfgNode):
        raise UserError(f"{where}: unknown key {shortened(name)}{_similar(name)}")
    if isinstance(value, str) and not isinstance(node.get(key), str):
        try:
            value = read_yaml(value, where)
        except UserError:
            raise UserError(f"{where}: cannot read the value {quoted(value)}") from None
    _assign(node, key, value, shortened(name), where)


def _assign(node: CfgNode, key: str, value: Any, name: str, where: str) -> None:
    if key not in node:
        raise UserError(f"{where}: unknown key {name}{_similar(name)}")
    if isinstance(node[key], CfgNode):
        raise UserError(f"{where}: {name} is a group of keys, not a value; set one of its keys: {', '.join(node[key])}")
    node[key] = _typed(value, node[key], name, where)


def _typed(value: Any, default: Any, name: str, where: str) -> Any:
    """`value` as the type of `default`; yaml 1.1 leaves `1e-3` a string, which is the float it says."""
    kind = type(default)
    if kind is list and not isinstance(value, dict):
        items = value if isinstance(value, list | tuple) else [value]
        one = default[0] if default else ""  # the only list that may be empty is of names
        return [_typed(item, one, f"{name}[{i}]" if items is value else name, where) for i, item in enumerate(items)]
    if isinstance(value, bool) or kind is bool:
        if isinstance(value, bool) and kind is bool:
            return value
    elif kind is str and value is None:
        return ""
    elif kind is str and isinstance(value, str | int | float):
        if (text := _text(value)) is not None:
            return text
    elif kind is int and isinstance(value, int):
        if abs(value) <= MAX_NUMBER:
            return value
    elif kind in (int, float) and isinstance(value, str | int | float):
        try:
            number = float(value)
            if kind is float and math.isfinite(number):
                return number
            if kind is int and number == int(number) and abs(number) <= MAX_NUMBER:
                return int(number)
        except (ValueError, OverflowError):
            pass
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "text", list: "a list"}
    raise UserError(f"{where}: {name} must be {words[kind]}, found {quoted(value)}")


def _text(value: str | int | float) -> str | None:
    """A setting that is text; None where no file could hold it: zero bytes, halves of characters, endless numbers."""
    try:
        text = str(value)
        text.encode()
    except ValueError:
        return None
    return None if "\0" in text else text


def _similar(name: str) -> str:
    """What to do about an unknown key: the one that was probably meant, be it only in another group or case."""
    config = default_config()
    known = {key.upper(): key for key in [*_names(config), *config]}
    last = f".{name.upper().split('.')[-1]}"
    near = [key for key in known if key.endswith(last)] or difflib.get_close_matches(name.upper(), known, 1, 0.75)
    return f"; did you mean {known[near[0]]}?" if near else "; utils/config.py lists every key"


def _names(node: CfgNode, prefix: str = "") -> Sequence[str]:
    return [
        name
        for key, value in node.items()
        for name in (_names(value, f"{prefix}{key}.") if isinstance(value, CfgNode) else [prefix + key])
    ]


def _translate_published(config: CfgNode) -> None:
    """Gives the two published yaml files that say something else than they mean the meaning they have."""
    data = config.DATA
    if not config.STAGE:
        use = config.TRAINER.ViFi_CLIP.USE
        one_of("TRAINER.ViFi_CLIP.USE", use, tuple(STAGE_OF_USE))
        config.STAGE = STAGE_OF_USE[use]
    if config.STAGE == "quality" and Path(data.LABEL_LIST).name == Path(data.QUALITY_LIST).name:
        data.NUM_CLASSES, data.NUM_QUALITIES = data.NUM_QUALITIES, data.NUM_CLASSES
        data.QUALITY_LIST, data.LABEL_LIST = data.LABEL_LIST, default_config().DATA.LABEL_LIST
        _count_names(config)
        warnings.warn(
            "DATA: the published quality file calls the grades NUM_CLASSES and LABEL_LIST and the views "
            f"NUM_QUALITIES; read as NUM_QUALITIES {data.NUM_QUALITIES}, QUALITY_LIST {data.QUALITY_LIST}, "
            f"NUM_CLASSES {data.NUM_CLASSES}, LABEL_LIST {data.LABEL_LIST}",
            stacklevel=3,
        )


def _count_names(config: CfgNode) -> None:
    """Gives NUM_CLASSES and NUM_QUALITIES the numbers of names in their lists where they are not set."""
    data = config.DATA
    for count, names in (("NUM_CLASSES", "LABEL_LIST"), ("NUM_QUALITIES", "QUALITY_LIST")):
        data[count] = data[count] or len(read_names(data[names]))


def _count_views_as_said(config: CfgNode) -> None:
    """Takes back the 4 and 3 that earlier versions wrote beside MULTI_VIEW_INFERENCE True, which may now be unsaid."""
    test = config.TEST
    if test.MULTI_VIEW_INFERENCE and (test.NUM_CLIP, test.NUM_CROP) == (4, 3):
        test.NUM_CLIP, test.NUM_CROP = 1, 1
