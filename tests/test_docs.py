"""What README and docs/ say is there: commands with their options and keys, links, files, tests."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from echoviewclip.utils.config.schema import KEYS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMMAND = re.compile(r"\s*(?:[A-Z_]+=\S+ )*(?:python|bash) (?P<script>[\w/]+\.(?:py|sh))\b(?P<rest>.*)")
KEY = re.compile(r"[A-Z]+(?:\.[A-Za-z_]+)*\.[A-Z_]+")
FILE = re.compile(r"(?:configs|labels|weights|tests|tools|docs)/[\w/.-]+\.(?:yaml|csv|safetensors|py|sh|md|png)")
TEST = re.compile(r"`(?P<file>tests/[\w/]+\.py)?(?:::)?(?P<name>test_\w+)`")


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="requirements-docs.txt is not installed")
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    page = text_of(tmp_path / "site" / "api" / "index.html")
    assert "EchoModel" in page and "from_pretrained" in page


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def commands(page: Path) -> list[tuple[str, str]]:
    """Script and the rest of the line, lines that end with a backslash joined, comments left out."""
    lines = re.sub(r"\\\n\s*", " ", text_of(page)).splitlines()
    found = (COMMAND.match(line) for line in lines)
    return [(match["script"], match["rest"].split(" # ")[0].split(" | ")[0]) for match in found if match]


@cache
def help_of(script: str, *subcommand: str) -> str:
    """What a Python script, or a subcommand of it, says about its options."""
    module = import_module("echoviewclip." + script.removesuffix(".py").replace("/", "."))
    arguments, output = sys.argv, []
    sys.argv = [script, *subcommand, "--help"]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys.stdout, "write", output.append)
            with pytest.raises(SystemExit):
                module.main()
    finally:
        sys.argv = arguments
    return "".join(output)


ALL_COMMANDS = sorted({(page.name, *command) for page in PAGES for command in commands(page)})


def test_there_are_commands():
    assert len(ALL_COMMANDS) > 50


@pytest.mark.parametrize(("page", "script", "rest"), ALL_COMMANDS)
def test_a_command_is_understood(page, script, rest):
    assert (ROOT / script).is_file(), f"{page}: no {script}"
    program = "main.py" if script.startswith("train_") else script
    options = re.findall(r"(?<![\w-])--?[a-z][\w-]*", rest)
    if program.endswith(".py"):
        told = help_of(program)
        if rest.split() and re.search(rf"[{{,]{re.escape(rest.split()[0])}[,}}]", told):
            told = help_of(program, rest.split()[0])
        for option in options:
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told), f"{page}: {script} has no {option}"
    for key in KEY.findall(rest):
        assert key in KEYS, f"{page}: no setting {key}"
    for file in FILE.findall(rest):
        if "STAGE" not in file and not file.startswith("configs/mine"):
            assert (ROOT / file).exists(), f"{page}: no {file}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text_of(page)):
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{page.name}: no {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", text_of(linked), re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
            assert anchor in known, f"{page.name}: {linked.name} has no title for #{anchor}"


@cache
def names_of(file: Path) -> frozenset[str]:
    functions = (node.name for node in ast.walk(ast.parse(text_of(file))) if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_are_there(page):
    """A name without a file belongs to the file that the line named last."""
    for line in text_of(page).splitlines():
        file = None
        for match in TEST.finditer(line):
            file = match["file"] or file
            assert file, f"{page.name}: {match['name']} of which file?"
            assert match["name"] in names_of(ROOT / file), f"{page.name}: {file} has no {match['name']}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_are_there(page):
    prose = re.sub(r"^(?:    |```).*$", "", text_of(page), flags=re.MULTILINE)
    for file in re.findall(r"`([\w/.-]+)`", prose):
        if file.startswith("configs/mine"):  # what tools/new.py writes
            continue
        if FILE.fullmatch(file) or re.fullmatch(r"(?:\w+/)+\w+\.(?:py|yaml|sh)", file):
            folders = (ROOT, page.parent, *ROOT.glob("*/"))
            assert any((folder / file).exists() for folder in folders), f"{page.name}: no {file}"
