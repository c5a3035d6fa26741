"""Huge pages of memory for what computes on a processor: PyTorch's tensors come and go, and are paid for by the page.

glibc gives large blocks of memory back to the system as soon as they are free and asks for them anew, and each page of
4 kB is cleared when it is first touched: for a clip of a ViT that takes longer than its products of matrices on a fast
processor. With pages of 2 MB, and with free memory kept, it takes nearly nothing (docs/performance.md). glibc reads its
settings when a program starts, so the program starts anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

KEPT = 2**30  # bytes: larger tensors are given back at once
TUNABLES = {
    "glibc.malloc.hugetlb": 1,  # madvise(2) for huge pages
    "glibc.malloc.mmap_threshold": KEPT,
    "glibc.malloc.trim_threshold": KEPT,
}
NAME = "GLIBC_TUNABLES"
OWN_CHOICE = (NAME, "LD_PRELOAD", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_")
LEAST_GLIBC = (2, 35)
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def start_with_huge_pages() -> None:
    """Replaces this program by itself, once, with glibc's allocator set up so; to be called before anything else.

    Does nothing where the system has no huge pages or another C library, or where the environment chooses an
    allocator or its settings.
    """
    if sys.executable and can_have_huge_pages(os.environ):
        tunables = ":".join(f"{name}={value}" for name, value in TUNABLES.items())
        os.execve(sys.executable, sys.orig_argv, os.environ | {NAME: tunables})


def can_have_huge_pages(environment: Mapping[str, str]) -> bool:
    """Whether this system has them for who asks, and nobody has chosen otherwise."""
    if not sys.platform.startswith("linux") or any(name in environment for name in OWN_CHOICE):
        return False
    return glibc_version() >= LEAST_GLIBC and "[never]" not in enabled()


def glibc_version() -> tuple[int, ...]:
    """Of the C library; empty where it is another one."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return tuple(int(number) for number in version.split(".")[:2]) if name == "glibc" else ()
    except (OSError, ValueError):
        return ()


def enabled() -> str:
    """Who gets huge pages, as the kernel says it; `[never]` where it says nothing."""
    try:
        return HUGE_PAGES.read_text(encoding="ascii")
    except OSError:
        return "[never]"
