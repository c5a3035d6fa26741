"""The videos of `small_list.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.small_list import BAD, FRAMES, VIDEOS
from tests.media import numbered_frames, write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Readable videos and `list.txt`; `one_bad.txt` names an unreadable one in place of the fifth."""
    folder = tmp_path_factory.mktemp("videos")
    lines = []
    for k in range(VIDEOS):
        write_video(folder / f"good {k}.avi", numbered_frames(FRAMES, height=40, width=48, seed=k))
        lines.append(f"good {k}.avi {k % 3}")
    (folder / "list.txt").write_text("\n".join(lines))
    (folder / BAD).write_bytes((folder / "good 4.avi").read_bytes()[:3000])
    (folder / "one_bad.txt").write_text("\n".join([*lines[:4], f"{BAD} 1", *lines[5:]]))
    (folder / "all_bad.txt").write_text(f"{BAD} 0\n" * 3)
    return folder
