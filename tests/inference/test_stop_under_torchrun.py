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

from tests.forked import children
from tests.inference.predicted import read

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
VIDEOS = 301


def test_it_keeps_its_parts_and_goes_on(runs, tmp_path):
    videos = sorted((runs / "data" / "videos").iterdir())
    for number in range(VIDEOS):
        (tmp_path / f"{number:03d}.avi").symlink_to(videos[number % len(videos)])
    names = [str(tmp_path / f"{number:03d}.avi") for number in range(VIDEOS)]
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in names))

    def command(processes: int, output: Path) -> list[str]:
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
        options = ["--device", "cpu", "--batch-size", "1", "--workers", "1", "--part-size", "7"]
        asked = ["predict.py", str(tmp_path / "list.txt"), "--resume", str(runs / "quality" / "last.pth")]
        return [sys.executable, *launcher, *asked, "--output", str(output), *options]

    def start(processes: int, output: Path) -> subprocess.Popen:
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command(processes, output), cwd=ROOT, env=environment, **streams)

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
    again, whole = start(2, two), start(1, one)
    rewritten = set()
    while again.poll() is None:
        with suppress(FileNotFoundError):  # they are removed at the end
            rewritten |= {file for file, when in kept.items() if file.stat().st_mtime_ns != when}
        time.sleep(0.02)
    assert again.returncode == 0 and not rewritten, again.communicate()[1]
    assert whole.wait() == 0, whole.communicate()[1]
    assert read(two) == read(one) and [row["file"] for row in read(two)] == names
