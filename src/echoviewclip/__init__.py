"""The folders of this project under one import name, as a clone and installed: `from echoviewclip.models import …`.

Beside this file stand links to them. Their own names, `datasets` and `clip` among them, belong to other distributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echoviewclip.inference.echo_model import EchoModel

__version__ = "0.1.0"


def load(
    file: str | Path, device: str = "auto", *, cfg: str | Path | None = None, changes: Sequence[tuple[str, Any]] = ()
) -> EchoModel:
    """A checkpoint that answers about videos (`inference.echo_model.EchoModel`).

    Args:
        file: a checkpoint of any stage, or a folder that tools/export.py wrote.
        device: `auto` takes the GPU where there is one.
        cfg: the yaml file of a checkpoint that carries no configuration.
        changes: settings to change, (key, value) each.

    Raises:
        UserError: the file is missing, damaged or not a checkpoint, a setting is wrong.
    """
    from echoviewclip.inference.echo_model import EchoModel  # here, so that nothing heavy waits for the name alone

    return EchoModel.load(file, device, cfg=cfg, changes=changes)


def from_pretrained(name: str | Path, revision: str | None = None, **options: Any) -> EchoModel:
    """`load` of an exported checkpoint (tools/export.py): a folder, or OWNER/NAME on the Hugging Face Hub.

    `revision` is a branch, tag or commit there. Raises UserError.
    """
    from echoviewclip.inference.hub import find_bundle

    return load(find_bundle(name, revision), **options)


def push_to_hub(checkpoint: str | Path, name: str, *, private: bool = True, formats: Sequence[str] = ()) -> str:
    """Exports a checkpoint (`deploy.folder.export_folder`) and uploads it as OWNER/NAME; returns its address.

    Raises UserError.
    """
    from echoviewclip.deploy.hub import upload_checkpoint

    return upload_checkpoint(checkpoint, name, private=private, formats=formats)
