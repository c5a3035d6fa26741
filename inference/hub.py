"""Exported checkpoints (`utils/bundle.py`) of the Hugging Face Hub, or of a folder."""

from __future__ import annotations

from pathlib import Path

from echoviewclip.utils.bundle import FILES
from echoviewclip.utils.errors import UserError, first_line


def find_bundle(name: str | Path, revision: str | None = None) -> Path:
    """The folder of an exported checkpoint: `name` itself, or a copy of the Hub's repository OWNER/NAME.

    Raises UserError where neither is there or the Hub cannot be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        raise UserError(f"{name}: no such folder; to look on the Hub: pip install huggingface_hub") from None
    try:
        return Path(snapshot_download(str(name), revision=revision, allow_patterns=list(FILES)))
    except HFValidationError:
        raise UserError(f"{name}: no such folder, and no name of a repository (OWNER/NAME)") from None
    except Exception as error:  # whatever the network, the Hub or the disk raise
        raise UserError(f"{name}: no such folder, and not to be had from the Hub: {first_line(error)}") from None
