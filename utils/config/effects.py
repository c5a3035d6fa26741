"""Settings that change nothing in the run at hand: whoever sets one is told so when the run begins."""

from __future__ import annotations

from collections.abc import Collection

from yacs.config import CfgNode

from echoviewclip.utils.config.schema import KEYS, value_of


def without_effect(config: CfgNode, given: Collection[str] = ()) -> list[str]:
    """A sentence for each setting of a training that changes nothing.

    Of the keys that are `given`, which the user set (`given_keys`), and of those that have another value than their
    default. Not of keys that are off (0, False or empty), where that is what happens anyway.
    """
    sentences = []
    for name, key in KEYS.items():
        value = value_of(config, name)
        rule = next((rule for rule in key.no_effect if rule.applies(config)), None)
        if rule and (value or rule.also_off) and (name in given or value != key.default):
            sentences.append(f"{name} {value} has no effect: {rule.reason}")
    return sentences
