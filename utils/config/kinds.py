"""A value of yaml or of the command line as the type of its key."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import GenericAlias
from typing import Any, get_args

from echoviewclip.utils.errors import UserError, quoted

MAX_NUMBER = (1 << 63) - 1  # of a whole number
WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", list: "a list"}


def typed(value: Any, kind: type | GenericAlias, name: str, where: str) -> Any:
    """`value` as `kind`, a list of one item where a list is expected. Raises UserError.

    Yaml 1.1 leaves `1e-3` a string, which is the float it says.
    """
    if isinstance(kind, GenericAlias):
        (item_kind,) = get_args(kind)
        if isinstance(value, dict):
            raise _wrong(value, list, name, where)
        if not isinstance(value, list | tuple):
            return [typed(value, item_kind, name, where)]
        return [typed(item, item_kind, f"{name}[{i}]", where) for i, item in enumerate(value)]
    found = READ[kind](value)
    if found is None:
        raise _wrong(value, kind, name, where)
    return found


def _wrong(value: Any, kind: type, name: str, where: str) -> UserError:
    return UserError(f"{where}: {name} must be {WORDS[kind]}, found {quoted(value)}")


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if not isinstance(value, int):
        number = _number(value)
        if number is None or number != int(number):
            return None
        value = int(number)
    return value if abs(value) <= MAX_NUMBER else None


def _number(value: Any) -> float | None:
    """None where it is not finite, too."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str | None:
    """None where no file could hold it, too: zero bytes, halves of characters, endless numbers."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        text = str(value)
        text.encode()
    except ValueError:
        return None
    return None if "\0" in text else text


READ: dict[type, Callable[[Any], Any]] = {bool: _switch, int: _whole, float: _number, str: _text}
