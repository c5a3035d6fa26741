"""The commands that an installation brings: echoview-train, echoview-predict, echoview-prepare, echoview-check."""

from __future__ import annotations

from importlib import import_module

from echoviewclip.utils.errors import exit_code


def train() -> int:
    """main.py."""
    return _run("main")


def predict() -> int:
    """predict.py."""
    return _run("predict")


def prepare() -> int:
    """tools/prepare.py."""
    return _run("tools.prepare")


def check() -> int:
    """tools/check_data.py."""
    return _run("tools.check_data")


def _run(module: str) -> int:
    return exit_code(import_module(f"echoviewclip.{module}").main)
