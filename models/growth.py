"""How the model grows from stage to stage: what each adds to the checkpoint that it grows from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Growth:
    """Of one stage.

    Attributes:
        grows_from: the stage whose checkpoint it needs; None for the first.
        script: what trains it.
        adds: the branch that it adds; None for the first.
        branches: those that its model answers with, beside the positive one.
    """

    grows_from: str | None
    script: str
    adds: str | None
    branches: tuple[str, ...]


GROWTH = {
    "view": Growth(None, "train_stage1.sh", None, ()),
    "negation": Growth("view", "train_stage2.sh", "negative", ("negative",)),
    "quality": Growth("negation", "train_qc.sh", "quality", ("negative", "quality")),
}

# The modules of a branch that a stage adds, by the names that begin those of their weights.
BRANCHES = {"negative": ("negative.", "negative_text."), "quality": ("quality.",)}


def holds_branch(names: Iterable[str], branch: str) -> bool:
    """Whether the names of weights have any of a branch itself, whatever of its text."""
    return any(name.startswith(f"{branch}.") for name in names)
