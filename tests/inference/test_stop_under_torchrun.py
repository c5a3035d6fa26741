"""`torchrun predict.py` that is asked to stop: all processes stop between two batches, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.forked import children, end_all
from tests.inference.predicted import read

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
VIDEOS = 301


@pytest.fixture
def start(runs, tmp_path):
    """Starts predict.py of a list in so many processes, in parts of seven videos."""
    started: list[subprocess.Popen] = []

    def start(processes: int, output: Path) -> subprocess.Popen:
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
        options = ["--device", "cpu", "--batch-size", "1", "--workers", "1", "--part-size", "7"]
        asked = ["predict.py", str(tmp_path / "list.txt"), "--resume", str(runs / "quality" / "last.pth")]
        command = [sys.executable, *launcher, *asked, "--output", str(output), *options]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, **streams))
        return started[-1]

    yield start
    for program in started:
        end_all(program)


def test_it_keeps_its_parts_and_goes_on(start, runs, tmp_path):
    videos = sorted((runs / "data" / "videos").iterdir())
    names = [str(tmp_path / f"{number:03d}.avi") for number in range(VIDEOS)]
    for number, name in enumerate(names):
        Path(name).symlink_to(videos[number % len(videos)])
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in names))
    two, one = tmp_path / "two", tmp_path / "one"
    launcher = start(2, two)
    while not list((two / "parts").glob("0*.jsonl")):
        assert launcher.poll() is None
        time.sleep(0.02)
    ranks = children(launcher.pid)
    launcher.send_signal(signal.SIGTERM)
    said = launcher.communicate(timeout=120)[1]
    assert len(ranks) == 2 and not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    assert said.count(f"stopped: the same command goes on from {two / 'parts'}\n") == 1
    assert "SIGKILL" not in said and launcher.returncode  # torchrun's own code, whatever that of the processes
    kept = {file: file.stat().st_mtime_ns for file in (two / "parts").glob("0*.jsonl")}
    assert 0 < len(kept) < VIDEOS // 7
    again = start(2, two)
    rewritten = set()
    while again.poll() is None:
        with suppress(FileNotFoundError):  # they are removed at the end
            rewritten |= {file for file, when in kept.items() if file.stat().st_mtime_ns != when}
        time.sleep(0.02)
    assert again.returncode == 0 and not rewritten, again.communicate()[1]
    whole = start(1, one)
    assert whole.wait() == 0, whole.communicate()[1]
    assert read(two) == read(one) and [row["file"] for row in read(two)] == names
