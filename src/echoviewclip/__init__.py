"""The folders of this project under one import name, as a clone and installed: `from echoviewclip.models import …`.

Beside this file stand links to them. Their own names, `datasets` and `clip` among them, belong to other distributions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echoviewclip.inference.echo_model import EchoModel

__version__ = "0.1.0"


def load(*arguments: Any, **options: Any) -> EchoModel:
    """`EchoModel.load`: a checkpoint that answers about videos. Raises UserError."""
    from echoviewclip.inference.echo_model import EchoModel  # here, so that nothing heavy waits for the name alone

    return EchoModel.load(*arguments, **options)
