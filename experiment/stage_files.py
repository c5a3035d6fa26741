"""Choices as yaml files that people read and edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from echoviewclip.experiment.choices import Choice
from echoviewclip.utils.config import load_config
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import write_text

TITLES = {
    "view": "Stage 1: which view a video shows.",
    "negation": "Stage 2: whether it shows one of them at all.",
    "quality": "Stage 3: how good the image is.",
}
WIDTH = 120


def write_stage_files(folder: Path, stages: Mapping[str, Sequence[Choice]], head: Sequence[str]) -> list[Path]:
    """Writes STAGE.yaml of each stage into `folder`, those after the first on top of it; returns the files.

    `head` are lines of comment for the first. Raises UserError where one is there already.
    """
    files = [folder / f"{stage}.yaml" for stage in stages]
    for file in files:
        if file.exists():
            raise UserError(f"{file}: is there already, perhaps with edits; remove it or name another --output")
    for file, (stage, choices) in zip(files, stages.items(), strict=True):
        first = file == files[0]
        comments = [TITLES[stage], *(head if first else [])]
        base = [] if first else [Choice("BASE", [files[0].name])]
        lines = [f"# {line}".rstrip() for line in comments] + _lines(_tree([*base, *choices]), "")
        write_text(file, "\n".join(lines) + "\n")
    for file in files:
        load_config(file)
    return files


def _tree(choices: Sequence[Choice]) -> dict[str, Any]:
    """Choices by the parts of their keys, groups after plain keys."""
    tree: dict[str, Any] = {}
    for choice in choices:
        *groups, name = choice.key.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[name] = choice
    return dict(sorted(tree.items(), key=lambda item: isinstance(item[1], dict)))


def _lines(tree: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, f"{indent}  ")]
            continue
        line = f"{indent}{name}: {_scalar(value.value)}"
        if value.why and len(line) + len(value.why) + 4 > WIDTH:
            lines.append(f"{indent}# {value.why}")
        elif value.why:
            line += f"  # {value.why}"
        lines.append(line)
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < value < 1e-2 else repr(value)  # yaml 1.1 reads 1e-3 as text
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000).removesuffix("...\n").strip()


def read_head(file: Path) -> list[str]:
    """The lines of comment that a stage's file begins with, up to the first that is empty, without its title."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.removeprefix("#").strip() or not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return lines[1:]
