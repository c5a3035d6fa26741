"""What `pip install .` installs: all code and all files that it reads, under one name, with the commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
LINKS = ROOT / "src" / "echoviewclip"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, unpacked as pip does it. Built of a copy: a build leaves its files beside the sources."""
    pytest.importorskip("setuptools", minversion="77")  # as pyproject.toml asks for; it is not installed everywhere
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT / "src", source / "src", symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE.md", "requirements.txt"):
        shutil.copy(ROOT / name, source)
    for link in LINKS.iterdir():
        if link.is_symlink() and link.is_dir():
            shutil.copytree(link, source / link.name)
        elif link.is_symlink():
            shutil.copy(link, source / link.name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", built, source]
    subprocess.run(build, check=True)
    (file,) = built.glob("*.whl")
    ZipFile(file).extractall(built / "installed")
    return built / "installed"


def files_below(folder: Path) -> set[str]:
    """Of the package; not what Python leaves beside its sources."""
    found = (Path(at, name) for at, _, names in os.walk(folder, followlinks=True) for name in names)
    return {str(file.relative_to(folder)) for file in found if "__pycache__" not in file.parts}


def call(wheel: Path, folder: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the installation in `folder`."""
    code = f"from echoviewclip import commands; raise SystemExit(commands.{command}())"
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    words = [sys.executable, "-c", code, *arguments]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_everything_of_the_package_is_in_the_wheel(wheel):
    installed, ours = files_below(wheel / "echoviewclip"), files_below(LINKS)
    assert ours <= installed
    assert {"configs/phantom/view.yaml", "labels/ultracls.csv", "evaluation/templates/report.html"} < installed
    assert {"labels/protocols/contrast.yaml", "labels/ultracls.yaml", "study/templates/study.html"} < installed


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "predict", "prepare", "check"])
def test_each_command_starts_in_any_folder(wheel, tmp_path, command):
    (entry_points,) = wheel.glob("*.dist-info/entry_points.txt")
    assert f"echoview-{command} = echoviewclip.commands:{command}\n" in entry_points.read_text()
    told = call(wheel, tmp_path, command, "--help")
    assert told.returncode == 0 and told.stdout.startswith("usage: ")


@pytest.mark.slow
def test_a_training_finds_its_configuration_and_labels_in_the_package(wheel, tmp_path):
    told = call(wheel, tmp_path, "train", "-cfg", "configs/phantom/view.yaml")
    assert told.returncode == 2 and told.stderr.startswith("error: no such list of videos: ")
