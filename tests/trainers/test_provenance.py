"""What an evaluation says of how it came about, in metrics.json and at the foot of its report."""

from __future__ import annotations

import hashlib
import re
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import echoviewclip
from echoviewclip.evaluation.provenance import Provenance
from echoviewclip.evaluation.report import write_report
from echoviewclip.evaluation.summary import read_summary
from echoviewclip.trainers.provenance import provenance_of
from tests.synthetic_run import make_run
from tests.tiny_data import tiny, train


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_training_and_an_evaluation_name_their_files_by_their_hashes(tiny_folder, tmp_path):
    run = train(tiny(tiny_folder, tmp_path / "run", SAVE_FREQ=0))
    found = read_summary(run / "metrics.json").provenance
    expected = {tiny_folder / "val.txt", tiny_folder / "train.txt", run / "last.pth"}
    assert found.files == {str(file): digest(file) for file in expected}
    assert found.version == echoviewclip.__version__ and found.seconds > 0
    age = datetime.now(timezone.utc) - datetime.fromisoformat(found.date)
    assert timedelta(seconds=-1) <= age < timedelta(hours=1)
    again = train(tiny(tiny_folder, run, MODEL__RESUME=str(run / "best.pth"), TEST__ONLY_TEST=True))
    files = read_summary(again / "metrics.json").provenance.files
    assert files[str(run / "best.pth")] == digest(run / "best.pth") and str(tiny_folder / "val.txt") in files
    page = (again / "report.html").read_text()
    assert digest(tiny_folder / "val.txt") in page and digest(run / "best.pth") in page


def test_the_command_is_as_it_was_called_and_the_page_leaves_its_folders_out(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/x/main.py", "--resume", "/data/Jane Doe/best.pth", "--opts", "A", "b c"])
    found = provenance_of(time.monotonic() - 3725, [None, tmp_path / "gone.txt"])
    assert found.command == "main.py --resume '/data/Jane Doe/best.pth' --opts A 'b c'"
    assert 3725 <= found.seconds < 3800 and found.files == {str(tmp_path / "gone.txt"): ""}
    run = make_run(tmp_path / "run", draws=20)
    file = run / "metrics.json"
    content = Provenance("2026-11-26T10:00:00+00:00", "9.8", found.command, 3725.4, {"/data/Jane Doe/v.csv": "ab12"})
    assert '"provenance": null' in file.read_text()
    written = f'"provenance": {{"date": "{content.date}", "version": "9.8", "command": "{content.command}", '
    written += '"seconds": 3725.4, "files": {"/data/Jane Doe/v.csv": "ab12"}}'
    file.write_text(file.read_text().replace('"provenance": null', written))
    assert read_summary(file).provenance == content
    page = write_report(run).read_text()
    rows = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", page))
    assert rows["Command"] == "main.py --resume …/best.pth --opts A b c" and rows["v.csv"] == "SHA-256 ab12"
    assert (rows["Program"], rows["Time taken"]) == ("EchoViewCLIP 9.8", "1:02:05")
    assert "Jane Doe" not in page
