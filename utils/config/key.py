"""What a key of the configuration is: name, type, default, meaning, values that it may have, when it has no effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import GenericAlias
from typing import Any

from yacs.config import CfgNode

from echoviewclip.utils.errors import UserError, quoted


@dataclass(frozen=True)
class Bound:
    """A condition on the value of a key: how the reference shows it, `must …` in a message, and whether it holds."""

    shown: str
    must: str
    holds: Callable[[Any], bool]


def at_least(least: int) -> Bound:
    """The bound of numbers from `least` on."""
    return Bound(f"≥ {least}", f"be at least {least}", lambda number: number >= least)


SHARE = Bound("0 to 1", "lie between 0 and 1", lambda number: 0 <= number <= 1)


@dataclass(frozen=True)
class NoEffect:
    """When a key changes nothing in a training.

    Attributes:
        applies: whether it changes nothing under a configuration.
        reason: why, as the log says it after `KEY VALUE has no effect: `.
        condition: when, as the reference says it after `no effect when`; the reason where that says it.
        also_off: also for 0, False and empty, which usually are what happens anyway and need no word.
    """

    applies: Callable[[CfgNode], bool]
    reason: str
    condition: str = ""
    also_off: bool = False


@dataclass(frozen=True)
class Key:
    """A key of the configuration.

    Attributes:
        name: dotted, as published where the published code has it.
        kind: bool, int, float, str, or a list of one of them.
        default: its value where nothing sets it.
        meaning: one sentence for the reference, with the unit.
        choices: the values that it, or each item of a list, may have; empty: any.
        bounds: conditions on its value.
        no_effect: when it changes nothing; the first that applies is said.
    """

    name: str
    kind: type | GenericAlias
    default: Any
    meaning: str
    choices: Sequence[Any] = ()
    bounds: Sequence[Bound] = ()
    no_effect: Sequence[NoEffect] = ()

    def check(self, value: Any) -> None:
        """Raises UserError where the value, of the key's type, is none that the key may have."""
        for item in value if isinstance(value, list) else [value]:
            if self.choices and item not in self.choices:
                raise UserError(f"{self.name} must be one of {', '.join(map(str, self.choices))}; found {quoted(item)}")
        for bound in self.bounds:
            if not bound.holds(value):
                raise UserError(f"{self.name} must {bound.must}; found {value}")


@dataclass(frozen=True)
class Section:
    """Keys that belong together: the name of their group (empty: the top), what they are about, and the keys."""

    name: str
    about: str
    keys: Sequence[Key]
