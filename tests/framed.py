"""The tiny Standard Folder with black around its pictures, as prepared videos have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import tiny_data
from tests.tiny_data import write_standard_folder

# Settings of a ViT for which patches that are black are left out.
VIT = {"MODEL__ARCH": "ViT-tiny/16", "MODEL__DROP_BLACK": True, "DATA__INPUT_SIZE": 64, "MODEL__PRETRAINED": ""}


def write_framed_folder(folder: Path) -> Path:
    """As `write_standard_folder`; in each video other parts are black, and not in all frames alike."""
    whole = tiny_data._frames

    def framed(brightness: int, contrast: int, seed: int) -> np.ndarray:
        video = np.maximum(whole(brightness, contrast, seed), 20)
        video[:, :, : 16 + 8 * (seed % 3)] = 0
        video[: 1 + seed % 5, -24:] = 0  # later frames show more
        return video

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_data, "_frames", framed)
        return write_standard_folder(folder)
