"""From yaml files and `--opts` to a configuration: BASE files, types of values, what overrules what."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from echoviewclip.utils.config.batches import settle_batches
from echoviewclip.utils.config.checks import check, check_words
from echoviewclip.utils.config.kinds import typed
from echoviewclip.utils.config.published import count_names, translate_published, unset_implied_views
from echoviewclip.utils.config.schema import KEYS, default_config, value_of
from echoviewclip.utils.errors import UserError, quoted, shortened
from echoviewclip.utils.files import find_own
from echoviewclip.utils.yaml_text import read_yaml, read_yaml_file

MAX_FILES = 64  # that a configuration may consist of


def load_config(
    file: str | Path | None, overrides: Sequence[tuple[str, Any]] = (), carried: str | None = None
) -> CfgNode:
    """Reads a yaml file with its BASE files, then `overrides` of (dotted key, value); checks and freezes the result.

    The package's own file serves where `file` is not there (`find_own`). Strings in overrides are parsed as yaml where
    the key is not itself a string. What neither sets is as in `carried`, the configuration that a checkpoint carries
    (`config.dump()`), or else the default. Raises UserError.
    """
    config = _merged(file, overrides, carried)
    translate_published(config)
    count_names(config)
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
    pairs = [(name, value_of(before, name), value_of(config, name)) for name in KEYS if name not in _OF_A_START]
    return [f"{name} {old!r} → {new!r}" for name, old, new in pairs if old != new]


def given_keys(file: str | Path | None, overrides: Sequence[tuple[str, Any]]) -> frozenset[str]:
    """The keys that the user sets: by `overrides`, and in the yaml file itself, not under its BASE.

    A run's config.yaml gives none: it holds every key, whoever set it. Raises UserError.
    """
    tree = _keys(read_yaml_file(find_own(file)), str(file)) if file is not None else {}
    written_by_a_run = tree.get("BASE") == KEYS["BASE"].default  # only `config.dump()` writes it
    return frozenset(name for name, _ in overrides) | frozenset(() if written_by_a_run else _names(tree))


def _names(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of what a yaml file sets."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


_OF_A_START = ("BASE", "OUTPUT", "DEVICE", "MODEL.RESUME", "TRAIN.AUTO_RESUME", "TEST.ONLY_TEST")


def _merged(file: str | Path | None, overrides: Sequence[tuple[str, Any]], carried: str | None = None) -> CfgNode:
    """Defaults, a checkpoint's configuration, a yaml file and overrides, each over the one before; not checked."""
    config = default_config()
    if carried is not None:
        where = "the checkpoint's configuration"
        _merge_tree(config, _keys(read_yaml(carried, where), where), "", where)
        unset_implied_views(config)
    use = config.TRAINER.ViFi_CLIP
    pair = config.STAGE, use.USE  # one follows from the other, so that whoever sets one of them sets both
    config.STAGE = use.USE = ""
    if file is not None:
        for number, (where, tree) in enumerate(_trees(find_own(file), seen=())):
            if number == MAX_FILES:
                raise UserError(f"{file}: BASE leads to more than {MAX_FILES} files")
            _merge_tree(config, tree, "", where)
            settle_batches(config, set(_names(tree)), where)
        unset_implied_views(config)
    for key, value in overrides:
        _set(config, key, value, where="command line")
    settle_batches(config, {key for key, _ in overrides}, "command line")
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
    for base in filter(None, typed(tree.pop("BASE", None) or [], KEYS["BASE"].kind, "BASE", str(file))):
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
    node[key] = typed(value, KEYS[name].kind, name, where)


def unknown_option(words: Sequence[str]) -> str:
    """What is wrong with the words of a command line that no option takes: the setting that was probably meant."""
    option, _, value = words[0].partition("=")
    if not option.startswith("-"):
        return f"{option!r} belongs to no option; --help lists them"
    value = value or next((word for word in words[1:2] if not word.startswith("-")), "VALUE")
    last = f".{option.lstrip('-').replace('-', '_').upper()}"
    settings = " or ".join(f"--opts {key} {value}" for key in KEYS if key.upper().endswith(last))
    return f"no option {option}; " + (f"the setting is {settings}" if settings else "--help lists them")


def _similar(name: str) -> str:
    """What to do about an unknown key: the one that was probably meant, be it only in another group or case."""
    known = {key.upper(): key for key in [*KEYS, *default_config()]}
    last = f".{name.upper().split('.')[-1]}"
    near = [key for key in known if key.endswith(last)] or difflib.get_close_matches(name.upper(), known, 1, 0.75)
    return f"; did you mean {known[near[0]]}?" if near else "; docs/config.md lists every key"
