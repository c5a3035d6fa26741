"""Exported checkpoints to the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from echoviewclip.deploy.folder import export_folder
from echoviewclip.inference.checkpoint import Checkpoint, read_file
from echoviewclip.utils.errors import UserError, first_line


def upload_checkpoint(checkpoint: str | Path, name: str, *, private: bool = True, formats: Sequence[str] = ()) -> str:
    """Exports a checkpoint to a temporary folder and uploads that; returns the address of the repository OWNER/NAME.

    Raises UserError where the export fails or the Hub does not take it.
    """
    content = read_file(checkpoint)
    if not isinstance(content, Checkpoint):
        raise UserError(f"{checkpoint}: carries no configuration, so nobody could load it")
    with tempfile.TemporaryDirectory() as folder:
        export_folder(content, folder, formats)
        return upload_folder(folder, name, private=private)


def upload_folder(folder: str | Path, name: str, *, private: bool = True) -> str:
    """Uploads an exported checkpoint as OWNER/NAME, which is made where it is not there; returns its address.

    Raises UserError where the Hub does not take it.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError("huggingface_hub not installed: pip install huggingface_hub") from None
    hub = HfApi()
    try:
        repository = hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(folder_path=str(folder), repo_id=repository.repo_id, commit_message="Export a checkpoint")
    except Exception as error:  # whatever the network or the Hub raise
        raise UserError(f"{name}: not uploaded: {first_line(error)}") from None
    return str(repository)
