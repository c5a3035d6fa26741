"""Images of cameras and scanners are read upright: their orientation (EXIF 2.3, tag 0x0112) is applied."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ExifTags, Image

from echoviewclip.datasets.video.open import open_video

# What brings the stored picture upright, for each orientation.
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def quarters(height: int = 24, width: int = 40) -> np.ndarray:
    """uint8 [H, W, 3] whose quarters differ."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 250
    picture[height // 2 :, : width // 2] = 90
    picture[: height // 2, width // 2 :, 0] = 170
    return picture


def write(path, orientation: int) -> np.ndarray:
    stored = quarters()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(stored).save(
        path, exif=exif, **({"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {})
    )
    return stored


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
def test_a_still_is_upright_and_so_is_its_size(orientation, suffix, tmp_path):
    stored = write(tmp_path / f"a{suffix}", orientation)
    upright = UPRIGHT[orientation](stored)
    with open_video(tmp_path / f"a{suffix}") as video:
        assert (video.height, video.width) == upright.shape[:2]
        (frame,) = video.frames([0]).permute(0, 2, 3, 1).numpy()
    assert frame.shape == upright.shape
    assert np.abs(frame.astype(int) - upright).max() <= 6  # JPEG


def test_the_images_of_a_folder_are_upright(tmp_path):
    (tmp_path / "video").mkdir()
    for number in range(3):
        stored = write(tmp_path / f"video/{number}.jpg", 6)
    with open_video(tmp_path / "video") as video:
        assert (video.height, video.width) == (40, 24)
        frames = video.frames(range(3)).permute(0, 2, 3, 1).numpy()
    assert np.abs(frames.astype(int) - UPRIGHT[6](stored)).max() <= 6
