"""For torch.hub: `torch.hub.load(CLONE, "echo_model", CHECKPOINT, source="local")` (docs/python.md)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

dependencies = ["torch", "open_clip", "av", "pydicom", "yacs"]


def echo_model(file: str, **options: Any) -> Any:
    """`EchoModel.load` of the checkpoint `file`."""
    source = str(Path(__file__).resolve().parent / "src")
    if source not in sys.path:
        sys.path.append(source)
    from echoviewclip.inference.echo_model import EchoModel

    return EchoModel.load(file, **options)
