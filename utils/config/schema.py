"""Every key of the configuration, once: what defaults, typed reading, checks and docs/config.md are derived from."""

from __future__ import annotations

import copy
from typing import Any

from yacs.config import CfgNode

from echoviewclip.utils.config.key import Key
from echoviewclip.utils.config.sections.aug import AUG
from echoviewclip.utils.config.sections.data import DATA
from echoviewclip.utils.config.sections.log import LOG
from echoviewclip.utils.config.sections.model import MODEL
from echoviewclip.utils.config.sections.run import RUN
from echoviewclip.utils.config.sections.test import TEST
from echoviewclip.utils.config.sections.train import TRAIN
from echoviewclip.utils.config.sections.trainer import TRAINER

SECTIONS = (RUN, DATA, MODEL, TRAINER, TRAIN, AUG, TEST, LOG)
KEYS: dict[str, Key] = {key.name: key for section in SECTIONS for key in section.keys}


def default_config() -> CfgNode:
    """A new tree of every key with its default."""
    config = CfgNode()
    for key in KEYS.values():
        *groups, last = key.name.split(".")
        node = config
        for group in groups:
            node = node.setdefault(group, CfgNode())
        node[last] = copy.copy(key.default)
    return config


def value_of(config: CfgNode, name: str) -> Any:
    """The value of a dotted key."""
    node = config
    for part in name.split("."):
        node = node[part]
    return node
