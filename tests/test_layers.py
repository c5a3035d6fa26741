"""Imports point down: what each folder may import, and no circle between modules, not even inside functions."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The floors of docs/architecture.md: folder → the folders that it may import beside itself.
FLOORS = {
    "utils": set(),
    "phantom": {"utils"},
    "evaluation": {"utils"},
    "clip": {"utils"},
    "datasets": {"utils"},
    "models": {"clip", "utils"},
    "inference": {"models", "clip", "datasets", "evaluation", "utils"},
    "study": {"inference", "datasets", "evaluation", "utils"},
    "trainers": {"inference", "models", "clip", "datasets", "evaluation", "utils"},
    "deploy": {"inference", "models", "clip", "datasets", "evaluation", "utils"},
    "experiment": {"trainers", "inference", "models", "clip", "datasets", "evaluation", "utils"},
}
PACKAGES = {*FLOORS, "tools"}


def modules() -> dict[str, Path]:
    """Dotted name → file of every module of ours but the tests."""
    files = [file for folder in PACKAGES for file in (ROOT / folder).rglob("*.py")]
    names = (".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files)
    return {f"echoviewclip.{name}": file for name, file in zip(names, files, strict=True)}


def imports(file: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
            found.add(node.module)
    return {name for name in found if name in known}


@pytest.mark.parametrize("folder", FLOORS)
def test_a_folder_imports_only_those_below_it(folder):
    known = modules()
    for name, file in known.items():
        if name.split(".")[1] == folder:
            above = {other for other in imports(file, known) if other.split(".")[1] not in FLOORS[folder] | {folder}}
            assert not above, f"{name} imports {sorted(above)}"


def test_no_module_imports_itself_by_way_of_others():
    known = modules()
    graph = {name: imports(file, known) - {name} for name, file in known.items()}
    for name in known:  # a package whose __init__ gives names of its modules stands above them
        graph[name] = {other for other in graph[name] if not name.startswith(f"{other}.")}
    assert len(list(TopologicalSorter(graph).static_order())) == len(known)


def test_our_modules_have_one_name():
    """A module that is imported by two names exists twice: its classes differ and its caches are not shared."""
    for file in [*modules().values(), ROOT / "main.py", ROOT / "predict.py", *(ROOT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            short = [name for name in names if name.split(".")[0] in PACKAGES | {"main", "predict"}]
            assert not short, f"{file} imports {short}"


def test_every_folder_of_code_is_in_the_package():
    links = ROOT / "src" / "echoviewclip"
    for name in (*PACKAGES, "main.py", "predict.py", "configs", "labels", "weights"):
        assert (links / name).resolve() == (ROOT / name).resolve()
