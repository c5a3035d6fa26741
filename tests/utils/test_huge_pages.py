"""Programs that compute start anew with glibc's allocator set up for huge pages, once, and only where it helps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from echoviewclip.utils import huge_pages

ROOT = Path(__file__).parents[2]
PLAIN = {name: value for name, value in os.environ.items() if name not in huge_pages.OWN_CHOICE}
SCRIPT = """
import os, sys
from echoviewclip.utils.huge_pages import start_with_huge_pages
print("begin", flush=True)
start_with_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"), sys.argv[1:], sys.flags.optimize)
"""

able = pytest.mark.skipif(not huge_pages.can_have_huge_pages(PLAIN), reason="no huge pages for who asks here")


def lines(environment: dict[str, str]) -> list[str]:
    """What the script prints under these variables."""
    run = [sys.executable, "-O", "-c", SCRIPT, "a b", "ü"]
    return subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


@able
def test_a_program_starts_anew_once_with_its_own_command_line():
    tunables = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=1073741824"
    assert lines(PLAIN) == ["begin", "begin", f"{tunables} ['a b', 'ü'] 1"]


@pytest.mark.parametrize(("name", "value"), [("GLIBC_TUNABLES", ""), ("MALLOC_TRIM_THRESHOLD_", "131072")])
def test_who_has_chosen_is_left_alone(name, value):
    assert len(lines(PLAIN | {name: value})) == 2


@able
def test_memory_that_is_taken_lies_in_huge_pages():
    script = (
        "from echoviewclip.utils.huge_pages import start_with_huge_pages\n"
        "start_with_huge_pages(); block = bytearray(2**26)\n"
        "print([line for line in open('/proc/self/smaps_rollup') if line.startswith('AnonHugePages')][0].split()[1])"
    )
    done = subprocess.run([sys.executable, "-c", script], env=PLAIN, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 2**15  # kB, half of the block


@pytest.mark.parametrize(
    ("version", "pages", "platform", "can"),
    [
        ("glibc 2.36", "always [madvise] never", "linux", True),
        ("glibc 2.35", "[always] madvise never", "linux", True),
        ("glibc 2.34", "always [madvise] never", "linux", False),
        ("glibc 2.36", "always madvise [never]", "linux", False),
        ("glibc 2.36", None, "linux", False),
        (None, "always [madvise] never", "linux", False),
        ("glibc 2.36", "always [madvise] never", "darwin", False),
    ],
)
def test_where_it_helps(monkeypatch, tmp_path, version, pages, platform, can):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "confstr", lambda _: version, raising=False)
    monkeypatch.setattr(huge_pages, "HUGE_PAGES", tmp_path / "enabled")
    if pages:
        (tmp_path / "enabled").write_text(pages)
    assert huge_pages.can_have_huge_pages({}) == can


@able
@pytest.mark.parametrize(
    "command", ["main.py", "predict.py", "tools/benchmark.py", "tools/phantom.py", "tools/prepare.py"]
)
def test_commands_that_compute_do_so(command):
    """Seen by the interpreter's own account of what it imports: twice the first module."""
    done = subprocess.run(
        [sys.executable, "-v", command, "--help"], env=PLAIN, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("import 'echoviewclip.utils.huge_pages'") == 2
