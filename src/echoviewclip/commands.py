"""The commands that an installation brings: echoview-train, echoview-predict, echoview-prepare, echoview-check."""

from __future__ import annotations

from importlib import import_module

from echoviewclip.utils.errors import exit_code
from echoviewclip.utils.huge_pages import start_with_huge_pages


def train() -> int:
    """main.py."""
    start_with_huge_pages()
    return _run("main")


def predict() -> int:
    """predict.py."""
    start_with_huge_pages()
    return _run("predict")


def prepare() -> int:
    """tools/prepare.py."""
    start_with_huge_pages()
    return _run("tools.prepare")


def check() -> int:
    """tools/check_data.py."""
    return _run("tools.check_data")


def _run(module: str) -> int:
    return exit_code(import_module(f"echoviewclip.{module}").main)
