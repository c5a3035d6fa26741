"""What the project promises to run on: `tools/lowest.sh` installs exactly that, so each bound must say one version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def requirements() -> list[Requirement]:
    """All lines of all requirements files but their references to each other."""
    files = sorted(ROOT.glob("requirements*.txt"))
    lines = [line.partition("#")[0].strip() for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-r ")]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_each_package_has_one_lower_bound_and_no_other(requirement):
    assert [specifier.operator for specifier in requirement.specifier] == [">="]


def test_each_package_stands_in_one_file():
    names = [re.sub(r"[-_.]+", "-", requirement.name).lower() for requirement in requirements()]
    assert len(names) == len(set(names)) and {"torch", "pytest", "decord"} <= set(names)


def test_the_oldest_python_is_the_same_wherever_it_stands():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'^requires-python = ">=3\.(\d+)"$', project, re.MULTILINE)[1]
    assert f'target-version = "py3{oldest}"' in project
    assert f"Python 3.{oldest} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
    set_up = (ROOT / "utils" / "set_up.sh").read_text(encoding="utf-8")
    assert f"Python 3.{oldest} or newer" in set_up and f"(3, {oldest})" in set_up
    assert min(int(minor) for minor in re.findall(r"python3\.(\d+)", set_up)) == int(oldest)
