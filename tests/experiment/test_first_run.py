"""The commands of docs/first_run.md, as they stand there, with few videos: from an archive to three trained stages."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from echoviewclip.utils.checkpoint import load_checkpoint

DOC = Path("docs/first_run.md").read_text(encoding="utf-8")
SMALL = {"36": "9", "6": "3"}  # hearts and views of the phantom's archive
EXTRA = {
    "tools/phantom.py": ["--size", "64", "--frames", "6", "--workers", "1"],
    "tools/prepare.py": ["--workers", "1"],
    "tools/run.py": ["--opts", "TRAIN.EPOCHS", "1", "DATA.NUM_WORKERS", "0", "DATA.INPUT_SIZE", "64"],
}


def commands() -> list[list[str]]:
    """The block that begins with the phantom's archive."""
    after = DOC[DOC.index("make an archive of the echo phantom") :]
    block = re.search(r"( {4}python tools/\w+\.py .*\n)+", after)[0]
    return [shlex.split(line)[1:] for line in block.strip().splitlines()]


def test_the_page_shows_three_commands_after_the_archive():
    scripts = [command[0] for command in commands()]
    assert scripts == [f"tools/{name}.py" for name in ("phantom", "prepare", "new", "run")]


@pytest.mark.slow
def test_the_commands_lead_from_an_archive_to_three_stages_and_a_page(tmp_path):
    for folder in ("tools", "weights", "labels", "main.py"):
        (tmp_path / folder).symlink_to(Path(folder).resolve())
    for script, *arguments in commands():
        call = [sys.executable, script, *(SMALL.get(word, word) for word in arguments), *EXTRA.get(script, [])]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        if script == "tools/prepare.py":
            assert done.stdout.splitlines()[-1] == "next: python tools/new.py data/mine"
        if script == "tools/new.py":
            assert done.stdout.splitlines()[-1] == "next: python tools/run.py configs/mine"
    output = tmp_path / "output/mine"
    assert load_checkpoint(output / "quality/best.pth")["stage"] == "quality"
    for stage in ("view", "negation", "quality"):
        name = "quality_test" if stage == "quality" else "test"
        summary = json.loads((output / stage / "evaluation" / name / "metrics.json").read_text())
        assert summary["stage"] == stage and summary["counts"]["videos"] == 3
    page = (output / "index.html").read_text()
    links = re.findall(r'href="([^"#]+)"', page)
    assert len(links) == 12 and all((output / link).is_file() for link in links)
    assert "Phantom" not in page and "PHANTOM" not in page
